//! The object model of Kubernetes, without I/O.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`resource`] | the table of built-in resources: what discovery, routing, RBAC and garbage collection are served from |
//! | [`error`] | a refusal, as every door of the API shows it |
//! | [`field`] | paths into an object and what is wrong there |
//!
//! Invariant: nothing here reads a clock, a socket or a file.

pub mod error;
pub mod field;
pub mod resource;

pub use error::{Error, Reason};
pub use resource::Resource;
