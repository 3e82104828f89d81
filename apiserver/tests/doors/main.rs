//! Both doors of a real apiserver, over real sockets.

#![allow(clippy::disallowed_methods)] // see clippy.toml
#![allow(clippy::unwrap_used)]

mod grpc;
mod lab;
mod policies;
mod rest;
mod streams;
mod webhook_server;
mod webhooks;
