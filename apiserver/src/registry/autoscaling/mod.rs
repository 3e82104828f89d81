//! The group `autoscaling`.

pub mod horizontal_pod_autoscaler;
mod metrics;
mod rules;
pub mod v1;

#[cfg(test)]
mod tests;
