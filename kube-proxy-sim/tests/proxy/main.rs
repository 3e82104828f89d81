//! A proxy against a small apiserver and a small node over real TLS, in one process.

#![allow(clippy::disallowed_methods)] // see clippy.toml
#![allow(missing_docs, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../../client/tests/client/fake.rs"]
mod fake;
mod network;
mod node_ports;
mod rig;
