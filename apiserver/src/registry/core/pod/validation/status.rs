//! What an update may change of a pod's status. Source: `ValidatePodStatusUpdate` in
//! `pkg/apis/core/validation/validation.go`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodSpec, PodStatus};
use kubelab_api::{
    field::{Errors, Path},
    name,
    pod::is_sidecar,
};

use super::annotations;
use crate::registry::{
    cells::{list, text},
    validation::{form, immutable, ip, json, label_key},
};

/// What is wrong with this change of a pod's status.
pub fn status_update(new: &Pod, old: &Pod, errors: &mut Errors) {
    let meta = Path::new("metadata");
    let at = meta.child("annotations");
    annotations::update(new.metadata.annotations.as_ref(), old.metadata.annotations.as_ref(), &at, errors);
    let path = Path::new("status");
    let none = PodStatus::default();
    let (status, before) = (new.status.as_ref().unwrap_or(&none), old.status.as_ref().unwrap_or(&none));
    // Upstream reports them below metadata.
    for (i, condition) in list(&status.conditions).iter().enumerate() {
        label_key(&condition.type_, &meta.child("conditions").index(i).child("Type"), errors);
    }
    let nominated = text(&status.nominated_node_name);
    if !nominated.is_empty() && status.nominated_node_name != before.nominated_node_name {
        form(nominated, name::dns1123_subdomain, &path.child("nominatedNodeName"), errors);
    }
    if before.qos_class.is_some() {
        immutable(&status.qos_class, &before.qos_class, &path.child("qosClass"), errors);
    }
    let no_spec = PodSpec::default();
    let spec = old.spec.as_ref().unwrap_or(&no_spec);
    let policy = text(&spec.restart_policy);
    for (field, new, old, policy) in [
        ("containerStatuses", &status.container_statuses, &before.container_statuses, policy),
        ("initContainerStatuses", &status.init_container_statuses, &before.init_container_statuses, policy),
        // Nobody restarts an ephemeral container.
        (
            "ephemeralContainerStatuses",
            &status.ephemeral_container_statuses,
            &before.ephemeral_container_statuses,
            "Never",
        ),
    ] {
        transitions(spec, policy, list(new), list(old), &path.child(field), errors);
    }
    claims(status, spec, &path.child("resourceClaimStatuses"), errors);
    let pod_ips: Vec<_> = list(&status.pod_ips).iter().map(|address| address.ip.as_str()).collect();
    let host_ips: Vec<_> = list(&status.host_ips).iter().map(|address| address.ip.as_str()).collect();
    if let Some(first) = host_ips.first().filter(|first| **first != text(&status.host_ip)) {
        errors.invalid(&path.child("hostIPs").index(0).child("ip"), *first, "must be equal to `hostIP`");
    }
    addresses(&pod_ips, json(&status.pod_ips), &path.child("podIPs"), errors);
    addresses(&host_ips, json(&status.host_ips), &path.child("hostIPs"), errors);
}

fn claims(status: &PodStatus, spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let mut names = BTreeSet::new();
    for (i, claim) in list(&status.resource_claim_statuses).iter().enumerate() {
        let path = path.index(i).child("name");
        if !list(&spec.resource_claims).iter().any(|known| known.name == claim.name) {
            let detail = "must match the name of an entry in `spec.resourceClaims`";
            errors.invalid(&path, claim.name.as_str(), detail);
        }
        if !names.insert(&claim.name) {
            errors.duplicate(&path, claim.name.as_str());
        }
        if let Some(claim) = &claim.resource_claim_name {
            form(claim, name::dns1123_subdomain, &path, errors);
        }
    }
}

/// At most one address of each family.
fn addresses(ips: &[&str], shown: serde_json::Value, path: &Path, errors: &mut Errors) {
    let parsed: Vec<_> = ips.iter().enumerate().filter_map(|(i, one)| ip(one, &path.index(i), errors)).collect();
    if ips.len() < 2 {
        return;
    }
    let families: BTreeSet<_> = parsed.iter().map(std::net::IpAddr::is_ipv6).collect();
    if families.len() != 2 || ips.len() > 2 {
        errors.invalid(path, shown, "may specify no more than one IP for each IP family");
    }
    let mut seen = BTreeSet::new();
    for (i, one) in ips.iter().enumerate().filter(|(_, one)| !seen.insert(**one)) {
        errors.duplicate(&path.index(i), serde_json::json!({"ip": one}));
    }
}

/// A container that is not restarted never leaves its end.
fn transitions(
    spec: &PodSpec,
    policy: &str,
    new: &[ContainerStatus],
    old: &[ContainerStatus],
    path: &Path,
    errors: &mut Errors,
) {
    if policy == "Always" {
        return;
    }
    let all = || spec.containers.iter().chain(list(&spec.init_containers));
    let ended = |status: &ContainerStatus| status.state.as_ref().and_then(|state| state.terminated.clone());
    for (i, old) in old.iter().enumerate() {
        let Some(end) = ended(old) else { continue };
        // Some containers have a policy of their own. Source: KEP-753, KEP-5307.
        let restarts = all().any(|container| {
            container.name == old.name && (is_sidecar(container) || container.restart_policy.is_some())
        });
        if restarts || end.exit_code != 0 && policy == "OnFailure" {
            continue;
        }
        if new.iter().any(|new| new.name == old.name && ended(new).is_none()) {
            errors.forbidden(&path.index(i).child("state"), "may not be transitioned to non-terminated state");
        }
    }
}
