//! EndpointSlice. Source: `pkg/apis/discovery/v1/defaults.go`, `pkg/apis/discovery/validation/validation.go`,
//! `pkg/registry/discovery/endpointslice/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::Value;

use crate::registry::{
    cells::{AGE, NAME, UNSET, cells, count, first_three, list, name, text},
    defaults::{self, each, missing},
    kind::{Column, Kind, age, column},
};

/// EndpointSlice.
pub struct EndpointSliceKind;

impl Kind for EndpointSliceKind {
    type Object = EndpointSlice;

    const CREATE_ON_UPDATE: bool = true;

    fn default(slice: &mut EndpointSlice) {
        for port in each(&mut slice.ports) {
            missing(&mut port.name, String::new());
            defaults::text(&mut port.protocol, "TCP");
        }
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &EndpointSlice, old: &EndpointSlice) -> bool {
        new.endpoints != old.endpoints
            || new.ports != old.ports
            || new.address_type != old.address_type
            || new.metadata.labels != old.metadata.labels
            || new.metadata.annotations != old.metadata.annotations
    }

    const COLUMNS: &'static [Column] =
        &[NAME, column("AddressType", "string"), column("Ports", "string"), column("Endpoints", "string"), AGE];

    fn cells(slice: &EndpointSlice, now: Timestamp) -> Vec<Value> {
        let ports = list(&slice.ports).iter().map(|port| match (port.port, text(&port.name)) {
            (Some(number), _) => number.to_string(),
            (None, "") => "*".to_owned(),
            (None, name) => name.to_owned(),
        });
        let addresses = list(&slice.endpoints).iter().flat_map(|endpoint| endpoint.addresses.iter().cloned());
        let shown = |elements: Vec<String>| match first_three(&elements) {
            text if text.is_empty() => UNSET.to_owned(),
            text => text,
        };
        cells![
            name(&slice.metadata),
            slice.address_type.as_str(),
            shown(ports.collect()),
            shown(addresses.collect()),
            age(&slice.metadata, now),
        ]
    }

    fn note(new: &EndpointSlice, old: Option<&EndpointSlice>) -> String {
        let ready = |slice: &EndpointSlice| {
            let ready = list(&slice.endpoints).iter().filter(|endpoint| {
                endpoint.conditions.as_ref().is_none_or(|conditions| conditions.ready != Some(false))
            });
            ready.count()
        };
        let shown = |slice: &EndpointSlice| format!("{}/{}", ready(slice), count(&slice.endpoints));
        match (old.map(shown), shown(new)) {
            (None, after) => format!("{after} endpoints ready"),
            (Some(before), after) if before != after => format!("{before} → {after} endpoints ready"),
            _ => String::new(),
        }
    }
}
