//! The configurations of a state, compiled once a revision of each. A pure function of the state, but for what it remembers.

use std::{
    any::Any,
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use arc_swap::ArcSwap;
use k8s_openapi::api::admissionregistration::v1::{MutatingWebhookConfiguration, ValidatingWebhookConfiguration};
use kubelab_store::{Revision, State};
use serde::de::DeserializeOwned;

use super::{
    mutating::{self, MutatingPolicy},
    validating::{self, ValidatingPolicy},
    webhook::Webhook,
};
use crate::authorization::Decider;

const MUTATING_WEBHOOKS: &str = "admissionregistration.k8s.io/mutatingwebhookconfigurations";
const VALIDATING_WEBHOOKS: &str = "admissionregistration.k8s.io/validatingwebhookconfigurations";
/// What users configure policies with.
const TOPICS: [&str; 6] = [
    mutating::POLICIES,
    mutating::BINDINGS,
    validating::POLICIES,
    validating::BINDINGS,
    MUTATING_WEBHOOKS,
    VALIDATING_WEBHOOKS,
];
/// So many compiled configurations are remembered; then all are forgotten.
const REMEMBERED: usize = 4_096;

type Compiled = Arc<dyn Any + Send + Sync>;

/// What is compiled, and who answers its questions about rights.
#[derive(Default)]
pub struct Policies {
    /// What applies, and the revision of the configurations that it shows.
    current: ArcSwap<(Revision, Arc<Hooks>)>,
    compiled: Mutex<HashMap<(&'static str, Arc<str>), (Revision, Compiled)>>,
    decider: Option<Arc<dyn Decider>>,
}

/// What applies to requests, in order.
#[derive(Default)]
pub struct Hooks {
    /// Policies that change objects, with their bindings.
    pub mutating_policies: Vec<mutating::Bound>,
    /// Webhooks that change objects.
    pub mutating_webhooks: Vec<Arc<Webhook>>,
    /// Policies that refuse objects, with their bindings.
    pub validating_policies: Vec<validating::Bound>,
    /// Webhooks that refuse objects.
    pub validating_webhooks: Vec<Arc<Webhook>>,
}

impl Hooks {
    /// Nothing is configured.
    pub fn is_empty(&self) -> bool {
        !self.mutates() && self.validating_policies.is_empty() && self.validating_webhooks.is_empty()
    }

    /// Something may change an object.
    pub fn mutates(&self) -> bool {
        !self.mutating_policies.is_empty() || !self.mutating_webhooks.is_empty()
    }
}

impl Policies {
    /// With somebody to answer `authorizer`.
    pub fn new(decider: Arc<dyn Decider>) -> Self {
        Self { decider: Some(decider), ..Self::default() }
    }

    /// Who answers `authorizer`.
    pub fn decider(&self) -> Option<&Arc<dyn Decider>> {
        self.decider.as_ref()
    }

    /// What is configured in this state.
    pub fn hooks(&self, state: &State) -> Arc<Hooks> {
        let touched = TOPICS.map(|topic| state.touched(topic)).into_iter().fold(0, Revision::max);
        let known = self.current.load();
        if known.0 == touched {
            return Arc::clone(&known.1);
        }
        drop(known);
        let hooks = Arc::new(self.read(state));
        self.current
            .rcu(|known| if known.0 > touched { Arc::clone(known) } else { Arc::new((touched, hooks.clone())) });
        hooks
    }

    fn read(&self, state: &State) -> Hooks {
        let mutating = |configuration: MutatingWebhookConfiguration| {
            let name = configuration.metadata.name.unwrap_or_default();
            let webhooks = configuration.webhooks.unwrap_or_default();
            webhooks.into_iter().map(|webhook| Arc::new(Webhook::mutating(&name, webhook))).collect::<Vec<_>>()
        };
        let validating = |configuration: ValidatingWebhookConfiguration| {
            let name = configuration.metadata.name.unwrap_or_default();
            let webhooks = configuration.webhooks.unwrap_or_default();
            webhooks.into_iter().map(|webhook| Arc::new(Webhook::validating(&name, webhook))).collect::<Vec<_>>()
        };
        let flat = |all: Vec<Arc<Vec<Arc<Webhook>>>>| all.iter().flat_map(|some| some.iter().cloned()).collect();
        let validating_policies = self.all(state, validating::POLICIES, ValidatingPolicy::new);
        let mutating_policies = self.all(state, mutating::POLICIES, MutatingPolicy::new);
        Hooks {
            mutating_webhooks: flat(self.all(state, MUTATING_WEBHOOKS, mutating)),
            validating_webhooks: flat(self.all(state, VALIDATING_WEBHOOKS, validating)),
            validating_policies: match validating_policies.is_empty() {
                true => Vec::new(),
                false => validating::bound(
                    validating_policies,
                    &self.all(state, validating::BINDINGS, validating::Binding::new),
                ),
            },
            mutating_policies: match mutating_policies.is_empty() {
                true => Vec::new(),
                false => {
                    mutating::bound(mutating_policies, &self.all(state, mutating::BINDINGS, mutating::Binding::new))
                }
            },
        }
    }

    /// All objects of a topic, compiled, in the order of their names.
    fn all<T: DeserializeOwned, C: Send + Sync + 'static>(
        &self,
        state: &State,
        topic: &'static str,
        compile: impl Fn(T) -> C,
    ) -> Vec<Arc<C>> {
        let mut found = Vec::new();
        for (key, entry) in state.range(topic, "", None) {
            let place = (topic, Arc::clone(&key.name));
            let known = self.compiled.lock().unwrap_or_else(PoisonError::into_inner).get(&place).cloned();
            let compiled = match known.filter(|(revision, _)| *revision == entry.modified) {
                Some((_, compiled)) => compiled,
                None => {
                    let Ok(object) = serde_json::from_slice::<T>(&entry.value) else {
                        tracing::error!(topic, name = %key.name, "a stored configuration cannot be decoded");
                        continue;
                    };
                    let compiled: Compiled = Arc::new(compile(object));
                    let mut all = self.compiled.lock().unwrap_or_else(PoisonError::into_inner);
                    if all.len() >= REMEMBERED {
                        all.clear();
                    }
                    all.insert(place, (entry.modified, Arc::clone(&compiled)));
                    compiled
                }
            };
            found.extend(compiled.downcast::<C>());
        }
        found
    }
}
