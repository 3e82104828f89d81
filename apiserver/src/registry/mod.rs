//! The kinds, and the verbs over the store.
//!
//! `<group>/<kind>.rs` is one kind's room: see [`kind::Kind`].

use std::sync::Arc;

use jiff::Timestamp;
use kubelab_api::{Error, Resource};
use serde_json::Value;

pub mod apps;
pub mod cells;
pub mod claims;
pub mod coordination;
pub mod core;
pub mod defaults;
pub mod discovery;
pub mod kind;
pub mod kinds;
pub mod watch;

use kind::Column;

/// Every resource that is served.
pub struct Registry {}

impl Registry {
    /// The resource at a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        let _ = (group, version, plural);
        unimplemented!()
    }

    /// All resources, in discovery's order.
    pub fn resources(&self) -> Vec<Arc<Resource>> {
        unimplemented!()
    }

    /// The printed columns.
    pub fn columns(&self, resource: &Resource) -> &'static [Column] {
        let _ = resource;
        unimplemented!()
    }

    /// The cells of one object.
    pub fn cells(&self, resource: &Resource, json: &[u8], now: Timestamp) -> Result<Vec<Value>, Error> {
        let _ = (resource, json, now);
        unimplemented!()
    }
}
