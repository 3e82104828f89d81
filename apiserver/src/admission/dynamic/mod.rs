//! Policies that users write: webhooks, and admission policies in CEL.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`hooks`] | the configurations of a state, compiled once a revision of each |
//! | [`subject`] | what is admitted: the object in each of its versions, and what a request looks like to a policy |
//! | [`matching`] | which requests a policy is about |
//! | [`conditions`] | expressions over a request, and match conditions |
//! | [`review`] | AdmissionReview, both ways |
//! | [`webhook`] | webhooks that change objects, and those that refuse them |
//! | [`params`] | what a policy's binding gives it to go by |
//! | [`validating`], [`mutating`] | admission policies |
//!
//! ```text
//! admit:     MutatingAdmissionPolicy ─► MutatingWebhook ──┐ the object has changed: the plugins, and those that wish,
//!                  ▲                                      │ run once more
//!                  └──────────────── plugins ◄────────────┘
//! validate:  plugins ─► ValidatingAdmissionPolicy ─► ValidatingWebhook ─► quotas
//! ```
//!
//! Source of the order: `AllOrderedPlugins` in `pkg/kubeapiserver/options/plugins.go`, and
//! `k8s.io/apiserver/pkg/admission/reinvocation.go`.
//!
//! Invariants: configurations are read again only when one of them was written. Policies never see
//! requests for policies, so that a cluster can always be freed from one.

pub mod conditions;
pub mod hooks;
pub mod matching;
pub mod mutating;
pub mod params;
mod request_types;
pub mod review;
pub mod subject;
pub mod validating;
pub mod webhook;

use std::sync::Arc;

use kubelab_api::Error;

use super::{Attributes, Operation};
use crate::{
    discovery::subresource,
    registry::{object::AnyObject, plan::Context},
};
use hooks::Hooks;
use subject::{Form, Subject};

/// Source: `IsExemptAdmissionConfigurationResource`, and the virtual resources that v1.37 excludes.
fn is_exempt(group: &str, plural: &str) -> bool {
    match group {
        "admissionregistration.k8s.io" => true,
        "authentication.k8s.io" => matches!(plural, "selfsubjectreviews" | "tokenreviews"),
        "authorization.k8s.io" => true,
        _ => false,
    }
}

/// What happened in the first round, for the second one.
#[derive(Default)]
pub struct Rounds {
    again: bool,
    policies: mutating::Invoked,
    webhooks: webhook::Invoked,
}

/// Runs the plugins, then the policies and webhooks that change objects, on a new or changed object.
pub fn admit(
    context: &Context<'_>,
    attributes: &Attributes<'_>,
    object: &mut Box<dyn AnyObject>,
    old: Option<&dyn AnyObject>,
) -> Result<(), Error> {
    context.admission.admit(attributes, &mut **object, old)?;
    if is_foreign(context) {
        return Ok(());
    }
    let Some(hooks) = hooks_of(context) else { return Ok(()) };
    if !hooks.mutates() {
        return Ok(());
    }
    let mut rounds = Rounds::default();
    mutate(context, attributes.operation, &hooks, object, old, &mut rounds, false)?;
    if rounds.again {
        context.admission.admit(attributes, &mut **object, old)?;
        mutate(context, attributes.operation, &hooks, object, old, &mut rounds, true)?;
    }
    Ok(())
}

fn mutate(
    context: &Context<'_>,
    operation: Operation,
    hooks: &Hooks,
    object: &mut Box<dyn AnyObject>,
    old: Option<&dyn AnyObject>,
    rounds: &mut Rounds,
    again: bool,
) -> Result<(), Error> {
    let mut subject = Subject::new(context, operation, Form::Stored(object), old.map(subject::Old::Stored));
    mutating::admit(&mut subject, &hooks.mutating_policies, rounds, again)?;
    webhook::admit(&mut subject, &hooks.mutating_webhooks, rounds, again)
}

/// Asks the plugins, then the policies and webhooks that refuse objects; quotas are charged last. A deletion has no new
/// object.
pub fn validate(
    context: &Context<'_>,
    attributes: &Attributes<'_>,
    object: Option<&dyn AnyObject>,
    old: Option<&dyn AnyObject>,
) -> Result<(), Error> {
    context.admission.judge(attributes, object, old)?;
    ask(context, attributes.operation, object, old)?;
    context.admission.charge(attributes, object, old)
}

fn ask(
    context: &Context<'_>,
    operation: Operation,
    object: Option<&dyn AnyObject>,
    old: Option<&dyn AnyObject>,
) -> Result<(), Error> {
    if is_foreign(context) {
        return Ok(());
    }
    let Some(hooks) = hooks_of(context) else { return Ok(()) };
    let form = object.map_or(Form::None, Form::Shown);
    let subject = Subject::new(context, operation, form, old.map(subject::Old::Stored));
    validating::validate(&subject, &hooks.validating_policies)?;
    webhook::validate(&subject, &hooks.validating_webhooks)
}

/// Admits an object that is not the resource's own kind: an Eviction, a Binding, a Scale, the options of an exec. Policies
/// may change it.
pub fn admit_part(
    context: &Context<'_>,
    operation: Operation,
    part: &mut serde_json::Value,
    old: Option<&serde_json::Value>,
) -> Result<(), Error> {
    let Some(hooks) = hooks_of(context) else { return Ok(()) };
    let mut rounds = Rounds::default();
    for again in [false, true] {
        let mut subject = Subject::new(context, operation, Form::Part(part), old.map(subject::Old::Part));
        mutating::admit(&mut subject, &hooks.mutating_policies, &mut rounds, again)?;
        webhook::admit(&mut subject, &hooks.mutating_webhooks, &mut rounds, again)?;
        if !rounds.again {
            break;
        }
    }
    let subject = Subject::new(context, operation, Form::Part(part), old.map(subject::Old::Part));
    validating::validate(&subject, &hooks.validating_policies)?;
    webhook::validate(&subject, &hooks.validating_webhooks)
}

/// The request is about a part with a kind of its own, which [`admit_part`] admits.
fn is_foreign(context: &Context<'_>) -> bool {
    let request = context.request;
    let part = request.subresource.as_str();
    !part.is_empty() && subresource::find(&request.resource, part).is_some_and(|part| !part.kind.is_empty())
}

fn hooks_of(context: &Context<'_>) -> Option<Arc<Hooks>> {
    let resource = &context.request.resource;
    if is_exempt(&resource.group, &resource.plural) {
        return None;
    }
    Some(context.policies.hooks(context.state)).filter(|hooks| !hooks.is_empty())
}
