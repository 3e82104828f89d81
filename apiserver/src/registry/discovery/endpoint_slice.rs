//! EndpointSlice. Source: `pkg/apis/discovery/v1/defaults.go`, `pkg/apis/discovery/validation/validation.go`,
//! `pkg/registry/discovery/endpointslice/strategy.go`.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, Ipv6Addr},
};

use jiff::Timestamp;
use k8s_openapi::api::discovery::v1::{EndpointHints, EndpointSlice};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, UNSET, cells, count, first_three, list, text},
    defaults::{self, each, missing},
    kind::{Column, Kind, age, column},
    validation::{self, choice, endpoint_ip, form, immutable, required_choice},
};

/// EndpointSlice.
pub struct EndpointSliceKind;

const MAX_ENDPOINTS: usize = 1000;
const MAX_ADDRESSES: usize = 100;
const MAX_TOPOLOGY: usize = 16;
const MAX_HINTS: usize = 8;

fn validate_address(kind: &str, address: &str, path: &Path, errors: &mut Errors) {
    match kind {
        "IPv4" if address.parse::<Ipv4Addr>().is_err() => {
            errors.invalid(path, address, "must be a valid IPv4 address");
        }
        "IPv6" if address.parse::<Ipv6Addr>().is_err() => {
            errors.invalid(path, address, "must be a valid IPv6 address");
        }
        "IPv4" | "IPv6" => endpoint_ip(address, path, errors),
        _ => form(address, name::dns1123_subdomain, path, errors),
    }
}

fn validate_hints(hints: &EndpointHints, path: &Path, errors: &mut Errors) {
    let zones: Vec<_> = list(&hints.for_zones).iter().map(|zone| &zone.name).collect();
    let nodes: Vec<_> = list(&hints.for_nodes).iter().map(|node| &node.name).collect();
    let rules = [name::label_value as fn(&str) -> Vec<String>, name::dns1123_subdomain];
    for ((field, names), rule) in [("forZones", zones), ("forNodes", nodes)].into_iter().zip(rules) {
        let path = path.child(field);
        if names.len() > MAX_HINTS {
            errors.too_many(&path, names.len(), MAX_HINTS);
            continue;
        }
        let mut seen = BTreeSet::new();
        for (i, hint) in names.into_iter().enumerate() {
            let path = path.index(i).child("name");
            if !seen.insert(hint) {
                errors.duplicate(&path, hint.as_str());
            }
            form(hint, rule, &path, errors);
        }
    }
}

impl Kind for EndpointSliceKind {
    type Object = EndpointSlice;

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

    fn validate(slice: &EndpointSlice, errors: &mut Errors) {
        let kind = slice.address_type.as_str();
        match kind {
            "" => errors.required(&Path::new("addressType"), ""),
            _ => choice(kind, &["FQDN", "IPv4", "IPv6"], &Path::new("addressType"), errors),
        }
        let path = Path::new("endpoints");
        if count(&slice.endpoints) > MAX_ENDPOINTS {
            return errors.too_many(&path, count(&slice.endpoints), MAX_ENDPOINTS);
        }
        for (i, endpoint) in list(&slice.endpoints).iter().enumerate() {
            let path = path.index(i);
            let addresses = path.child("addresses");
            match endpoint.addresses.len() {
                0 => errors.required(&addresses, "must contain at least 1 address"),
                many if many > MAX_ADDRESSES => errors.too_many(&addresses, many, MAX_ADDRESSES),
                _ => {}
            }
            for (i, address) in endpoint.addresses.iter().enumerate() {
                validate_address(kind, address, &addresses.index(i), errors);
            }
            if let Some(node) = &endpoint.node_name {
                form(node, name::dns1123_subdomain, &path.child("nodeName"), errors);
            }
            let topology = path.child("deprecatedTopology");
            let given = endpoint.deprecated_topology.iter().flatten();
            if given.clone().count() > MAX_TOPOLOGY {
                errors.too_many(&topology, given.clone().count(), MAX_TOPOLOGY);
            }
            for (key, value) in given {
                form(key, name::label_key, &topology, errors);
                form(value, name::label_value, &topology, errors);
            }
            if let Some(host) = &endpoint.hostname {
                form(host, name::dns1123_label, &path.child("hostname"), errors);
            }
            if let Some(hints) = &endpoint.hints {
                validate_hints(hints, &path.child("hints"), errors);
            }
        }
        let mut names = BTreeSet::new();
        for (i, port) in list(&slice.ports).iter().enumerate() {
            let path = Path::new("ports").index(i);
            let name = text(&port.name);
            if !name.is_empty() {
                form(name, name::dns1123_label, &path.child("name"), errors);
            }
            if !names.insert(name) {
                errors.duplicate(&path.child("name"), name);
            }
            let protocols = ["SCTP", "TCP", "UDP"];
            required_choice(text(&port.protocol), &protocols, &path.child("protocol"), errors);
            if let Some(number) = port.port {
                validation::port(number, &path.child("port"), errors);
            }
            if let Some(protocol) = &port.app_protocol {
                form(protocol, name::label_key, &path.child("appProtocol"), errors);
            }
        }
    }

    fn validate_update(new: &EndpointSlice, old: &EndpointSlice, errors: &mut Errors) {
        immutable(&new.address_type, &old.address_type, &Path::new("addressType"), errors);
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
            cells::name(&slice.metadata),
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
