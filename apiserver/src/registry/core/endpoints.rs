//! Endpoints. Source: `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointSubset, Endpoints};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells, count, first_three, list},
    defaults::{each, text},
    kind::{Column, Kind, age, column},
    validation::{endpoint_ip, form, port, required_choice},
};

/// Endpoints.
pub struct EndpointsKind;

impl Kind for EndpointsKind {
    type Object = Endpoints;

    const CREATE_ON_UPDATE: bool = true;

    fn default(endpoints: &mut Endpoints) {
        for port in each(&mut endpoints.subsets).flat_map(|subset| each(&mut subset.ports)) {
            text(&mut port.protocol, "TCP");
        }
    }

    fn validate(endpoints: &Endpoints, errors: &mut Errors) {
        for (i, subset) in list(&endpoints.subsets).iter().enumerate() {
            let path = Path::new("subsets").index(i);
            if list(&subset.addresses).is_empty() && list(&subset.not_ready_addresses).is_empty() {
                errors.required(&path, "must specify `addresses` or `notReadyAddresses`");
            }
            for (field, addresses) in
                [("addresses", &subset.addresses), ("notReadyAddresses", &subset.not_ready_addresses)]
            {
                for (i, address) in list(addresses).iter().enumerate() {
                    let path = path.child(field).index(i);
                    endpoint_ip(&address.ip, &path.child("ip"), errors);
                    if !cells::text(&address.hostname).is_empty() {
                        form(cells::text(&address.hostname), name::dns1123_label, &path.child("hostname"), errors);
                    }
                    if let Some(node) = &address.node_name {
                        form(node, name::dns1123_subdomain, &path.child("nodeName"), errors);
                    }
                }
            }
            let ports = list(&subset.ports);
            for (i, entry) in ports.iter().enumerate() {
                let path = path.child("ports").index(i);
                match cells::text(&entry.name) {
                    "" if ports.len() > 1 => errors.required(&path.child("name"), ""),
                    "" => {}
                    name => form(name, name::dns1123_label, &path.child("name"), errors),
                }
                port(entry.port, &path.child("port"), errors);
                let protocols = ["SCTP", "TCP", "UDP"];
                required_choice(cells::text(&entry.protocol), &protocols, &path.child("protocol"), errors);
                if let Some(protocol) = &entry.app_protocol {
                    form(protocol, name::label_key, &path.child("appProtocol"), errors);
                }
            }
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Endpoints", "string"), AGE];

    fn cells(endpoints: &Endpoints, now: Timestamp) -> Vec<Value> {
        let shown = match list(&endpoints.subsets) {
            [] => NONE.to_owned(),
            subsets => first_three(&subsets.iter().flat_map(addresses).collect::<Vec<_>>()),
        };
        cells![cells::name(&endpoints.metadata), shown, age(&endpoints.metadata, now)]
    }

    fn note(new: &Endpoints, old: Option<&Endpoints>) -> String {
        let ready = |endpoints: &Endpoints| -> usize {
            list(&endpoints.subsets).iter().map(|subset| count(&subset.addresses)).sum()
        };
        match (old.map(ready), ready(new)) {
            (None, after) => format!("{after} addresses"),
            (Some(before), after) if before != after => format!("{before} → {after} addresses"),
            _ => String::new(),
        }
    }
}

/// The subset's ready addresses with each of its ports; a headless service's have none.
fn addresses(subset: &EndpointSubset) -> Vec<String> {
    let ips = list(&subset.addresses).iter().map(|address| address.ip.as_str());
    let with_port =
        |ip: &str, port: i32| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    match list(&subset.ports) {
        [] => ips.map(str::to_owned).collect(),
        ports => ports.iter().flat_map(|port| ips.clone().map(|ip| with_port(ip, port.port))).collect(),
    }
}
