//! How many replicas, for every kind that has some. Source: `ScaleREST` of the kinds' storages.

use bytes::Bytes;
use k8s_openapi::{
    api::autoscaling::v1::{Scale, ScaleSpec, ScaleStatus},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{
    Error,
    field::{Errors, Path},
};

use serde_json::{Value, json};

use crate::{
    admission::Operation,
    registry::{
        apply,
        decode::{self, Expected},
        handler::Handler,
        object::AnyObject,
        patch::{patched, unfit},
        plan::{Context, Plan, Stored},
        update,
    },
};

const EXPECTED: Expected = Expected { group: "autoscaling", version: "v1", kind: "Scale" };

/// The scale of an object in the version that is served.
pub fn of(handler: &Handler, json: &Bytes) -> Result<Bytes, Error> {
    let object = handler.read(json)?;
    let scale = scale(handler, &*object)?;
    Ok(serde_json::to_vec(&scale).map_err(Error::internal)?.into())
}

fn scale(handler: &Handler, object: &dyn AnyObject) -> Result<Scale, Error> {
    let scale = handler.rules.scale(object)?;
    let meta = object.metadata();
    Ok(Scale {
        metadata: ObjectMeta {
            name: meta.name.clone(),
            namespace: meta.namespace.clone(),
            uid: meta.uid.clone(),
            resource_version: meta.resource_version.clone(),
            creation_timestamp: meta.creation_timestamp.clone(),
            ..Default::default()
        },
        spec: Some(ScaleSpec { replicas: Some(scale.replicas) }),
        status: Some(ScaleStatus {
            replicas: scale.observed,
            selector: Some(scale.selector).filter(|selector| !selector.is_empty()),
        }),
    })
}

/// A PUT.
pub fn update(context: &Context) -> Result<Plan, Error> {
    let stored = context.existing(&context.request.name)?;
    let (wanted, warnings) = decode::decode_body::<Scale>(&EXPECTED, context.json()?, context.validation()?)?;
    change(context, &stored, wanted, warnings)
}

/// A PATCH.
pub fn patch(context: &Context) -> Result<Plan, Error> {
    apply::check_options(context.request)?;
    let stored = context.existing(&context.request.name)?;
    if apply::is_apply(context.request) {
        let (config, warnings) = apply::configuration(context)?;
        return apply::onto(context, &stored, &whole(context, &config)?, warnings);
    }
    let present = serde_json::to_vec(&scale(context.handler, &*stored.object)?).map_err(Error::internal)?;
    let (json, mut warnings) = patched(context, &present)?;
    let decoded = decode::decode_body::<Scale>(&EXPECTED, &json, context.validation()?);
    let (wanted, more) = decoded.map_err(|error| unfit(&json, error))?;
    warnings.extend(more);
    change(context, &stored, wanted, warnings)
}

/// The configuration of the object that an applied Scale is about. Source: `ScaleHandler` in
/// `k8s.io/apimachinery/pkg/util/managedfields`, for kinds that keep their replicas in `spec.replicas`.
fn whole(context: &Context, config: &Value) -> Result<Value, Error> {
    apply::check_type(config, "autoscaling/v1", "Scale")?;
    let resource = &context.handler.resource;
    let mut whole = json!({
        "apiVersion": resource.api_version(), "kind": resource.kind, "metadata": config["metadata"], "spec": {},
    });
    if let Some(replicas) = config["spec"].get("replicas") {
        whole["spec"]["replicas"] = replicas.clone();
    }
    Ok(whole)
}

/// The caller means the object that is there. Source: `scaleUpdatedObjectInfo` of the kinds' storages.
fn check_uid(context: &Context, wanted: &Scale, present: &Scale) -> Result<(), Error> {
    let uid = |scale: &Scale| scale.metadata.uid.clone().unwrap_or_default();
    let (expected, there) = (uid(wanted), uid(present));
    // Custom resources are not asked for it.
    if expected.is_empty() || expected == there || context.handler.definition.is_some() {
        return Ok(());
    }
    let mut resource = (*context.handler.resource).clone();
    resource.plural = format!("{}/scale", resource.plural).into();
    let message = format!("Precondition failed: UID in precondition: {expected}, UID in object meta: {there}");
    Err(Error::conflict(&resource, &context.request.name, &message))
}

fn change(context: &Context, stored: &Stored, wanted: Scale, warnings: Vec<String>) -> Result<Plan, Error> {
    let request = context.request;
    let name = wanted.metadata.name.as_deref().unwrap_or_default();
    if !name.is_empty() && name != request.name {
        return Err(Error::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            request.name
        )));
    }
    let present = scale(context.handler, &*stored.object)?;
    let wanted = super::admit(context, Operation::Update, wanted, Some(&present))?;
    let replicas = wanted.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default();
    if replicas < 0 {
        let mut errors = Errors::default();
        errors.invalid(&Path::new("spec").child("replicas"), replicas, "must be greater than or equal to 0");
        let mut resource = (*context.handler.resource).clone();
        (resource.group, resource.kind) = (EXPECTED.group.into(), EXPECTED.kind.into());
        return Err(Error::invalid(&resource, &request.name, &errors));
    }
    check_uid(context, &wanted, &present)?;
    let mut object = stored.object.duplicate();
    // Without a version, the scale that is there is meant, whatever the kind says of its whole objects.
    if wanted.metadata.resource_version.as_ref().is_some_and(|version| !version.is_empty()) {
        object.metadata_mut().resource_version.clone_from(&wanted.metadata.resource_version);
    }
    context.handler.rules.set_replicas(&mut *object, replicas);
    update::replace(context, stored, object, warnings)
}
