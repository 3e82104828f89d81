//! NetworkPolicy. Source: `pkg/apis/networking/v1/defaults.go`, `pkg/apis/networking/validation/validation.go`.

use ipnet::IpNet;
use jiff::Timestamp;
use k8s_openapi::{
    api::networking::v1::{IPBlock, NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kubelab_api::{
    field::{Errors, Path},
    selector::label,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, list, text},
    core::service::warnings,
    defaults::{self, each},
    kind::{Column, Kind, age, column},
    validation::{choice, cidr, json, port, port_or_name},
};

/// NetworkPolicy.
pub struct NetworkPolicyKind;

impl Kind for NetworkPolicyKind {
    type Object = NetworkPolicy;

    fn default(policy: &mut NetworkPolicy) {
        let spec = policy.spec.get_or_insert_default();
        let ingress = each(&mut spec.ingress).flat_map(|rule| each(&mut rule.ports));
        let egress = each(&mut spec.egress).flat_map(|rule| each(&mut rule.ports));
        ingress.chain(egress).for_each(|port| defaults::text(&mut port.protocol, "TCP"));
        // Upstream always writes the selector: an empty one means every pod.
        spec.pod_selector.get_or_insert_default();
        if list(&spec.policy_types).is_empty() {
            let mut types = vec!["Ingress".to_owned()];
            if !list(&spec.egress).is_empty() {
                types.push("Egress".into());
            }
            spec.policy_types = Some(types);
        }
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &NetworkPolicy, old: &NetworkPolicy) -> bool {
        new.spec != old.spec
    }

    fn validate(policy: &NetworkPolicy, errors: &mut Errors) {
        let Some(spec) = &policy.spec else { return };
        let path = Path::new("spec");
        if let Some(selector) = &spec.pod_selector {
            label::validate(selector, &path.child("podSelector"), errors);
        }
        for (i, rule) in list(&spec.ingress).iter().enumerate() {
            let path = path.child("ingress").index(i);
            ports(list(&rule.ports), &path.child("ports"), errors);
            peers(list(&rule.from), &path.child("from"), errors);
        }
        for (i, rule) in list(&spec.egress).iter().enumerate() {
            let path = path.child("egress").index(i);
            ports(list(&rule.ports), &path.child("ports"), errors);
            peers(list(&rule.to), &path.child("to"), errors);
        }
        let types = list(&spec.policy_types);
        if types.len() > 2 {
            let detail = "may not specify more than two policyTypes";
            return errors.invalid(&path.child("policyTypes"), json(&types), detail);
        }
        for (i, kind) in types.iter().enumerate() {
            choice(kind, &["Ingress", "Egress"], &path.child("policyTypes").index(i), errors);
        }
    }

    fn warnings(policy: &NetworkPolicy) -> Vec<String> {
        let mut warnings = Vec::new();
        let Some(spec) = &policy.spec else { return warnings };
        let path = Path::new("spec");
        let ingress = list(&spec.ingress).iter().map(|rule| list(&rule.from)).enumerate();
        let ingress = ingress.map(|(i, peers)| (path.child("ingress").index(i).child("from"), peers));
        let egress = list(&spec.egress).iter().map(|rule| list(&rule.to)).enumerate();
        let egress = egress.map(|(i, peers)| (path.child("egress").index(i).child("to"), peers));
        for (path, peers) in ingress.chain(egress) {
            for (i, peer) in peers.iter().enumerate() {
                let Some(block) = &peer.ip_block else { continue };
                let path = path.index(i).child("ipBlock");
                warnings::block(&path.child("cidr"), &block.cidr, &mut warnings);
                for (i, except) in list(&block.except).iter().enumerate() {
                    warnings::block(&path.child("except").index(i), except, &mut warnings);
                }
            }
        }
        warnings
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Pod-Selector", "string"), AGE];

    fn cells(policy: &NetworkPolicy, now: Timestamp) -> Vec<Value> {
        let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
        cells![cells::name(&policy.metadata), cells::selector(selector), age(&policy.metadata, now)]
    }
}

fn ports(ports: &[NetworkPolicyPort], path: &Path, errors: &mut Errors) {
    for (i, entry) in ports.iter().enumerate() {
        let path = path.index(i);
        choice(text(&entry.protocol), &["TCP", "UDP", "SCTP"], &path.child("protocol"), errors);
        match (&entry.port, entry.end_port) {
            (None, None) => {}
            (None, Some(end)) => {
                errors.invalid(&path.child("endPort"), end, "may not be specified when `port` is not specified");
            }
            (Some(port), None) => port_or_name(port, &path.child("port"), errors),
            (Some(IntOrString::String(name)), Some(end)) => {
                errors.invalid(&path.child("endPort"), end, "may not be specified when `port` is non-numeric");
                port_or_name(&IntOrString::String(name.clone()), &path.child("port"), errors);
            }
            (Some(IntOrString::Int(first)), Some(end)) => {
                port(*first, &path.child("port"), errors);
                if end < *first {
                    errors.invalid(&path.child("endPort"), end, "must be greater than or equal to `port`");
                }
                port(end, &path.child("endPort"), errors);
            }
        }
    }
}

fn peers(peers: &[NetworkPolicyPeer], path: &Path, errors: &mut Errors) {
    for (i, peer) in peers.iter().enumerate() {
        let path = path.index(i);
        if let Some(selector) = &peer.pod_selector {
            label::validate(selector, &path.child("podSelector"), errors);
        }
        if let Some(selector) = &peer.namespace_selector {
            label::validate(selector, &path.child("namespaceSelector"), errors);
        }
        if let Some(block) = &peer.ip_block {
            ip_block(block, &path.child("ipBlock"), errors);
        }
        let given = [peer.pod_selector.is_some(), peer.namespace_selector.is_some(), peer.ip_block.is_some()];
        if !given.contains(&true) {
            errors.required(&path, "must specify a peer");
        } else if given[2] && (given[0] || given[1]) {
            errors.forbidden(&path, "may not specify both ipBlock and another peer");
        }
    }
}

fn ip_block(block: &IPBlock, path: &Path, errors: &mut Errors) {
    if block.cidr.is_empty() {
        return errors.required(&path.child("cidr"), "");
    }
    cidr(&block.cidr, &path.child("cidr"), errors);
    let Ok(whole) = block.cidr.parse::<IpNet>() else { return };
    for (i, except) in list(&block.except).iter().enumerate() {
        let path = path.child("except").index(i);
        cidr(except, &path, errors);
        let Ok(part) = except.parse::<IpNet>() else { return };
        if !whole.contains(&part.addr()) || part.prefix_len() <= whole.prefix_len() {
            errors.invalid(&path, except.as_str(), "must be a strict subset of `cidr`");
        }
    }
}
