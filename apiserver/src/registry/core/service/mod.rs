//! Service. Source: `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go`,
//! `pkg/registry/core/service/strategy.go` and its `storage`.

pub mod allocation;
pub mod claim;
mod defaults;
pub mod ip_address;
pub mod validation;
pub mod warnings;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{LoadBalancerStatus, Service, ServicePort, ServiceSpec, ServiceStatus};
use kubelab_api::field::Errors;
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, NONE, SELECTOR, cells, list, name, text, text_or},
    claims::Claims,
    kind::{Column, Kind, NameRule, age, column},
};

/// Service.
pub struct ServiceKind;

impl Kind for ServiceKind {
    type Object = Service;

    const CREATE_ON_UPDATE: bool = true;
    const NAME: NameRule = NameRule::Label;

    const RETURNS_DELETED: bool = true;

    fn default(service: &mut Service) {
        defaults::service(service);
    }

    fn prepare_create(service: &mut Service) {
        service.status = Some(ServiceStatus { load_balancer: Some(Default::default()), conditions: None });
        if let Some(spec) = &mut service.spec {
            allocation::prepare(spec, None);
        }
    }

    fn prepare_update(new: &mut Service, old: &Service) {
        new.status.clone_from(&old.status);
        if let Some(spec) = &mut new.spec {
            allocation::prepare(spec, old.spec.as_ref());
        }
    }

    fn prepare_status_update(new: &mut Service, old: &Service) {
        new.spec.clone_from(&old.spec);
    }

    fn claim(new: Option<&mut Service>, old: Option<&Service>, claims: &mut Claims, errors: &mut Errors) {
        claim::claim(new, old, claims, errors);
    }

    fn validate(service: &Service, errors: &mut Errors) {
        validation::service(service, errors);
    }

    fn validate_update(new: &Service, old: &Service, errors: &mut Errors) {
        validation::update(new, old, errors);
    }

    fn validate_status_update(new: &Service, _old: &Service, errors: &mut Errors) {
        validation::status(new, errors);
    }

    fn warnings(service: &Service) -> Vec<String> {
        warnings::warnings(service)
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Type", "string"),
        column("Cluster-IP", "string"),
        column("External-IP", "string"),
        column("Port(s)", "string"),
        AGE,
        SELECTOR,
    ];

    fn cells(service: &Service, now: Timestamp) -> Vec<Value> {
        let none = ServiceSpec::default();
        let spec = service.spec.as_ref().unwrap_or(&none);
        cells![
            name(&service.metadata),
            text(&spec.type_),
            text_or(&spec.cluster_ip, NONE),
            external_address(spec, service.status.as_ref()),
            ports(list(&spec.ports)),
            age(&service.metadata, now),
            cells::labels(spec.selector.as_ref()),
        ]
    }

    fn fields(service: &Service) -> Vec<(&'static str, String)> {
        let none = ServiceSpec::default();
        let spec = service.spec.as_ref().unwrap_or(&none);
        vec![("spec.clusterIP", text(&spec.cluster_ip).into()), ("spec.type", text(&spec.type_).into())]
    }
}

/// The addresses of a load balancer, sorted.
pub fn load_balancer_addresses(status: Option<&LoadBalancerStatus>) -> Vec<String> {
    let ingress = status.map_or(&[][..], |status| list(&status.ingress));
    let addresses: BTreeSet<_> = ingress.iter().map(|point| text_or(&point.ip, text(&point.hostname))).collect();
    addresses.into_iter().filter(|address| !address.is_empty()).map(str::to_owned).collect()
}

fn external_address(spec: &ServiceSpec, status: Option<&ServiceStatus>) -> String {
    let external = list(&spec.external_ips);
    let mut addresses = match text(&spec.type_) {
        "LoadBalancer" => load_balancer_addresses(status.and_then(|status| status.load_balancer.as_ref())),
        "ClusterIP" | "NodePort" => Vec::new(),
        "ExternalName" => return text(&spec.external_name).to_owned(),
        _ => return "<unknown>".into(),
    };
    addresses.extend_from_slice(external);
    match (addresses.is_empty(), text(&spec.type_)) {
        (true, "LoadBalancer") => "<pending>".into(),
        (true, _) => NONE.into(),
        (false, _) => addresses.join(","),
    }
}

fn ports(ports: &[ServicePort]) -> String {
    let pieces = ports.iter().map(|port| match port.node_port {
        Some(node_port) if node_port > 0 => format!("{}:{node_port}/{}", port.port, text(&port.protocol)),
        _ => format!("{}/{}", port.port, text(&port.protocol)),
    });
    let pieces: Vec<_> = pieces.collect();
    if pieces.is_empty() { NONE.into() } else { pieces.join(",") }
}
