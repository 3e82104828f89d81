//! What a pod wants to run beside and away from: its inter-pod terms, read once.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};

use k8s_openapi::api::core::v1::{Pod, PodAffinityTerm, WeightedPodAffinityTerm};
use kubelab_api::selector::label::Selector;

use super::{Objects, PodInfo};

/// A pod's terms. Terms that prefer carry their weight.
#[derive(Clone, Debug, Default)]
pub struct PodAffinity {
    /// It must run beside pods that match all of these.
    pub required: Vec<Term>,
    /// It must not run beside a pod that matches one of these.
    pub required_anti: Vec<Term>,
    /// It would rather run beside these.
    pub preferred: Vec<(Term, i64)>,
    /// It would rather not run beside these.
    pub preferred_anti: Vec<(Term, i64)>,
}

/// Some pods, and what "beside" means.
#[derive(Clone, Debug)]
pub struct Term {
    /// Pods in these namespaces …
    pub namespaces: BTreeSet<String>,
    /// … or in namespaces with such labels …
    pub namespace_selector: Selector,
    /// … that have such labels.
    pub selector: Selector,
    /// Nodes with the same value of this label are one place.
    pub topology_key: Arc<str>,
    /// All of the above as text: terms with the same text mean the same.
    identity: String,
}

impl PodAffinity {
    /// The pod's terms, if it has any. A malformed selector selects nothing.
    pub fn of(pod: &Pod) -> Option<Self> {
        let affinity = pod.spec.as_ref()?.affinity.as_ref()?;
        let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
        let all = |terms: &Option<Vec<PodAffinityTerm>>| {
            terms.iter().flatten().map(|term| Term::new(term, namespace)).collect::<Vec<_>>()
        };
        let weighted = |terms: &Option<Vec<WeightedPodAffinityTerm>>| {
            let one = |term: &WeightedPodAffinityTerm| {
                (Term::new(&term.pod_affinity_term, namespace), i64::from(term.weight))
            };
            terms.iter().flatten().map(one).collect::<Vec<_>>()
        };
        let mut terms = Self::default();
        if let Some(beside) = &affinity.pod_affinity {
            terms.required = all(&beside.required_during_scheduling_ignored_during_execution);
            terms.preferred = weighted(&beside.preferred_during_scheduling_ignored_during_execution);
        }
        if let Some(away) = &affinity.pod_anti_affinity {
            terms.required_anti = all(&away.required_during_scheduling_ignored_during_execution);
            terms.preferred_anti = weighted(&away.preferred_during_scheduling_ignored_during_execution);
        }
        let any = !terms.required.is_empty()
            || !terms.required_anti.is_empty()
            || !terms.preferred.is_empty()
            || !terms.preferred_anti.is_empty();
        any.then_some(terms)
    }
}

impl Term {
    fn new(term: &PodAffinityTerm, namespace: &str) -> Self {
        let selector = |selector| Selector::from_typed(selector).unwrap_or(Selector::Nothing);
        let mut namespaces: BTreeSet<String> = term.namespaces.iter().flatten().cloned().collect();
        if namespaces.is_empty() && term.namespace_selector.is_none() {
            namespaces.insert(namespace.to_owned());
        }
        let namespace_selector = selector(term.namespace_selector.as_ref());
        let selector = selector(term.label_selector.as_ref());
        let topology_key = term.topology_key.as_str().into();
        let identity = format!("{topology_key} {namespaces:?} {selector:?}");
        Self { namespaces, namespace_selector, selector, topology_key, identity }
    }

    /// The term means this pod, whose namespace has these labels.
    pub fn matches(&self, pod: &PodInfo, namespace: Option<&BTreeMap<String, String>>) -> bool {
        (self.namespaces.contains(pod.namespace()) || self.namespace_selector.matches(namespace))
            && self.selector.matches(pod.labels())
    }

    /// The term may mean this pod, whatever the labels of its namespace are.
    pub fn may_match(&self, pod: &PodInfo) -> bool {
        (self.namespaces.contains(pod.namespace()) || self.namespace_selector != Selector::Nothing)
            && self.selector.matches(pod.labels())
    }

    /// The same term with its namespaces looked up, for comparing it with many pods.
    pub fn resolve(&self, objects: &Objects) -> Resolved<'_> {
        let everywhere = self.namespace_selector.is_everything();
        let mut selected = BTreeSet::new();
        if !everywhere && self.namespace_selector != Selector::Nothing {
            for namespace in objects.namespaces.list() {
                if self.namespace_selector.matches(namespace.metadata.labels.as_ref()) {
                    selected.extend(namespace.metadata.name.clone());
                }
            }
        }
        Resolved { term: self, everywhere, selected }
    }
}

/// A term with its namespaces looked up.
pub struct Resolved<'a> {
    /// The term.
    pub term: &'a Term,
    everywhere: bool,
    selected: BTreeSet<String>,
}

impl Resolved<'_> {
    /// The term means this pod.
    pub fn matches(&self, pod: &PodInfo) -> bool {
        let namespace = pod.namespace();
        (self.everywhere || self.term.namespaces.contains(namespace) || self.selected.contains(namespace))
            && self.term.selector.matches(pod.labels())
    }

    /// Writes what makes this term the same as another.
    pub fn identify(&self, into: &mut String) {
        let Self { term, everywhere, selected } = self;
        // Writing to a string cannot fail.
        let _ = write!(into, "{} {everywhere} {selected:?}|", term.identity);
    }
}
