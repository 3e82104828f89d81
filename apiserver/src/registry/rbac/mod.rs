//! The group `rbac.authorization.k8s.io`.

mod binding;
pub mod cluster_role;
pub mod cluster_role_binding;
pub mod role;
pub mod role_binding;
mod rules;

#[cfg(test)]
mod tests;

/// The group's name, as references spell it.
pub const GROUP: &str = "rbac.authorization.k8s.io";
