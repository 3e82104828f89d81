//! The client against a small apiserver over real TLS, in one process.
#![allow(missing_docs, clippy::unwrap_used)]

mod cache;
mod fake;
mod leader;
mod process;
mod recorder;
mod requests;
