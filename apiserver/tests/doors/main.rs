//! Both doors of a real apiserver, over real sockets.
#![allow(clippy::unwrap_used)]

mod grpc;
mod lab;
mod rest;
