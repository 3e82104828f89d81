//! The group `resource.k8s.io`: devices that are allocated for pods.

pub mod device_class;
pub mod device_taint_rule;
mod devices;
pub mod resource_claim;
pub mod resource_claim_template;
pub mod resource_slice;
mod slice_devices;
