//! More important pods first, then those that have waited longer.

use std::cmp::Reverse;

use crate::{
    framework::{Plugin, QueueSort},
    queue::{QueuedPod, SortKey},
};

/// Upstream: `PrioritySort`.
pub struct PrioritySort;

impl Plugin for PrioritySort {
    fn name(&self) -> &'static str {
        "PrioritySort"
    }
}

impl QueueSort for PrioritySort {
    fn key(&self, pod: &QueuedPod) -> SortKey {
        (Reverse(pod.info.priority), pod.queued, pod.ticket)
    }
}
