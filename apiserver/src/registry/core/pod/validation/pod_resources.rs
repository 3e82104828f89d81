//! What a pod as a whole asks for. Source: `validatePodResources`, KEP-2837.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::PodSpec;
use kubelab_api::{
    Quantity,
    field::{Errors, Path},
};

use crate::registry::{
    cells::list,
    core::resources::{self, is_huge_page},
};

pub(super) fn validate(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let Some(said) = &spec.resources else { return };
    if said.claims.is_some() {
        errors.forbidden(&path.child("claims"), "claims cannot be set for Resources at pod-level");
    }
    for (field, amounts) in [("limits", &said.limits), ("requests", &said.requests)] {
        for name in amounts.iter().flatten().map(|(name, _)| name) {
            if !matches!(name.as_str(), "cpu" | "memory") && !is_huge_page(name) {
                errors.not_supported(&path.child(field).key(name), name, &["cpu", "hugepages-", "memory"]);
            }
        }
    }
    resources::validate(said, path, errors);

    let limits = said.limits.clone().unwrap_or_default();
    let requests = said.requests.clone().unwrap_or_default();
    let parsed = |text: &str| text.parse::<Quantity>().ok();
    let mut sums: BTreeMap<&str, Quantity> = BTreeMap::new();
    for container in &spec.containers {
        for (name, amount) in container.resources.iter().flat_map(|own| own.requests.iter().flatten()) {
            if let Some(amount) = parsed(&amount.0) {
                let sum = sums.entry(name).or_insert_with(|| Quantity::from_millis(0));
                *sum += amount;
            }
        }
    }
    let sidecars = list(&spec.init_containers).iter().filter(|container| kubelab_api::pod::is_sidecar(container));
    for (name, amount) in sidecars.flat_map(|one| one.resources.iter().flat_map(|own| own.requests.iter().flatten())) {
        if let Some(amount) = parsed(&amount.0) {
            let sum = sums.entry(name).or_insert_with(|| Quantity::from_millis(0));
            *sum += amount;
        }
    }
    for (name, sum) in sums {
        let whole = requests.get(name).and_then(|amount| parsed(&amount.0)).unwrap_or(Quantity::from_millis(0));
        if sum > whole {
            let detail = format!("must be greater than or equal to aggregate container requests of {sum}");
            errors.invalid(&path.child("requests").key(name), whole.to_string(), &detail);
        }
    }
    for (i, container) in spec.containers.iter().enumerate() {
        for (name, own) in container.resources.iter().flat_map(|own| own.limits.iter().flatten()) {
            let Some(whole) = limits.get(name) else { continue };
            let (Some(own), Some(whole)) = (parsed(&own.0), parsed(&whole.0)) else { continue };
            if own > whole {
                let path = path.child("containers").index(i).key(name).child("limits");
                let detail = format!("must be less than or equal to pod limits of {whole}");
                errors.invalid(&path, own.to_string(), &detail);
            }
        }
    }
}
