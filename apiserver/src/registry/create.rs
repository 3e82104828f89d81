//! Create. Source of the order of steps: `registry/rest/create.go` and `registry/generic/registry/store.go`.

use kubelab_api::{Error, field::Errors};
use kubelab_store::{Key, Precondition};

use super::{
    apply, managers, metadata,
    object::AnyObject,
    plan::{Context, Plan, Shown, encode},
};
use crate::admission::{Operation, dynamic};

/// A POST.
pub fn plan(context: &Context) -> Result<Plan, Error> {
    let (object, warnings) = context.handler.decode(context.json()?, context.validation()?)?;
    if !object.metadata().resource_version.as_deref().unwrap_or_default().is_empty() {
        return Err(Error::bad_request("resourceVersion should not be set on objects to be created"));
    }
    create(context, object, warnings)
}

/// Makes this object live.
pub fn create(context: &Context, mut object: Box<dyn AnyObject>, mut warnings: Vec<String>) -> Result<Plan, Error> {
    let (handler, rules) = (context.handler, &context.handler.rules);
    rules.check_creatable()?;
    let (resource, namespace) = (&handler.resource, context.request.namespace.as_str());
    if resource.namespaced && namespace.is_empty() {
        return Err(Error::bad_request("an empty namespace may not be set during creation"));
    }
    metadata::ensure_namespace(object.metadata_mut(), resource.namespaced, namespace)?;
    if !apply::is_apply(context.request) {
        managers::update(context, &mut *object, None);
    }
    let attributes = context.attributes(Operation::Create);
    metadata::fill_system(object.metadata_mut(), &context.draw);
    dynamic::admit(context, &attributes, &mut object, None)?;

    metadata::prepare_create(object.metadata_mut(), rules.generation(), &context.draw);
    rules.prepare_create(&mut *object);
    rules.settle(&mut *object, context.table);
    let key = context.key(object.name());
    let mut claims = context.claims(&key);
    let mut errors = Errors::default();
    metadata::validate(object.metadata(), rules.name_rule(), resource.namespaced, &mut errors);
    rules.validate(&*object, &mut errors);
    handler.validate_create(&*object, &mut errors);
    if errors.is_empty() {
        rules.claim(Some(&mut *object), None, &mut claims, &mut errors);
    }
    if !errors.is_empty() {
        return Err(Error::invalid(resource, object.name(), &errors));
    }
    warnings.extend(rules.warnings(&*object));
    dynamic::validate(context, &attributes, Some(&*object), None)?;
    if context.state.get(&key).is_some() {
        return Err(Error::already_exists(resource, object.name()));
    }

    let effects = attributes.into_effects();
    warnings.extend(effects.warnings);
    if context.request.options.dry_run {
        object.metadata_mut().resource_version = None;
        return Ok(Plan { warnings, ..Plan::nothing(Shown::Drafted(object.encode()?.into())) });
    }
    let encoded = encode(context, &key, &mut *object, true)?;
    let (mut preconditions, mut writes) = claims.into_parts();
    preconditions.insert(0, Precondition::Absent(key));
    if resource.namespaced {
        preconditions.push(Precondition::Exists(Key::new("core/namespaces", namespace)));
    }
    writes.insert(0, encoded.write);
    preconditions.extend(effects.preconditions);
    writes.extend(effects.writes);
    Ok(Plan { preconditions, writes, note: rules.note(&*object, None), warnings, shown: encoded.shown })
}
