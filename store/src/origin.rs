//! Where a write came from: stored with every revision, so that the lab can say why something happened.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::Revision;

/// Which of the apiserver's doors a write came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    /// The Kubernetes REST API.
    Rest,
    /// kubelab's gRPC services.
    Grpc,
    /// The apiserver itself: bootstrap objects, expiry of events.
    Internal,
}

/// Who wrote, how, when, and because of what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The authenticated user: `kubernetes-admin`, `system:kube-scheduler`.
    pub user: Arc<str>,
    /// The program, as its User-Agent says: `kubectl/v1.33.0`.
    pub agent: Arc<str>,
    /// The way in.
    pub door: Door,
    /// `create`, `update`, `patch`, `delete`, with the subresource after a slash: `create/binding`.
    pub verb: Arc<str>,
    /// When the entry node proposed it: Unix time in microseconds.
    pub time_us: u64,
    /// Joins all that one user action caused.
    pub trace_id: Arc<str>,
    /// The revision that led to this write; 0 when a person or a timer did.
    pub cause: Revision,
    /// What the write did in a few words; may be empty.
    pub note: Arc<str>,
}
