//! The Kubernetes API over the replicated store.
//!
//! ```text
//! doors::rest ─┐                                                                  ┌─ registry::<group>::<kind>
//!              ├─► authentication ─► audit ─► corridor::Request ─► authorization ─► admission ─► registry ─► store
//! doors::grpc ─┘                                                                  └─ corridor::Response ◄───┘
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`doors`] | REST and gRPC: they translate, and decide nothing |
//! | [`corridor`] | what every request passes, whichever door it came through |
//! | [`registry`] | the kinds: defaults, validation, what may change; and the verbs over the store |
//! | [`authentication`], [`authorization`] | who asks, and whether he may |
//! | [`aggregation`] | groups that other servers answer for |
//! | [`audit`] | who asked for what, and what came of it, as a log |
//! | [`bootstrap`] | what every cluster has from the start |
//! | [`fairness`] | whose request is served now |
//! | `fuzzing` | what hostile input is tried on; in tests only |
//! | [`discovery`], [`openapi`] | what is served, and how it looks |
//! | [`cel`] | the expression language of policies and validation rules |
//! | [`outside`] | calls to webhooks and extension servers, for plans that make none themselves |
//! | [`metrics`] | what is counted |
//! | [`handoff`] | connections that the lab's front door hands over |
//! | [`nodes`] | connections to kubelets |
//!
//! Invariant: a door never touches the store, and nothing about one kind stands outside its room in the registry.

#![allow(clippy::disallowed_methods)] // see clippy.toml

pub mod admission;
pub mod aggregation;
pub mod audit;
pub mod authentication;
pub mod authorization;
pub mod bootstrap;
pub mod cel;
pub mod corridor;
pub mod discovery;
pub mod doors;
pub mod fairness;
#[cfg(any(test, feature = "fuzzing"))]
pub mod fuzzing;
pub mod handoff;
pub mod metrics;
pub mod nodes;
pub mod openapi;
mod options;
pub mod outside;
mod process;
pub mod registry;
pub mod server;
pub mod why;

pub use options::Options;
pub use process::{run, serve};
