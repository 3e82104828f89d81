//! An object whose kind is known only at run time.

use std::any::Any;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kubelab_api::Error;
use serde_json::Value;

use super::kind::Object;

/// A decoded object, its type erased. What every kind has is here; the rest is its [`super::handler::Handler`]'s.
pub trait AnyObject: Any + Send + Sync {
    /// What every object has.
    fn metadata(&self) -> &ObjectMeta;

    /// What every object has.
    fn metadata_mut(&mut self) -> &mut ObjectMeta;

    /// Compact JSON.
    fn encode(&self) -> Result<Vec<u8>, Error>;

    /// The same as a JSON value.
    fn to_value(&self) -> Result<Value, Error> {
        serde_json::from_slice(&self.encode()?).map_err(Error::internal)
    }

    /// A copy.
    fn duplicate(&self) -> Box<dyn AnyObject>;

    /// Nothing differs.
    fn equals(&self, other: &dyn AnyObject) -> bool;
}

impl<T: Object> AnyObject for T {
    fn metadata(&self) -> &ObjectMeta {
        k8s_openapi::Metadata::metadata(self)
    }

    fn metadata_mut(&mut self) -> &mut ObjectMeta {
        k8s_openapi::Metadata::metadata_mut(self)
    }

    fn encode(&self) -> Result<Vec<u8>, Error> {
        let mut json = Vec::with_capacity(1024);
        serde_json::to_writer(&mut json, self).map_err(Error::internal)?;
        Ok(json)
    }

    fn to_value(&self) -> Result<Value, Error> {
        serde_json::to_value(self).map_err(Error::internal)
    }

    fn duplicate(&self) -> Box<dyn AnyObject> {
        Box::new(self.clone())
    }

    fn equals(&self, other: &dyn AnyObject) -> bool {
        other.downcast_ref::<T>() == Some(self)
    }
}

impl dyn AnyObject {
    /// The object, if it is of this type.
    pub fn downcast_ref<T: 'static>(&self) -> Option<&T> {
        (self as &dyn Any).downcast_ref()
    }

    /// The object, if it is of this type.
    pub fn downcast_mut<T: 'static>(&mut self) -> Option<&mut T> {
        (self as &mut dyn Any).downcast_mut()
    }

    /// Its name; empty before one was generated.
    pub fn name(&self) -> &str {
        self.metadata().name.as_deref().unwrap_or_default()
    }

    /// Its namespace; empty in cluster scope.
    pub fn namespace(&self) -> &str {
        self.metadata().namespace.as_deref().unwrap_or_default()
    }
}
