//! How a component talks to the apiserver and lives as a process.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`process`] | a component's life: flags, logs, health and metrics port, shutdown |
//! | [`client`] | typed requests over gRPC, balanced over the live apiservers |
//! | `token` | a bearer token that changes from time to time |
//! | `aggregated` | what other servers answer that APIServices name |
//! | `scale` | how many replicas an object has, whatever its kind |
//! | [`cache`] | a list+watch mirror of a resource, with indexes and handlers |
//! | [`partial`] | objects of which only the metadata matters |
//! | [`queue`] | keys that wait for a worker: each once, with back-off |
//! | [`controller`] | caches → queue → `reconcile(key)` |
//! | [`cause`] | the revision that woke the running task; writes carry it by themselves |
//! | [`leader`] | one active process among several, by a Lease |
//! | [`recorder`] | Events about objects, aggregated |
//! | [`metrics`] | what /metrics shows |
//! | [`clock`] | the only source of time |
//!
//! What holds between them: everything runs on the runtime of the caller, of whatever kind; every task ends with the handle
//! that it works for; nothing here keeps a request, an event or a key beyond a bound.

mod aggregated;
mod backoff;
pub mod cache;
pub mod cause;
pub mod client;
pub mod clock;
pub mod controller;
mod endpoints;
pub mod leader;
pub mod metrics;
pub mod partial;
pub mod process;
pub mod queue;
pub mod recorder;
mod request;
mod scale;
mod token;

pub use cache::{Cache, Change, Scope};
pub use cause::Cause;
pub use client::{Client, Object, Patch};
pub use controller::{Action, Controller};
pub use endpoints::Dial;
pub use kubelab_api::Error;
pub use partial::Partial;
pub use recorder::Recorder;
pub use request::Failed;
pub use token::Token;
