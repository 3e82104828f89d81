//! What a definition decides for its objects.

use std::sync::Arc;

use bytes::Bytes;
use jiff::Timestamp;
use kubelab_api::{Error, Reason, Resource, field::Errors, resource::Text};
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use super::{
    decode,
    definition::{Definition, Version},
    object::CustomObject,
    openapi, validation,
};
use crate::registry::{
    claims::Claims,
    decode::Validation,
    handler::Rules,
    kind::{Column, NameRule, Scale},
    object::AnyObject,
};

/// The rules of a kind in one of its versions.
pub struct CustomRules {
    definition: Arc<Definition>,
    version: usize,
}

const OWN_KIND: &str = "a handler only ever sees objects of its own kind";

fn typed(object: &dyn AnyObject) -> &CustomObject {
    object.downcast_ref().expect(OWN_KIND)
}

fn typed_mut(object: &mut dyn AnyObject) -> &mut CustomObject {
    object.downcast_mut().expect(OWN_KIND)
}

impl CustomRules {
    /// The rules of the version with this index.
    pub fn new(definition: Arc<Definition>, version: usize) -> Self {
        Self { definition, version }
    }

    fn version(&self) -> &Version {
        &self.definition.versions[self.version]
    }

    fn content_differs(&self, new: &CustomObject, old: &CustomObject) -> bool {
        new.content != old.content || new.api_version != old.api_version || new.kind != old.kind
    }
}

impl Rules for CustomRules {
    fn topic(&self) -> Option<String> {
        None
    }
    fn present(&self, stored: &Bytes) -> Result<Bytes, Error> {
        let object = decode::stored(&self.definition, self.version(), stored)?;
        let encoded = object.encode()?;
        // What is the same is passed on as it is.
        Ok(if encoded == stored[..] { stored.clone() } else { encoded.into() })
    }
    fn store(&self, object: &dyn AnyObject) -> Result<Bytes, Error> {
        let mut object = typed(object).clone();
        decode::convert(&self.definition, &mut object, &self.definition.versions[self.definition.storage])?;
        Ok(object.encode()?.into())
    }
    fn value(&self, object: &dyn AnyObject) -> Result<Value, Error> {
        let object = typed(object);
        if object.api_version == self.version().api_version {
            return object.to_value();
        }
        let mut converted = object.clone();
        decode::convert(&self.definition, &mut converted, self.version())?;
        converted.to_value()
    }
    fn check_creatable(&self) -> Result<(), Error> {
        if !self.definition.ending {
            return Ok(());
        }
        // Source: `forbidCreateAdmission`.
        let resource = format!("{}.{}", self.definition.plural, self.definition.group);
        let message = format!("create not allowed while custom resource definition is terminating: {resource}");
        Err(Error::new(Reason::MethodNotAllowed, message))
    }
    fn read(&self, stored: &[u8]) -> Result<Box<dyn AnyObject>, Error> {
        Ok(Box::new(decode::stored(&self.definition, self.version(), stored)?))
    }
    fn decode(
        &self,
        resource: &Resource,
        json: &[u8],
        validation: Validation,
    ) -> Result<(Box<dyn AnyObject>, Vec<String>), Error> {
        let (object, warnings) = decode::sent(resource, self.version(), json, validation)?;
        Ok((Box::new(object), warnings))
    }
    fn schema(&self, generator: &mut SchemaGenerator) -> Schema {
        openapi::schema(&self.definition, self.version(), generator)
    }
    fn name_rule(&self) -> NameRule {
        NameRule::Subdomain
    }
    fn generation(&self) -> bool {
        true
    }
    fn create_on_update(&self) -> bool {
        false
    }
    fn unconditional_update(&self) -> bool {
        false
    }
    fn returns_deleted(&self) -> bool {
        false
    }
    fn orphans_dependents(&self) -> bool {
        false
    }
    fn default(&self, _object: &mut dyn AnyObject) {}
    fn prepare_create(&self, object: &mut dyn AnyObject) {
        if self.version().has_status {
            typed_mut(object).content.remove("status");
        }
    }
    fn prepare_update(&self, new: &mut dyn AnyObject, old: &dyn AnyObject) {
        if self.version().has_status {
            let content = &mut typed_mut(new).content;
            match typed(old).content.get("status") {
                Some(status) => drop(content.insert("status".into(), status.clone())),
                None => drop(content.remove("status")),
            }
        }
    }
    fn prepare_status_update(&self, new: &mut dyn AnyObject, old: &dyn AnyObject) {
        let (new, old) = (typed_mut(new), typed(old));
        let status = new.content.remove("status");
        let managed_fields = new.metadata.managed_fields.take();
        *new = old.clone();
        new.metadata.managed_fields = managed_fields;
        match status {
            Some(status) => drop(new.content.insert("status".into(), status)),
            None => drop(new.content.remove("status")),
        }
    }
    fn prepare_part(&self, _part: &str, _new: &mut dyn AnyObject, _old: &dyn AnyObject) {}
    fn prepare_delete(&self, _object: &mut dyn AnyObject) {}
    fn grace_seconds(&self, _object: &dyn AnyObject, _asked: Option<i64>) -> Option<i64> {
        None
    }
    fn finalizing(&self, _object: &dyn AnyObject) -> bool {
        false
    }
    fn claim(
        &self,
        _new: Option<&mut dyn AnyObject>,
        _old: Option<&dyn AnyObject>,
        _claims: &mut Claims,
        _errors: &mut Errors,
    ) {
    }
    fn spec_changed(&self, new: &dyn AnyObject, old: &dyn AnyObject) -> bool {
        self.content_differs(typed(new), typed(old))
    }
    fn validate(&self, _object: &dyn AnyObject, _errors: &mut Errors) {}
    fn validate_create(&self, object: &dyn AnyObject, errors: &mut Errors) {
        validation::validate(&self.definition, self.version(), typed(object), None, errors);
    }
    fn validate_update(&self, new: &dyn AnyObject, old: &dyn AnyObject, errors: &mut Errors) {
        validation::validate(&self.definition, self.version(), typed(new), Some(typed(old)), errors);
    }
    fn validate_status_update(&self, new: &dyn AnyObject, old: &dyn AnyObject, errors: &mut Errors) {
        validation::validate_status(&self.definition, self.version(), typed(new), typed(old), errors);
    }
    fn warnings(&self, _object: &dyn AnyObject) -> Vec<String> {
        Vec::new()
    }
    fn columns(&self) -> &[Column] {
        &self.version().columns.heads
    }
    fn cells(&self, object: &dyn AnyObject, now: Timestamp) -> Vec<Value> {
        let value = typed(object).to_value().unwrap_or_default();
        self.version().columns.cells(object.name(), &value, now)
    }
    fn fields(&self, object: &dyn AnyObject) -> Vec<(Text, String)> {
        let value = Value::Object(typed(object).content.clone());
        let text = |value: Option<&&Value>| match value {
            None | Some(Value::Null) => String::new(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let selectable = self.version().selectable.iter();
        selectable.map(|(name, path)| (name.clone(), text(path.find(&value).first()))).collect()
    }
    fn field_names(&self) -> Vec<Text> {
        self.version().selectable.iter().map(|(name, _)| name.clone()).collect()
    }
    fn index(&self, _object: &dyn AnyObject) -> Option<String> {
        None
    }
    fn index_field(&self) -> &'static str {
        ""
    }
    fn scale(&self, object: &dyn AnyObject) -> Result<Scale, Error> {
        let paths = self.version().scale.as_ref().ok_or_else(Error::no_such_page)?;
        paths.scale(&typed(object).content)
    }
    fn set_replicas(&self, object: &mut dyn AnyObject, replicas: i32) {
        if let Some(paths) = &self.version().scale {
            paths.set_replicas(&mut typed_mut(object).content, replicas);
        }
    }
    fn ttl_seconds(&self, _object: &dyn AnyObject) -> Option<u32> {
        None
    }
    fn note(&self, new: &dyn AnyObject, old: Option<&dyn AnyObject>) -> String {
        let Some((paths, old)) = self.version().scale.as_ref().zip(old) else { return String::new() };
        let replicas = |object: &dyn AnyObject| paths.scale(&typed(object).content).map(|scale| scale.replicas);
        match (replicas(old), replicas(new)) {
            (Ok(old), Ok(new)) if old != new => format!("scaled {old} → {new}"),
            _ => String::new(),
        }
    }
}
