//! Endpoints. Source: `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{EndpointSubset, Endpoints};
use serde_json::Value;

use crate::registry::{
    cells::{AGE, NAME, NONE, cells, count, first_three, list, name},
    defaults::{each, text},
    kind::{Column, Kind, age, column},
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

    const COLUMNS: &'static [Column] = &[NAME, column("Endpoints", "string"), AGE];

    fn cells(endpoints: &Endpoints, now: Timestamp) -> Vec<Value> {
        let shown = match list(&endpoints.subsets) {
            [] => NONE.to_owned(),
            subsets => first_three(&subsets.iter().flat_map(addresses).collect::<Vec<_>>()),
        };
        cells![name(&endpoints.metadata), shown, age(&endpoints.metadata, now)]
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
    let with_port = |ip: &str, port: i32| if ip.contains(':') { format!("[{ip}]:{port}") } else { format!("{ip}:{port}") };
    match list(&subset.ports) {
        [] => ips.map(str::to_owned).collect(),
        ports => ports.iter().flat_map(|port| ips.clone().map(|ip| with_port(ip, port.port))).collect(),
    }
}
