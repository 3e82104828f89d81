//! The object model of Kubernetes, without I/O.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`resource`] | the table of built-in resources: what discovery, routing, RBAC and garbage collection are served from |
//! | [`error`] | a refusal, as every door of the API shows it |
//! | [`field`] | paths into an object and what is wrong there |
//! | [`name`] | what names, labels and keys must look like |
//! | [`selector`] | choosing objects by labels and by fields |
//! | [`quantity`] | amounts of CPU, memory and the like |
//! | [`intstr`] | numbers or percentages |
//! | [`apply`] | server-side apply: who manages which fields |
//! | [`go`] | values as Go prints them |
//! | [`patch`] | JSON merge patch and strategic merge patch |
//! | [`meta`] | owners, conditions and other things that all objects have |
//! | [`pod`] | what a pod's fields say about it |
//! | [`cron`] | the schedules of CronJobs |
//! | [`custom`] | the resources that a CustomResourceDefinition brings |
//! | [`structural`] | schemas of custom resources: valid, pruned and defaulted values |
//! | [`json`] | places in JSON text |
//! | [`jsonpath`] | the paths by which columns, scales and selectable fields look into an object |
//! | [`pod_security`] | the Pod Security Standards |
//! | [`quota`] | what objects use, and whether a quota allows it |
//! | [`volume`] | what claims, volumes and classes say of each other |
//! | [`hash`] | the hashes in generated names |
//! | [`well_known`] | labels, taints and annotations with a meaning |
//!
//! Invariant: nothing here reads a clock, a socket or a file.

pub mod apply;
pub mod cron;
pub mod custom;
pub mod error;
pub mod field;
pub mod go;
pub mod hash;
pub mod intstr;
pub mod json;
pub mod jsonpath;
pub mod meta;
pub mod name;
pub mod patch;
pub mod pod;
pub mod pod_security;
pub mod quantity;
pub mod quota;
pub mod resource;
pub mod selector;
pub mod structural;
pub mod volume;
pub mod well_known;

pub use error::{Error, Reason};
pub use quantity::Quantity;
pub use resource::Resource;
