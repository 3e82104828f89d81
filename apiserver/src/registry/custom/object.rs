//! An object that is known by its schema.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubelab_api::Error;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::registry::object::AnyObject;

/// A custom object in some version.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CustomObject {
    /// What it says that it is.
    pub api_version: String,
    /// What it says that it is.
    pub kind: String,
    /// What every object has.
    pub metadata: ObjectMeta,
    /// All the rest: spec, status and whatever the schema knows.
    #[serde(flatten)]
    pub content: Map<String, Value>,
}

impl CustomObject {
    /// The whole object as JSON.
    pub fn to_value(&self) -> Result<Value, Error> {
        let mut fields = self.content.clone();
        fields.insert("apiVersion".into(), self.api_version.as_str().into());
        fields.insert("kind".into(), self.kind.as_str().into());
        fields.insert("metadata".into(), serde_json::to_value(&self.metadata).map_err(Error::internal)?);
        Ok(Value::Object(fields))
    }

    /// Does something to the content as one JSON value.
    pub fn with_content<T>(&mut self, change: impl FnOnce(&mut Value) -> T) -> T {
        let mut content = Value::Object(std::mem::take(&mut self.content));
        let answer = change(&mut content);
        if let Value::Object(content) = content {
            self.content = content;
        }
        answer
    }
}

impl AnyObject for CustomObject {
    fn metadata(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        serde_json::to_vec(&self.to_value()?).map_err(Error::internal)
    }

    fn to_value(&self) -> Result<Value, Error> {
        CustomObject::to_value(self)
    }

    fn duplicate(&self) -> Box<dyn AnyObject> {
        Box::new(self.clone())
    }

    fn equals(&self, other: &dyn AnyObject) -> bool {
        other.downcast_ref::<Self>() == Some(self)
    }
}
