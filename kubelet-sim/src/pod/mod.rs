//! A pod's life on its node.
//!
//! ```text
//! pod and sandbox ──► plan ──► start, kill          memory: what the kubelet knows beside what the runtime
//!        │             (pure)                        and the API know: failures, back-offs, probes
//!        └──────────► status ──► what the API shows
//!                      (pure)
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`memory`] | what is remembered of a pod between two looks at it |
//! | [`plan`] | which containers to start and to kill now (pure) |
//! | [`restart`] | whether a container that ended is run again (pure) |
//! | [`security`], [`identity`] | whether a container may run as its user, and who that is (pure) |
//! | [`status`] | the pod's status: phase, conditions, container statuses (pure) |
//! | [`resize`] | resources that change while a pod runs (pure) |
//! | [`eviction`] | which pod goes when memory runs out (pure) |
//! | [`manifest`] | what static pods are in the API (pure) |
//! | [`backoff`] | how long to wait after a failure (pure) |
//! | [`admission`] | whether a pod may run here (pure) |
//! | [`env`] | a container's environment from its sources (pure) |
//! | [`services`] | the variables that tell of services (pure) |
//! | [`env_file`] | variables from a file of a volume (pure) |
//! | [`ephemeral`] | containers that were added to a running pod (pure) |
//!
//! Everything here is decided anew from the present state each time, so a kubelet can be killed between any two steps.
//! Nothing here does I/O or reads a clock; [`crate::node`] does.

pub mod admission;
pub mod backoff;
pub mod env;
pub mod env_file;
pub mod ephemeral;
pub mod eviction;
pub mod identity;
pub mod manifest;
pub mod memory;
pub mod plan;
pub mod resize;
pub mod restart;
pub mod security;
pub mod services;
pub mod status;

pub use memory::Memory;

#[cfg(test)]
mod tests;
