//! The client against a small apiserver over real TLS, in one process.

#![allow(clippy::disallowed_methods)] // see clippy.toml
#![allow(missing_docs, clippy::unwrap_used)]

mod cache;
// Other crates' tests include it too, and each uses a part of it.
#[allow(dead_code)]
mod fake;
mod leader;
mod process;
mod recorder;
mod requests;
