//! Parts of objects with verbs of their own.

pub mod binding;
pub mod eviction;
pub mod scale;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;

use super::plan::Shown;

/// The part is read and written as the whole object, of which only that part may change.
pub fn is_view(part: &str) -> bool {
    matches!(part, "status" | "approval" | "ephemeralcontainers" | "finalize" | "resize")
}

/// Done, without an object to show.
fn success() -> Shown {
    Shown::Status(Box::new(Status { status: Some("Success".into()), code: Some(201), ..Default::default() }))
}
