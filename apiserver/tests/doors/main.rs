//! Both doors of a real apiserver, over real sockets.

#![allow(clippy::disallowed_methods)] // see clippy.toml
#![allow(clippy::unwrap_used)]

mod aggregation;
mod conversion;
mod grpc;
mod lab;
mod limits;
mod policies;
mod protobuf;
mod rest;
mod streams;
mod webhook_server;
mod webhooks;
