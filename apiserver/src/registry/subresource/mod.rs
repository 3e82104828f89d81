//! Parts of objects with verbs of their own.

pub mod binding;
pub mod eviction;
pub mod scale;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

use kubelab_api::Error;
use serde::{Serialize, de::DeserializeOwned};

use super::plan::{Context, Shown};
use crate::admission::{Operation, dynamic};

/// The part is read and written as the whole object, of which only that part may change.
pub fn is_view(part: &str) -> bool {
    matches!(part, "status" | "approval" | "ephemeralcontainers" | "finalize" | "resize")
}

/// Admits the object of a part that has a kind of its own.
fn admit<T: Serialize + DeserializeOwned>(
    context: &Context,
    operation: Operation,
    part: T,
    old: Option<&T>,
) -> Result<T, Error> {
    if context.policies.hooks(context.state).is_empty() {
        return Ok(part);
    }
    let old = old.map(serde_json::to_value).transpose().map_err(Error::internal)?;
    let mut json = serde_json::to_value(part).map_err(Error::internal)?;
    dynamic::admit_part(context, operation, &mut json, old.as_ref())?;
    serde_json::from_value(json).map_err(Error::internal)
}

/// Done, without an object to show.
fn success() -> Shown {
    Shown::Status(Box::new(Status { status: Some("Success".into()), code: Some(201), ..Default::default() }))
}
