//! Objects of which only the metadata matters, whatever their kind.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::Object;

/// What a cache can mirror: every typed object, and [`Partial`].
pub trait Mirrored: DeserializeOwned + Send + Sync + 'static {
    /// The object's metadata.
    fn meta(&self) -> &ObjectMeta;
}

impl<K: Object> Mirrored for K {
    fn meta(&self) -> &ObjectMeta {
        self.metadata()
    }
}

/// An object without its content, as upstream's `PartialObjectMetadata`: what a garbage collector needs to know.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Partial {
    /// The object's own apiVersion.
    #[serde(default)]
    pub api_version: String,
    /// The object's own kind.
    #[serde(default)]
    pub kind: String,
    /// Its metadata.
    #[serde(default)]
    pub metadata: ObjectMeta,
}

impl Mirrored for Partial {
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
}
