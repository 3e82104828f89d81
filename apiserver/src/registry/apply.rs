//! Server-side apply: a configuration takes the path of a patch, and creates what is not there.
//! Source: `applyPatcher` in `k8s.io/apiserver/pkg/endpoints/handlers/patch.go`.

use kubelab_api::{
    Error, Reason,
    apply::{self, Writer, manager},
    field::{Errors, Path},
};
use serde_json::Value;

use super::{
    create,
    decode::Validation,
    managers::{self, Served},
    metadata,
    object::AnyObject,
    patch::{self, check_duplicates},
    plan::{Context, Plan, Stored},
    update,
};
use crate::corridor::{Body, Request, Verb};

/// The request applies a configuration.
pub fn is_apply(request: &Request) -> bool {
    matches!(&request.body, Body::Patch { media_type, .. } if media_type == patch::APPLY)
}

/// What a patch must and must not say about its manager. Source: `ValidatePatchOptions`.
pub fn check_options(request: &Request) -> Result<(), Error> {
    let mut errors = Errors::default();
    if !is_apply(request) && request.options.force {
        errors.forbidden(&Path::new("force"), "may not be specified for non-apply patch");
    }
    if is_apply(request) && request.options.field_manager.is_empty() {
        errors.required(&Path::new("fieldManager"), "is required for apply patch");
    }
    managers::check_name(&request.options.field_manager, &mut errors);
    if errors.is_empty() {
        return Ok(());
    }
    Err(Error::invalid(&metadata::options_kind("PatchOptions"), "", &errors))
}

/// A PATCH that applies.
pub fn plan(context: &Context) -> Result<Plan, Error> {
    let (config, warnings) = configuration(context)?;
    let request = context.request;
    match context.find(&request.name)? {
        Some(stored) => onto(context, &stored, &config, warnings),
        None if request.subresource.is_empty() => {
            (context.may)(Verb::Create)?;
            let object = applied(context, None, &config)?;
            create::create(context, new(context, object)?, warnings)
        }
        None => Err(Error::not_found(&context.handler.resource, &request.name)),
    }
}

/// The configuration that is sent; and warnings.
pub fn configuration(context: &Context) -> Result<(Value, Vec<String>), Error> {
    let Body::Patch { patch, .. } = &context.request.body else {
        return Err(Error::bad_request("the request has no patch in its body"));
    };
    let warnings = check_duplicates(patch, context.validation()?)?;
    match patch::parse(patch)? {
        config @ Value::Object(_) => Ok((config, warnings)),
        other => Err(Error::bad_request(format!(
            "error decoding patch: error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {} into Go value \
             of type map[string]interface {{}}",
            json_type(&other)
        ))),
    }
}

fn json_type(value: &Value) -> &'static str {
    match value {
        Value::Array(_) => "array",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        _ => "string",
    }
}

/// Applies a configuration to an object that is there.
pub fn onto(context: &Context, stored: &Stored, config: &Value, warnings: Vec<String>) -> Result<Plan, Error> {
    let object = applied(context, Some(stored), config)?;
    check_name(context, &*object)?;
    update::replace(context, stored, object, warnings)
}

/// The object that the configuration leads to, with its managers.
fn applied(context: &Context, stored: Option<&Stored>, config: &Value) -> Result<Box<dyn AnyObject>, Error> {
    let (handler, request) = (context.handler, context.request);
    let api_version = handler.resource.api_version();
    check_type(config, &api_version, &handler.resource.kind)?;
    if config["metadata"].get("managedFields").is_some_and(|entries| !entries.is_null()) {
        return Err(Error::bad_request("metadata.managedFields must be nil"));
    }
    let live = stored.map(|stored| handler.value(&*stored.object)).transpose()?;
    let entries = stored.and_then(|stored| stored.object.metadata().managed_fields.as_deref()).unwrap_or_default();
    let managers = manager::decode(entries)
        .map_err(|error| Error::new(Reason::Unknown, format!("failed to decode managed fields: {error}")))?;
    let versions = Served { table: context.table, handler };
    let now = metadata::seconds(context.now);
    let writer = Writer { name: &request.options.field_manager, subresource: &request.subresource, now: &now };
    let ground = managers::ground(context, &api_version, &versions);
    let applied = apply::apply(ground, writer, live.as_ref(), config, managers, request.options.force)?;
    let json = serde_json::to_vec(&applied.object).map_err(Error::internal)?;
    let (mut object, _) = handler.decode(&json, Validation::Ignore)?;
    object.metadata_mut().managed_fields = manager::encode(applied.managers);
    Ok(object)
}

/// Source: `versioncheck.go`.
pub fn check_type(config: &Value, api_version: &str, kind: &str) -> Result<(), Error> {
    let said = |name: &str| config[name].as_str().unwrap_or_default();
    if (said("apiVersion"), said("kind")) == (api_version, kind) {
        return Ok(());
    }
    let group_version = match said("apiVersion") {
        version if version.contains('/') => version.to_owned(),
        version => format!("/{version}"),
    };
    Err(Error::bad_request(format!("invalid object type: {group_version}, Kind={}", said("kind"))))
}

/// The object of a configuration for something that is not there yet.
fn new(context: &Context, object: Box<dyn AnyObject>) -> Result<Box<dyn AnyObject>, Error> {
    let (resource, name) = (&context.handler.resource, context.request.name.as_str());
    if let Some(uid) = object.metadata().uid.as_deref().filter(|uid| !uid.is_empty()) {
        let message =
            format!("uid mismatch: the provided object specified uid {uid}, and no existing object was found");
        return Err(Error::conflict(resource, name, &message));
    }
    check_name(context, &*object)?;
    if object.metadata().resource_version.as_deref().is_some_and(|version| !version.is_empty()) {
        return Err(Error::stale(resource, name));
    }
    Ok(object)
}

/// Source: `checkName` in `endpoints/handlers/rest.go`.
fn check_name(context: &Context, object: &dyn AnyObject) -> Result<(), Error> {
    let wanted = &context.request.name;
    match object.name() {
        "" => Err(Error::bad_request(format!(
            "the name of the object ({wanted} based on URL) was undeterminable: name must be provided"
        ))),
        name if name != wanted => Err(Error::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({wanted})"
        ))),
        _ => Ok(()),
    }
}
