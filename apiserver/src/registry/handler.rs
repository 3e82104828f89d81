//! One served resource with the rules of its kind, the type erased, so that the verbs are written once for all kinds.

use std::{marker::PhantomData, sync::Arc};

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::{
    Resource as _,
    schemars::{Schema, SchemaGenerator},
};
use kubelab_api::{
    Error, Resource,
    field::Errors,
    patch,
    resource::{self, Text},
};
use kubelab_store::{Batch, Change, Topic};
use serde_json::Value;

use super::{
    claims::Claims,
    custom::definition::Definition,
    decode::{self, Validation},
    kind::{Column, Kind, NameRule, Object, Scale},
    object::AnyObject,
    scan,
    table::Table,
    version::{Conversion, Converted, Version},
};

/// A resource in one version, as it is served.
pub struct Handler {
    /// Its row in the table of resources.
    pub resource: Arc<Resource>,
    /// Where its objects are stored; all versions share it.
    pub topic: Topic,
    /// What its kind decides.
    pub rules: Box<dyn Rules>,
    /// The definition that it comes from, if it is a custom one.
    pub definition: Option<Arc<Definition>>,
    /// What its objects are made of, in this version: how they merge and who owns what.
    pub types: patch::Schema,
    /// How this version differs from the stored one; `None` where it does not.
    version: Option<Box<dyn Version>>,
}

/// A row of the table: the handler of a kind in the version in which it is stored. `None` if there is no such resource.
pub fn row<K: Kind>(group: &str, version: &str, plural: &str) -> Option<Handler> {
    handler(group, version, plural, Box::new(Erased::<K>(PhantomData)), None)
}

/// A row of the table: the handler of a kind in another version than the stored one.
pub fn converted<K: Kind, C: Conversion<Stored = K::Object>>(
    group: &str,
    version: &str,
    plural: &str,
) -> Option<Handler> {
    let conversion = Box::new(Converted::<C>::new());
    handler(group, version, plural, Box::new(Erased::<K>(PhantomData)), Some(conversion))
}

fn handler(
    group: &str,
    version: &str,
    plural: &str,
    rules: Box<dyn Rules>,
    conversion: Option<Box<dyn Version>>,
) -> Option<Handler> {
    let resource = resource::find(group, version, plural)?;
    let topic = rules.topic().unwrap_or_else(|| resource.topic()).into();
    // Reviews and bindings merge with nothing.
    let types = patch::Schema::of(resource).unwrap_or_else(patch::Schema::unknown);
    let resource = Arc::new(resource.clone());
    Some(Handler { resource, topic, rules, definition: None, types, version: conversion })
}

impl Handler {
    /// The handler of a custom kind in one version.
    pub fn custom(
        resource: Resource,
        definition: Arc<Definition>,
        rules: Box<dyn Rules>,
        types: patch::Schema,
    ) -> Self {
        let topic = resource.topic().into();
        Self { resource: Arc::new(resource), topic, rules, types, definition: Some(definition), version: None }
    }

    /// An object that a client sent: decoded, in the stored version, with defaults filled in; and warnings.
    pub fn decode(&self, json: &[u8], validation: Validation) -> Result<(Box<dyn AnyObject>, Vec<String>), Error> {
        let (mut object, warnings) = match &self.version {
            Some(version) => version.decode(&self.resource, json, validation)?,
            None => self.rules.decode(&self.resource, json, validation)?,
        };
        self.rules.default(&mut *object);
        Ok((object, warnings))
    }

    /// A stored object in the version that is served.
    pub fn present(&self, stored: &Bytes) -> Result<Bytes, Error> {
        match &self.version {
            Some(version) => version.present(stored),
            None => self.rules.present(stored),
        }
    }

    /// An object, in the version that is served.
    pub fn encode(&self, object: &dyn AnyObject) -> Result<Bytes, Error> {
        let stored = Bytes::from(object.encode()?);
        self.present(&stored)
    }

    /// An object in the version that is served, as a JSON value without its managers.
    pub fn value(&self, object: &dyn AnyObject) -> Result<Value, Error> {
        let mut value = match &self.version {
            Some(_) => serde_json::from_slice(&self.encode(object)?).map_err(Error::internal)?,
            None => self.rules.value(object)?,
        };
        if let Some(metadata) = value.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.remove("managedFields");
        }
        Ok(value)
    }

    /// The same without one member of the object, for kinds that are served as they are stored.
    pub fn value_without(&self, object: &dyn AnyObject, member: &str) -> Result<Value, Error> {
        let json = object.encode()?;
        let unmanaged = scan::without(&json, &["metadata", "managedFields"]);
        serde_json::from_slice(&scan::without(&unmanaged, &[member])).map_err(Error::internal)
    }

    /// Whether what is served is what is stored.
    pub fn is_stored_version(&self) -> bool {
        self.version.is_none() && self.definition.is_none()
    }

    /// An object in the version that is served, as this server once answered it.
    pub fn read(&self, served: &[u8]) -> Result<Box<dyn AnyObject>, Error> {
        match &self.version {
            Some(version) => Ok(version.decode(&self.resource, served, Validation::Ignore)?.0),
            None => self.rules.read(served),
        }
    }

    /// The definition that this comes from was changed by what has happened, or is gone.
    pub fn is_outdated(&self, happened: Result<Batch, kubelab_store::Error>) -> bool {
        let (Some(from), Ok(batch)) = (&self.definition, happened) else { return true };
        batch.events.iter().filter(|event| event.key == from.key).any(|event| match &event.change {
            Change::Put { after, .. } => {
                decode::metadata(&after.value).and_then(|meta| meta.generation) != Some(from.generation)
            }
            Change::Delete { .. } => true,
        })
    }

    /// An object as it is stored.
    pub fn store(&self, object: &dyn AnyObject) -> Result<Bytes, Error> {
        self.rules.store(object)
    }

    /// What is wrong with a new object, beyond what is with every object of its kind.
    pub fn validate_create(&self, object: &dyn AnyObject, errors: &mut Errors) {
        self.rules.validate_create(object, errors);
        if let Some(version) = &self.version {
            version.validate_create(object, errors);
        }
    }

    /// What is wrong with a change, beyond what is with every object of its kind.
    pub fn validate_update(&self, new: &dyn AnyObject, old: &dyn AnyObject, errors: &mut Errors) {
        self.rules.validate_update(new, old, errors);
        if let Some(version) = &self.version {
            version.validate_update(new, old, errors);
        }
    }

    /// The cells of the printed columns of an object in the version that is served.
    pub fn cells(&self, served: &[u8], now: Timestamp) -> Result<Vec<Value>, Error> {
        Ok(self.rules.cells(&*self.read(served)?, now))
    }

    /// Adds the schema of the served type to a collection of schemas.
    pub fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        match &self.version {
            Some(version) => version.schema(generator),
            None => self.rules.schema(generator),
        }
    }
}

/// A [`Kind`] without its type: the same functions, for objects known only at run time.
#[allow(missing_docs)]
pub trait Rules: Send + Sync {
    /// The topic of the resource in the stored version.
    fn topic(&self) -> Option<String>;
    fn present(&self, stored: &Bytes) -> Result<Bytes, Error> {
        Ok(stored.clone())
    }
    fn store(&self, object: &dyn AnyObject) -> Result<Bytes, Error> {
        Ok(object.encode()?.into())
    }
    fn value(&self, object: &dyn AnyObject) -> Result<Value, Error> {
        object.to_value()
    }
    fn check_creatable(&self) -> Result<(), Error> {
        Ok(())
    }
    fn read(&self, stored: &[u8]) -> Result<Box<dyn AnyObject>, Error>;
    fn decode(
        &self,
        resource: &Resource,
        json: &[u8],
        validation: Validation,
    ) -> Result<(Box<dyn AnyObject>, Vec<String>), Error>;
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema;
    fn name_rule(&self) -> NameRule;
    fn generation(&self) -> bool;
    fn create_on_update(&self) -> bool;
    fn unconditional_update(&self) -> bool;
    fn returns_deleted(&self) -> bool;
    fn orphans_dependents(&self) -> bool;
    fn default(&self, object: &mut dyn AnyObject);
    fn prepare_create(&self, object: &mut dyn AnyObject);
    fn prepare_update(&self, new: &mut dyn AnyObject, old: &dyn AnyObject);
    fn prepare_status_update(&self, new: &mut dyn AnyObject, old: &dyn AnyObject);
    fn prepare_part(&self, part: &str, new: &mut dyn AnyObject, old: &dyn AnyObject);
    fn prepare_delete(&self, object: &mut dyn AnyObject);
    fn grace_seconds(&self, object: &dyn AnyObject, asked: Option<i64>) -> Option<i64>;
    fn finalizing(&self, object: &dyn AnyObject) -> bool;
    fn claim(
        &self,
        new: Option<&mut dyn AnyObject>,
        old: Option<&dyn AnyObject>,
        claims: &mut Claims,
        errors: &mut Errors,
    );
    fn settle(&self, _object: &mut dyn AnyObject, _kinds: &Table) {}
    fn spec_changed(&self, new: &dyn AnyObject, old: &dyn AnyObject) -> bool;
    fn validate(&self, object: &dyn AnyObject, errors: &mut Errors);
    fn validate_create(&self, object: &dyn AnyObject, errors: &mut Errors);
    fn validate_update(&self, new: &dyn AnyObject, old: &dyn AnyObject, errors: &mut Errors);
    fn validate_status_update(&self, new: &dyn AnyObject, old: &dyn AnyObject, errors: &mut Errors);
    fn validate_part(&self, _part: &str, _new: &dyn AnyObject, _old: &dyn AnyObject, _errors: &mut Errors) {}
    fn warnings(&self, object: &dyn AnyObject) -> Vec<String>;
    fn update_warnings(&self, new: &dyn AnyObject, _old: &dyn AnyObject) -> Vec<String> {
        self.warnings(new)
    }
    fn columns(&self) -> &[Column];
    fn cells(&self, object: &dyn AnyObject, now: Timestamp) -> Vec<Value>;
    fn fields(&self, object: &dyn AnyObject) -> Vec<(Text, String)>;
    fn field_names(&self) -> Vec<Text>;
    fn index(&self, object: &dyn AnyObject) -> Option<String>;
    fn index_field(&self) -> &'static str;
    fn scale(&self, object: &dyn AnyObject) -> Result<Scale, Error>;
    fn set_replicas(&self, object: &mut dyn AnyObject, replicas: i32);
    fn ttl_seconds(&self, object: &dyn AnyObject) -> Option<u32>;
    fn note(&self, new: &dyn AnyObject, old: Option<&dyn AnyObject>) -> String;
}

struct Erased<K>(PhantomData<fn() -> K>);

const OWN_KIND: &str = "a handler only ever sees objects of its own kind";

pub(super) fn typed<T: Object>(object: &dyn AnyObject) -> &T {
    object.downcast_ref().expect(OWN_KIND)
}

fn typed_mut<T: Object>(object: &mut dyn AnyObject) -> &mut T {
    object.downcast_mut().expect(OWN_KIND)
}

pub(super) fn read<T: Object>(stored: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(stored)
        .map_err(|error| Error::internal(format!("a stored {} cannot be read: {error}", T::KIND)))
}

impl<K: Kind> Rules for Erased<K> {
    fn topic(&self) -> Option<String> {
        let is_stored =
            |r: &&Resource| r.group == K::Object::GROUP && r.version == K::Object::VERSION && r.kind == K::Object::KIND;
        resource::BUILT_IN.iter().find(is_stored).map(Resource::topic)
    }
    fn read(&self, stored: &[u8]) -> Result<Box<dyn AnyObject>, Error> {
        Ok(Box::new(read::<K::Object>(stored)?))
    }
    fn decode(
        &self,
        resource: &Resource,
        json: &[u8],
        validation: Validation,
    ) -> Result<(Box<dyn AnyObject>, Vec<String>), Error> {
        let (object, warnings) = decode::decode::<K::Object>(resource, json, validation)?;
        Ok((Box::new(object), warnings))
    }
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        generator.subschema_for::<K::Object>()
    }
    fn name_rule(&self) -> NameRule {
        K::NAME
    }
    fn generation(&self) -> bool {
        K::GENERATION
    }
    fn create_on_update(&self) -> bool {
        K::CREATE_ON_UPDATE
    }
    fn unconditional_update(&self) -> bool {
        K::UNCONDITIONAL_UPDATE
    }
    fn returns_deleted(&self) -> bool {
        K::RETURNS_DELETED
    }
    fn orphans_dependents(&self) -> bool {
        K::ORPHANS_DEPENDENTS
    }
    fn default(&self, object: &mut dyn AnyObject) {
        K::default(typed_mut(object));
    }
    fn prepare_create(&self, object: &mut dyn AnyObject) {
        K::prepare_create(typed_mut(object));
    }
    fn prepare_update(&self, new: &mut dyn AnyObject, old: &dyn AnyObject) {
        K::prepare_update(typed_mut(new), typed(old));
    }
    fn prepare_status_update(&self, new: &mut dyn AnyObject, old: &dyn AnyObject) {
        K::prepare_status_update(typed_mut(new), typed(old));
    }
    fn prepare_part(&self, part: &str, new: &mut dyn AnyObject, old: &dyn AnyObject) {
        K::prepare_part(part, typed_mut(new), typed(old));
    }
    fn prepare_delete(&self, object: &mut dyn AnyObject) {
        K::prepare_delete(typed_mut(object));
    }
    fn grace_seconds(&self, object: &dyn AnyObject, asked: Option<i64>) -> Option<i64> {
        K::grace_seconds(typed(object), asked)
    }
    fn finalizing(&self, object: &dyn AnyObject) -> bool {
        K::finalizing(typed(object))
    }
    fn claim(
        &self,
        new: Option<&mut dyn AnyObject>,
        old: Option<&dyn AnyObject>,
        claims: &mut Claims,
        errors: &mut Errors,
    ) {
        K::claim(new.map(typed_mut), old.map(typed), claims, errors);
    }
    fn settle(&self, object: &mut dyn AnyObject, kinds: &Table) {
        K::settle(typed_mut(object), kinds);
    }
    fn spec_changed(&self, new: &dyn AnyObject, old: &dyn AnyObject) -> bool {
        K::spec_changed(typed(new), typed(old))
    }
    fn validate(&self, object: &dyn AnyObject, errors: &mut Errors) {
        K::validate(typed(object), errors);
    }
    fn validate_create(&self, object: &dyn AnyObject, errors: &mut Errors) {
        K::validate_create(typed(object), errors);
    }
    fn validate_update(&self, new: &dyn AnyObject, old: &dyn AnyObject, errors: &mut Errors) {
        K::validate_update(typed(new), typed(old), errors);
    }
    fn validate_status_update(&self, new: &dyn AnyObject, old: &dyn AnyObject, errors: &mut Errors) {
        K::validate_status_update(typed(new), typed(old), errors);
    }
    fn validate_part(&self, part: &str, new: &dyn AnyObject, old: &dyn AnyObject, errors: &mut Errors) {
        K::validate_part(part, typed(new), typed(old), errors);
    }
    fn warnings(&self, object: &dyn AnyObject) -> Vec<String> {
        K::warnings(typed(object))
    }
    fn update_warnings(&self, new: &dyn AnyObject, old: &dyn AnyObject) -> Vec<String> {
        K::update_warnings(typed(new), typed(old))
    }
    fn columns(&self) -> &[Column] {
        K::COLUMNS
    }
    fn cells(&self, object: &dyn AnyObject, now: Timestamp) -> Vec<Value> {
        K::cells(typed(object), now)
    }
    fn fields(&self, object: &dyn AnyObject) -> Vec<(Text, String)> {
        K::fields(typed(object)).into_iter().map(|(name, value)| (Text::Borrowed(name), value)).collect()
    }
    fn field_names(&self) -> Vec<Text> {
        K::fields(&<K::Object as Default>::default()).into_iter().map(|(name, _)| Text::Borrowed(name)).collect()
    }
    fn index(&self, object: &dyn AnyObject) -> Option<String> {
        K::index(typed(object))
    }
    fn index_field(&self) -> &'static str {
        K::INDEX_FIELD
    }
    fn scale(&self, object: &dyn AnyObject) -> Result<Scale, Error> {
        K::scale(typed(object)).ok_or_else(Error::no_such_page)
    }
    fn set_replicas(&self, object: &mut dyn AnyObject, replicas: i32) {
        K::set_replicas(typed_mut(object), replicas);
    }
    fn ttl_seconds(&self, object: &dyn AnyObject) -> Option<u32> {
        K::ttl_seconds(typed(object))
    }
    fn note(&self, new: &dyn AnyObject, old: Option<&dyn AnyObject>) -> String {
        K::note(typed(new), old.map(typed))
    }
}
