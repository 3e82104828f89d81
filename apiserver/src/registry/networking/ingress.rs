//! Ingress. Source: `pkg/apis/networking/validation/validation.go`, `pkg/registry/networking/ingress/strategy.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::{
    core::v1::TypedLocalObjectReference,
    networking::v1::{Ingress, IngressBackend, IngressRule, IngressSpec, IngressStatus},
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells, list, text, text_or},
    core::service,
    kind::{Column, Kind, age, column},
    validation::{choice, form, ip, json, port, required_form},
};

/// How an Ingress named its class before there was a field for it.
const LEGACY: &str = "kubernetes.io/ingress.class";

/// Ingress.
pub struct IngressKind;

impl Kind for IngressKind {
    type Object = Ingress;

    fn prepare_create(ingress: &mut Ingress) {
        ingress.status = Some(IngressStatus { load_balancer: Some(Default::default()) });
    }

    fn prepare_update(new: &mut Ingress, old: &Ingress) {
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut Ingress, old: &Ingress) {
        new.spec.clone_from(&old.spec);
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &Ingress, old: &Ingress) -> bool {
        new.spec != old.spec
    }

    fn validate(ingress: &Ingress, errors: &mut Errors) {
        let path = Path::new("spec");
        let none = IngressSpec::default();
        let spec = ingress.spec.as_ref().unwrap_or(&none);
        match (&spec.default_backend, list(&spec.rules)) {
            (None, []) => {
                errors.invalid(&path, json(&spec.rules), "either `defaultBackend` or `rules` must be specified")
            }
            (None, _) => {}
            (Some(backend), _) => validate_backend(backend, &path.child("defaultBackend"), errors),
        }
        for (i, rule) in list(&spec.rules).iter().enumerate() {
            validate_rule(rule, &path.child("rules").index(i), errors);
        }
        for (i, tls) in list(&spec.tls).iter().enumerate() {
            let path = path.child("tls").index(i);
            for (i, host) in list(&tls.hosts).iter().enumerate() {
                validate_host(host, &path.child("hosts").index(i), errors);
            }
            if let Some(secret) = tls.secret_name.as_ref().filter(|secret| !secret.is_empty()) {
                form(secret, name::dns1123_subdomain, &path.child("secretName"), errors);
            }
        }
        if let Some(class) = &spec.ingress_class_name {
            form(class, name::dns1123_subdomain, &path.child("ingressClassName"), errors);
        }
    }

    fn validate_create(ingress: &Ingress, errors: &mut Errors) {
        let class = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref());
        let legacy = kubelab_api::meta::annotation(&ingress.metadata, LEGACY);
        if let (Some(class), Some(legacy)) = (class, legacy)
            && class != legacy
        {
            let detail = "must match `ingressClassName` when both are specified";
            errors.invalid(&Path::new("annotations").child(LEGACY), legacy, detail);
        }
    }

    fn validate_part(part: &str, new: &Ingress, _old: &Ingress, errors: &mut Errors) {
        let balancer = new.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        if part != "status" {
            return;
        }
        let path = Path::new("status").child("loadBalancer").child("ingress");
        for (i, point) in balancer.map_or(&[][..], |balancer| list(&balancer.ingress)).iter().enumerate() {
            let path = path.index(i);
            if !text(&point.ip).is_empty() {
                ip(text(&point.ip), &path.child("ip"), errors);
            }
            service::validation::host_name(text(&point.hostname), &path.child("hostname"), errors);
        }
    }

    fn warnings(ingress: &Ingress) -> Vec<String> {
        let mut warnings = Vec::new();
        if kubelab_api::meta::annotation(&ingress.metadata, LEGACY).is_some() {
            warnings.push(format!("annotation {LEGACY:?} is deprecated, please use 'spec.ingressClassName' instead"));
        }
        warnings
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Class", "string"),
        column("Hosts", "string"),
        column("Address", "string"),
        column("Ports", "string"),
        AGE,
    ];

    fn cells(ingress: &Ingress, now: Timestamp) -> Vec<Value> {
        let none = IngressSpec::default();
        let spec = ingress.spec.as_ref().unwrap_or(&none);
        let points = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let points = points.map_or(&[][..], |balancer| list(&balancer.ingress));
        let addresses: BTreeSet<_> = points.iter().map(|point| text_or(&point.ip, text(&point.hostname))).collect();
        let addresses: Vec<_> = addresses.into_iter().filter(|address| !address.is_empty()).collect();
        cells![
            cells::name(&ingress.metadata),
            spec.ingress_class_name.as_deref().unwrap_or(NONE),
            hosts(list(&spec.rules)),
            addresses.join(","),
            if list(&spec.tls).is_empty() { "80" } else { "80, 443" },
            age(&ingress.metadata, now),
        ]
    }
}

/// The hosts of the rules. Upstream counts the rules, not the hosts, when there are more than fit.
fn hosts(rules: &[IngressRule]) -> String {
    let shown: Vec<_> = rules.iter().map(|rule| text(&rule.host)).filter(|host| !host.is_empty()).take(3).collect();
    match shown.len() {
        0 => "*".into(),
        3 if rules.len() > 3 => format!("{} + {} more...", shown.join(","), rules.len() - 3),
        _ => shown.join(","),
    }
}

fn validate_host(host: &str, path: &Path, errors: &mut Errors) {
    let rule = if host.contains('*') { name::wildcard_dns1123_subdomain } else { name::dns1123_subdomain };
    form(host, rule, path, errors);
}

fn validate_rule(rule: &IngressRule, path: &Path, errors: &mut Errors) {
    let host = text(&rule.host);
    if !host.is_empty() {
        if host.parse::<std::net::IpAddr>().is_ok() {
            errors.invalid(&path.child("host"), host, "must be a DNS name, not an IP address");
        }
        validate_host(host, &path.child("host"), errors);
    }
    let Some(http) = &rule.http else { return };
    let path = path.child("http").child("paths");
    if http.paths.is_empty() {
        errors.required(&path, "");
    }
    for (i, entry) in http.paths.iter().enumerate() {
        let path = path.index(i);
        let value = text(&entry.path);
        match entry.path_type.as_str() {
            "" => {
                errors.required(&path.child("pathType"), "pathType must be specified");
                continue;
            }
            "Exact" | "Prefix" => {
                let path = path.child("path");
                if !value.starts_with('/') {
                    errors.invalid(&path, value, "must be an absolute path");
                }
                for part in ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|part| value.contains(part)) {
                    errors.invalid(&path, value, &format!("must not contain '{part}'"));
                }
                for end in ["/..", "/."].into_iter().filter(|end| value.ends_with(end)) {
                    errors.invalid(&path, value, &format!("cannot end with '{end}'"));
                }
            }
            "ImplementationSpecific" => {
                if !value.is_empty() && !value.starts_with('/') {
                    errors.invalid(&path.child("path"), value, "must be an absolute path");
                }
            }
            other => {
                let types = ["Exact", "ImplementationSpecific", "Prefix"];
                choice(other, &types, &path.child("pathType"), errors);
            }
        }
        validate_backend(&entry.backend, &path.child("backend"), errors);
    }
}

fn validate_backend(backend: &IngressBackend, path: &Path, errors: &mut Errors) {
    match (&backend.service, &backend.resource) {
        (Some(_), Some(_)) => {
            errors.invalid(path, "", "cannot set both resource and service backends");
        }
        (None, None) => errors.invalid(path, "", "resource or service backend is required"),
        (None, Some(TypedLocalObjectReference { api_group, kind, name })) => {
            reference((api_group.as_deref(), kind, name), &path.child("resource"), errors);
        }
        (Some(service), None) => {
            let at = path;
            let path = path.child("service");
            required_form(&service.name, name::dns1123_label, &path.child("name"), errors);
            let wanted = service.port.clone().unwrap_or_default();
            match (text(&wanted.name), wanted.number.unwrap_or_default()) {
                ("", 0) => errors.required(at, "port name or number is required"),
                ("", number) => port(number, &path.child("port").child("number"), errors),
                (name, 0) => form(name, name::port_name, &path.child("port").child("name"), errors),
                _ => errors.invalid(at, "", "cannot set both port name & port number"),
            }
        }
    }
}

/// An object in the same namespace, by group, kind and name. Source: `validateIngressTypedLocalObjectReference`.
pub(super) fn reference((group, kind, object): (Option<&str>, &str, &str), path: &Path, errors: &mut Errors) {
    if let Some(group) = group {
        form(group, name::dns1123_subdomain, &path.child("apiGroup"), errors);
    }
    for (field, value) in [("kind", kind), ("name", object)] {
        match value {
            "" => errors.required(&path.child(field), ""),
            _ => form(value, name::path_segment, &path.child(field), errors),
        }
    }
}
