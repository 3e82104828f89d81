//! The group `apiextensions.k8s.io`.

pub mod acceptance;
pub mod conversion;
pub mod custom_resource_definition;
pub mod validation;
pub mod warnings;
