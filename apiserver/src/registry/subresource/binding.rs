//! Gives a pod to a node, once. Source: `pkg/registry/core/pod/storage/storage.go`, `assignPod`.

use k8s_openapi::api::core::v1::{Binding, Pod, PodCondition};
use kubelab_api::{Error, Resource, field::Errors, pod::set_condition};
use kubelab_store::Precondition;

use super::success;
use crate::{
    admission::{Operation, pod_topology_labels},
    registry::{
        core::binding::BindingKind,
        decode::{self, Expected},
        kind::Kind,
        plan::{Context, Plan, encode},
    },
};

const EXPECTED: Expected = Expected { group: "", version: "v1", kind: "Binding" };

/// A POST of a Binding, to `pods/NAME/binding` or to `bindings`.
pub fn plan(context: &Context) -> Result<Plan, Error> {
    let (mut binding, warnings) = decode::decode_body::<Binding>(&EXPECTED, context.json()?, context.validation()?)?;
    let request = context.request;
    let given = binding.metadata.name.clone().unwrap_or_default();
    if !request.name.is_empty() && !given.is_empty() && given != request.name {
        return Err(Error::bad_request("name in URL does not match name in Binding object"));
    }
    let name = if request.name.is_empty() { &given } else { &request.name };
    validate(&binding, name)?;

    let mut stored = context.existing(name)?;
    let attributes = context.attributes(Operation::Create);
    pod_topology_labels::admit_binding(&attributes, &mut binding);
    let binding = super::admit(context, Operation::Create, binding, None)?;
    context.admission.validate(&attributes, None, Some(&*stored.object))?;
    let before = stored.object.duplicate();
    let pod: &mut Pod = stored.object.downcast_mut().ok_or_else(Error::no_such_page)?;
    assign(pod, &binding, context).map_err(|refusal| match refusal {
        Refusal::Conflict(message) => conflict(context, name, &message),
        Refusal::Error(error) => error,
    })?;
    if request.options.dry_run {
        return Ok(Plan { warnings, ..Plan::nothing(success()) });
    }
    let encoded = encode(context, &stored.key, &mut *stored.object, false)?;
    Ok(Plan {
        preconditions: vec![Precondition::Modified(stored.key.clone(), stored.entry.modified)],
        writes: vec![encoded.write],
        note: context.handler.rules.note(&*stored.object, Some(&*before)),
        warnings,
        shown: success(),
    })
}

fn validate(binding: &Binding, name: &str) -> Result<(), Error> {
    let mut errors = Errors::default();
    BindingKind::validate(binding, &mut errors);
    if errors.is_empty() { Ok(()) } else { Err(Error::invalid(&binding_resource("Binding"), name, &errors)) }
}

/// How messages about a binding name it.
fn binding_resource(kind: &'static str) -> Resource {
    let mut resource = kubelab_api::resource::find("", "v1", "bindings")
        .cloned()
        .unwrap_or_else(|| unreachable!("bindings are in the table of resources"));
    resource.kind = kind.into();
    resource
}

fn conflict(context: &Context, name: &str, message: &str) -> Error {
    let mut resource = (*context.handler.resource).clone();
    resource.plural = "pods/binding".into();
    Error::conflict(&resource, name, message)
}

enum Refusal {
    Conflict(String),
    Error(Error),
}

fn assign(pod: &mut Pod, binding: &Binding, context: &Context) -> Result<(), Refusal> {
    let meta = &pod.metadata;
    let name = meta.name.clone().unwrap_or_default();
    let refuse = |message| Err(Refusal::Conflict(message));
    let wanted = binding.metadata.uid.as_deref().filter(|uid| !uid.is_empty());
    if let Some(uid) = wanted.filter(|uid| Some(*uid) != meta.uid.as_deref()) {
        let present = meta.uid.as_deref().unwrap_or_default();
        return refuse(format!("Precondition failed: UID in precondition: {uid}, UID in object meta: {present}"));
    }
    let wanted = binding.metadata.resource_version.as_deref().filter(|version| !version.is_empty());
    if wanted.is_some_and(|version| Some(version) != meta.resource_version.as_deref()) {
        return Err(Refusal::Error(Error::stale(&context.handler.resource, &name)));
    }
    if meta.deletion_timestamp.is_some() {
        return refuse(format!("pod {name} is being deleted, cannot be assigned to a host"));
    }
    let spec = pod.spec.get_or_insert_default();
    if let Some(node) = spec.node_name.as_deref().filter(|node| !node.is_empty()) {
        return refuse(format!("pod {name} is already assigned to node {node:?}"));
    }
    if spec.scheduling_gates.as_ref().is_some_and(|gates| !gates.is_empty()) {
        return refuse(format!("pod {name} has non-empty .spec.schedulingGates"));
    }
    spec.node_name.clone_from(&binding.target.name);
    for (from, to) in [
        (&binding.metadata.annotations, &mut pod.metadata.annotations),
        (&binding.metadata.labels, &mut pod.metadata.labels),
    ] {
        if let Some(more) = from.as_ref().filter(|more| !more.is_empty()) {
            to.get_or_insert_default().extend(more.clone());
        }
    }
    let scheduled = PodCondition { type_: "PodScheduled".into(), status: "True".into(), ..Default::default() };
    set_condition(pod, scheduled, context.now);
    Ok(())
}
