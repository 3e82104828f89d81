//! The group `apps`.

pub mod deployment;
pub mod replica_set;
pub mod workload;
