//! What a pod, and a workload's pod template, may say. Source: `pkg/apis/core/validation/validation.go`.

mod annotations;
mod claims;
mod container;
mod env;
mod os;
mod pod_resources;
mod probe;
mod resize;
pub mod scheduling;
mod security;
pub mod source;
mod status;
mod update;
mod volume;

use k8s_openapi::api::core::v1::{Pod, PodSpec, PodTemplateSpec, ResourceRequirements};
use kubelab_api::{
    field::{Errors, Path},
    name,
    selector::label,
};

pub use self::{
    resize::{ephemeral_containers_update, resize},
    scheduling::{node_selector, taint_effect, tolerations},
    status::status_update,
    update::update,
    volume::host_path,
};
use crate::registry::{
    cells::{list, text},
    core::resources,
    validation::{form, ip, json, required_choice},
};

/// What is wrong with a pod, new or updated.
pub fn pod(pod: &Pod, errors: &mut Errors) {
    let path = Path::new("spec");
    let none = PodSpec::default();
    let spec = pod.spec.as_ref().unwrap_or(&none);
    annotations::validate(pod.metadata.annotations.as_ref(), spec, &Path::new("metadata").child("annotations"), errors);
    pod_spec(spec, Some(pod.metadata.name.as_deref().unwrap_or_default()), &path, errors);
    if text(&spec.service_account_name).is_empty() {
        for (i, volume) in list(&spec.volumes).iter().enumerate() {
            let sources = volume.projected.as_ref().map_or(&[][..], |projected| list(&projected.sources));
            for (j, _) in sources.iter().enumerate().filter(|(_, source)| source.service_account_token.is_some()) {
                let path = path.child("volumes").index(i).child("projected").child("sources").index(j);
                let detail = "must not be specified when serviceAccountName is not set";
                errors.forbidden(&path.child("serviceAccountToken"), detail);
            }
        }
    }
    let lists = [("containers", &spec.containers[..]), ("initContainers", list(&spec.init_containers))];
    for (field, containers) in lists {
        for (i, container) in containers.iter().enumerate() {
            container::untrimmed_image(container, &path.child(field).index(i), errors);
        }
    }
}

/// What is wrong with a new pod.
pub fn create(pod: &Pod, errors: &mut Errors) {
    let path = Path::new("spec");
    let Some(spec) = &pod.spec else { return };
    if !list(&spec.ephemeral_containers).is_empty() {
        errors.forbidden(&path.child("ephemeralContainers"), "cannot be set on create");
    }
    if !list(&spec.scheduling_gates).is_empty() && !text(&spec.node_name).is_empty() {
        errors.forbidden(&path.child("nodeName"), "cannot be set until all schedulingGates have been cleared");
    }
    annotations::profiles_agree(pod.metadata.annotations.as_ref(), spec, &path, errors);
}

/// What is wrong with a pod template.
pub fn template(template: &PodTemplateSpec, path: &Path, errors: &mut Errors) {
    if let Some(meta) = &template.metadata {
        label::validate_labels(meta.labels.as_ref(), &path.child("labels"), errors);
        for key in meta.annotations.iter().flatten().map(|(key, _)| key) {
            form(&key.to_lowercase(), name::label_key, &path.child("annotations"), errors);
        }
    }
    let none = PodSpec::default();
    let spec = template.spec.as_ref().unwrap_or(&none);
    let said = template.metadata.as_ref().and_then(|meta| meta.annotations.as_ref());
    annotations::validate(said, spec, &path.child("annotations"), errors);
    pod_spec(spec, None, &path.child("spec"), errors);
    annotations::profiles_agree(said, spec, &path.child("spec"), errors);
    if !list(&spec.ephemeral_containers).is_empty() {
        let detail = "ephemeral containers not allowed in pod template";
        errors.forbidden(&path.child("spec").child("ephemeralContainers"), detail);
    }
}

/// `pod` is the name of the pod; `None` in a template.
fn pod_spec(spec: &PodSpec, pod: Option<&str>, path: &Path, errors: &mut Errors) {
    let grace_seconds = spec.termination_grace_period_seconds.unwrap_or_default();
    let volumes = volume::volumes(list(&spec.volumes), pod, &path.child("volumes"), errors);
    claims::pod(list(&spec.resource_claims), &path.child("resourceClaims"), errors);
    let context = container::Context { spec, volumes: &volumes, grace_seconds };
    container::containers(&context, &path.child("containers"), errors);
    container::init_containers(&context, &path.child("initContainers"), errors);
    container::ephemeral_containers(&context, &path.child("ephemeralContainers"), errors);
    pod_resources::validate(spec, &path.child("resources"), errors);
    security::host_network(spec, pod.is_some(), path, errors);
    let restarts = ["Always", "OnFailure", "Never"];
    required_choice(text(&spec.restart_policy), &restarts, &path.child("restartPolicy"), errors);
    dns(spec, path, errors);
    label::validate_labels(spec.node_selector.as_ref(), &path.child("nodeSelector"), errors);
    security::pod(spec, &path.child("securityContext"), errors);
    if let Some(affinity) = &spec.affinity {
        scheduling::affinity(affinity, &path.child("affinity"), errors);
    }
    for (i, gate) in list(&spec.readiness_gates).iter().enumerate() {
        let path = path.child("readinessGates").index(i).child("conditionType");
        form(&gate.condition_type, name::label_key, &path, errors);
    }
    scheduling::gates(list(&spec.scheduling_gates), &path.child("schedulingGates"), errors);
    let spread = &path.child("topologySpreadConstraints");
    scheduling::spread(list(&spec.topology_spread_constraints), spread, errors);
    os::host_process(spec, path, errors);
    security::host_users(spec, path, errors);
    let subdomain = |value: &Option<String>, field: &str, errors: &mut Errors| {
        if !text(value).is_empty() {
            form(text(value), name::dns1123_subdomain, &path.child(field), errors);
        }
    };
    subdomain(&spec.service_account_name, "serviceAccountName", errors);
    subdomain(&spec.node_name, "nodeName", errors);
    if let Some(seconds) = spec.active_deadline_seconds {
        for wrong in name::in_range(seconds, 1, i32::MAX.into()) {
            errors.invalid(&path.child("activeDeadlineSeconds"), seconds, &wrong);
        }
    }
    for (value, field) in [(&spec.hostname, "hostname"), (&spec.subdomain, "subdomain")] {
        if !text(value).is_empty() {
            form(text(value), name::dns1123_label, &path.child(field), errors);
        }
    }
    if let Some(name) = spec.hostname_override.as_ref().filter(|name| !name.is_empty()) {
        let path = path.child("hostnameOverride");
        form(name, name::dns1123_subdomain, &path, errors);
        if name.len() > 64 {
            errors.too_long(&path, 64);
        }
    }
    tolerations(list(&spec.tolerations), &path.child("tolerations"), errors);
    for (i, alias) in list(&spec.host_aliases).iter().enumerate() {
        let path = path.child("hostAliases").index(i);
        ip(&alias.ip, &path.child("ip"), errors);
        for (i, host) in list(&alias.hostnames).iter().enumerate() {
            form(host, name::dns1123_subdomain, &path.child("hostnames").index(i), errors);
        }
    }
    subdomain(&spec.priority_class_name, "priorityClassName", errors);
    if let Some(class) = &spec.runtime_class_name {
        form(class, name::dns1123_subdomain, &path.child("runtimeClassName"), errors);
    }
    if let Some(policy) = &spec.preemption_policy {
        let policies = ["PreemptLowerPriority", "Never"];
        required_choice(policy, &policies, &path.child("preemptionPolicy"), errors);
    }
    if let Some(overhead) = &spec.overhead {
        let overhead = ResourceRequirements { limits: Some(overhead.clone()), ..Default::default() };
        resources::validate(&overhead, &path.child("overhead"), errors);
    }
    os::validate(spec, path, errors);
}

fn dns(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let policies = ["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"];
    let policy = text(&spec.dns_policy);
    required_choice(policy, &policies, &path.child("dnsPolicy"), errors);
    let path = path.child("dnsConfig");
    let none = "must provide at least one DNS nameserver when `dnsPolicy` is None";
    let Some(config) = &spec.dns_config else {
        if policy == "None" {
            errors.required(&path, "must provide `dnsConfig` when `dnsPolicy` is None");
        }
        return;
    };
    let servers = list(&config.nameservers);
    if policy == "None" && servers.is_empty() {
        return errors.required(&path.child("nameservers"), none);
    }
    if servers.len() > 3 {
        errors.invalid(&path.child("nameservers"), json(&servers), "must not have more than 3 nameservers");
    }
    for (i, server) in servers.iter().enumerate() {
        ip(server, &path.child("nameservers").index(i), errors);
    }
    let searches = list(&config.searches);
    if searches.len() > 32 {
        errors.invalid(&path.child("searches"), json(&searches), "must not have more than 32 search paths");
    }
    if searches.join(" ").len() > 2048 {
        let detail = "must not have more than 2048 characters (including spaces) in the search list";
        errors.invalid(&path.child("searches"), json(&searches), detail);
    }
    for (i, search) in searches.iter().enumerate().filter(|(_, search)| *search != ".") {
        let search = search.strip_suffix('.').unwrap_or(search);
        form(search, name::dns1123_subdomain_with_underscore, &path.child("searches").index(i), errors);
    }
    for (i, _) in list(&config.options).iter().enumerate().filter(|(_, option)| text(&option.name).is_empty()) {
        errors.required(&path.child("options").index(i), "must not be empty");
    }
}
