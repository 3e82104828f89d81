//! Update, of an object or of a part of it. Source of the order of steps: `registry/rest/update.go` and
//! `registry/generic/registry/store.go`.

use kubelab_api::{Error, field::Errors};
use kubelab_store::{Precondition, Write};
use serde_json::json;

use super::{
    apply, create, managers, metadata,
    object::AnyObject,
    plan::{Context, Plan, Shown, Stored, encode},
};
use crate::{
    admission::{Operation, dynamic},
    corridor::Verb,
};

/// A PUT.
pub fn plan(context: &Context) -> Result<Plan, Error> {
    let (object, warnings) = context.handler.decode(context.json()?, context.validation()?)?;
    let request = context.request;
    let (name, namespace) = (object.name(), object.namespace());
    if name.is_empty() {
        return Err(Error::bad_request(format!(
            "the name of the object ({} based on URL) was undeterminable: name must be provided",
            request.name
        )));
    }
    if name != request.name {
        return Err(Error::bad_request(format!(
            "the name of the object ({name}) does not match the name on the URL ({})",
            request.name
        )));
    }
    if !namespace.is_empty() && !request.namespace.is_empty() && namespace != request.namespace {
        return Err(Error::bad_request(format!(
            "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
            request.namespace
        )));
    }
    let uid = object.metadata().uid.as_deref().unwrap_or_default();
    match context.find(&request.name)? {
        Some(stored) => {
            let present = stored.object.metadata().uid.as_deref().unwrap_or_default();
            if !uid.is_empty() && uid != present {
                return Err(other_uid(context, uid, present));
            }
            replace(context, &stored, object, warnings)
        }
        None if context.handler.rules.create_on_update() && request.subresource.is_empty() => {
            if !uid.is_empty() {
                return Err(other_uid(context, uid, ""));
            }
            (context.may)(Verb::Create)?;
            create::create(context, object, warnings)
        }
        None => Err(Error::not_found(&context.handler.resource, &request.name)),
    }
}

fn other_uid(context: &Context, expected: &str, present: &str) -> Error {
    let message = format!("Precondition failed: UID in precondition: {expected}, UID in object meta: {present}");
    Error::conflict(&context.handler.resource, &context.request.name, &message)
}

/// Puts `new` in the place of `stored`, as far as the request's part of the object allows.
pub fn replace(
    context: &Context,
    stored: &Stored,
    mut new: Box<dyn AnyObject>,
    mut warnings: Vec<String>,
) -> Result<Plan, Error> {
    let (handler, rules) = (context.handler, &context.handler.rules);
    let (resource, old) = (&handler.resource, &*stored.object);
    let part = context.request.subresource.as_str();
    let attributes = context.attributes(Operation::Update);
    metadata::ensure_namespace(new.metadata_mut(), resource.namespaced, &context.request.namespace)?;
    if !apply::is_apply(context.request) {
        managers::update(context, &mut *new, Some(old));
    }
    dynamic::admit(context, &attributes, &mut new, Some(old))?;
    check_version(context, stored, &*new)?;

    let mut errors = Errors::default();
    let mut claims = context.claims(&stored.key);
    metadata::prepare_update(new.metadata_mut(), old.metadata());
    match part {
        "" => rules.prepare_update(&mut *new, old),
        "status" => rules.prepare_status_update(&mut *new, old),
        part => rules.prepare_part(part, &mut *new, old),
    }
    if part != "status" && rules.generation() && rules.spec_changed(&*new, old) {
        new.metadata_mut().generation = Some(old.metadata().generation.unwrap_or_default() + 1);
        rules.settle(&mut *new, context.table);
    }
    metadata::validate(new.metadata(), rules.name_rule(), resource.namespaced, &mut errors);
    metadata::validate_update(new.metadata(), old.metadata(), &mut errors);
    match part {
        "" | "scale" => {
            rules.validate(&*new, &mut errors);
            handler.validate_update(&*new, old, &mut errors);
        }
        "status" => rules.validate_status_update(&*new, old, &mut errors),
        part => {
            rules.validate(&*new, &mut errors);
            rules.validate_part(part, &*new, old, &mut errors);
        }
    }
    if errors.is_empty() && part.is_empty() {
        rules.claim(Some(&mut *new), Some(old), &mut claims, &mut errors);
    }
    if !errors.is_empty() {
        return Err(Error::invalid(resource, &context.request.name, &errors));
    }
    if part.is_empty() {
        warnings.extend(rules.update_warnings(&*new, old));
    }
    dynamic::validate(context, &attributes, Some(&*new), Some(old))?;
    let effects = attributes.into_effects();
    warnings.extend(effects.warnings);

    new.metadata_mut().resource_version.clone_from(&old.metadata().resource_version);
    managers::keep_times(&mut *new, old);
    let over = is_over(context, &*new, old);
    if !over && new.equals(old) {
        return Ok(Plan { warnings, ..Plan::nothing(Shown::Finished(stored.entry.value.clone())) });
    }
    if context.request.options.dry_run {
        return Ok(Plan { warnings, ..Plan::nothing(Shown::Finished(new.encode()?.into())) });
    }
    let unchanged = Precondition::Modified(stored.key.clone(), stored.entry.modified);
    let encoded = encode(context, &stored.key, &mut *new, false)?;
    if over {
        let mut claims = context.claims(&stored.key);
        rules.claim(None, Some(old), &mut claims, &mut errors);
        let (_, mut writes) = claims.into_parts();
        writes.insert(0, Write::Delete { key: stored.key.clone() });
        return Ok(Plan {
            preconditions: vec![unchanged],
            writes,
            note: "its last finalizer is gone".into(),
            warnings,
            shown: encoded.shown,
        });
    }
    let (mut preconditions, mut writes) = claims.into_parts();
    preconditions.insert(0, unchanged);
    writes.insert(0, encoded.write);
    preconditions.extend(effects.preconditions);
    writes.extend(effects.writes);
    Ok(Plan { preconditions, writes, note: rules.note(&*new, Some(old)), warnings, shown: encoded.shown })
}

/// The caller has seen the version that it replaces, or need not have.
fn check_version(context: &Context, stored: &Stored, new: &dyn AnyObject) -> Result<(), Error> {
    let (resource, name) = (&context.handler.resource, &context.request.name);
    match new.metadata().resource_version.as_deref().unwrap_or_default() {
        "" | "0" if context.handler.rules.unconditional_update() => Ok(()),
        "" | "0" => {
            let mut errors = Errors::default();
            let path = kubelab_api::field::Path::new("metadata").child("resourceVersion");
            errors.invalid(&path, json!(0), "must be specified for an update");
            Err(Error::invalid(resource, name, &errors))
        }
        given => match given.parse::<u64>() {
            Ok(given) if given == stored.entry.modified => Ok(()),
            Ok(_) => Err(Error::stale(resource, name)),
            Err(_) => Err(Error::bad_request(format!("strconv.ParseUint: parsing {given:?}: invalid syntax"))),
        },
    }
}

/// The object was deleted before, and nothing holds it any longer. Source: `ShouldDeleteDuringUpdate`.
fn is_over(context: &Context, new: &dyn AnyObject, old: &dyn AnyObject) -> bool {
    new.metadata().finalizers.as_deref().unwrap_or_default().is_empty()
        && !context.handler.rules.finalizing(new)
        && old.metadata().deletion_timestamp.is_some()
        && old.metadata().deletion_grace_period_seconds.unwrap_or_default() == 0
}
