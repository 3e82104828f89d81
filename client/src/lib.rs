//! How a component talks to the apiserver and lives as a process.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`process`] | a component's life: flags, logs, health and metrics port, shutdown |
//! | [`client`] | typed requests over gRPC, balanced over the live apiservers |
//! | [`cache`] | a list+watch mirror of a resource, with indexes and handlers |
//! | [`queue`] | keys that wait for a worker: each once, with back-off |
//! | [`controller`] | caches → queue → `reconcile(key)` |
//! | [`cause`] | the revision that woke the running task; writes carry it by themselves |
//! | [`leader`] | one active process among several, by a Lease |
//! | [`recorder`] | Events about objects, aggregated |
//! | [`clock`] | the only source of time |

pub mod cache;
pub mod cause;
pub mod client;
pub mod clock;
pub mod controller;
pub mod leader;
pub mod process;
pub mod queue;
pub mod recorder;

pub use cache::{Cache, Scope};
pub use cause::Cause;
pub use client::{Client, Object, Patch};
pub use controller::{Action, Controller};
pub use kubelab_api::Error;
pub use recorder::Recorder;
