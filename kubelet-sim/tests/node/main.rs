//! A whole node against a small apiserver over real TLS, in one process.

#![allow(clippy::disallowed_methods)] // see clippy.toml
#![allow(missing_docs, clippy::unwrap_used)]

mod anew;
#[allow(dead_code)]
#[path = "../../../client/tests/client/fake.rs"]
mod fake;
mod life;
mod pods;
mod registration;
mod rig;
mod serving;
mod volumes;
