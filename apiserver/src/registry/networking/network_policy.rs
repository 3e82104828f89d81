//! NetworkPolicy. Source: `pkg/apis/networking/v1/defaults.go`, `pkg/apis/networking/validation/validation.go`.

use jiff::Timestamp;
use k8s_openapi::{
    api::networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kubelab_api::{
    field::{Errors, Path},
    selector::label,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, list, text},
    defaults::{self, each},
    kind::{Column, Kind, age, column},
    validation::{choice, cidr, json, port_or_name},
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
            choice(kind, &["Egress", "Ingress"], &path.child("policyTypes").index(i), errors);
        }
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
        choice(text(&entry.protocol), &["SCTP", "TCP", "UDP"], &path.child("protocol"), errors);
        match (&entry.port, entry.end_port) {
            (None, None) => {}
            (None, Some(_)) => errors.required(&path.child("port"), "must be specified when endPort is specified"),
            (Some(port), None) => port_or_name(port, &path.child("port"), errors),
            (Some(IntOrString::String(_)), Some(_)) => {
                let detail = "may not be specified when endPort is specified";
                errors.invalid(&path.child("port"), json(&entry.port), detail);
            }
            (Some(IntOrString::Int(port)), Some(end)) => {
                port_or_name(&IntOrString::Int(*port), &path.child("port"), errors);
                if end < *port {
                    errors.invalid(&path.child("endPort"), *port, "must be greater than or equal to `port`");
                }
            }
        }
    }
}

fn peers(peers: &[NetworkPolicyPeer], path: &Path, errors: &mut Errors) {
    for (i, peer) in peers.iter().enumerate() {
        let path = path.index(i);
        let given = [peer.pod_selector.is_some(), peer.namespace_selector.is_some(), peer.ip_block.is_some()];
        if !given.contains(&true) {
            errors.required(&path, "must specify a peer");
        } else if given[2] && (given[0] || given[1]) {
            errors.forbidden(&path, "may not specify both ipBlock and another peer");
        }
        if let Some(selector) = &peer.pod_selector {
            label::validate(selector, &path.child("podSelector"), errors);
        }
        if let Some(selector) = &peer.namespace_selector {
            label::validate(selector, &path.child("namespaceSelector"), errors);
        }
        if let Some(block) = &peer.ip_block {
            match block.cidr.as_str() {
                "" => errors.required(&path.child("ipBlock").child("cidr"), ""),
                block => cidr(block, &path.child("ipBlock").child("cidr"), errors),
            }
            for (i, except) in list(&block.except).iter().enumerate() {
                cidr(except, &path.child("ipBlock").child("except").index(i), errors);
            }
        }
    }
}
