//! Whether NetworkPolicies allow a connection. Source of the rules: the API's documentation of `NetworkPolicySpec`, and
//! <https://kubernetes.io/docs/concepts/services-networking/network-policies/>.

use std::{net::IpAddr, sync::Arc};

use ipnet::IpNet;
use k8s_openapi::{
    api::{
        core::v1::{Namespace, Pod},
        networking::v1::{NetworkPolicy, NetworkPolicyPeer, NetworkPolicyPort},
    },
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
};
use kubelab_api::selector::label::Selector;

/// One end of a connection.
#[derive(Clone, Copy, Debug)]
pub struct End<'a> {
    /// Its address.
    pub ip: IpAddr,
    /// The pod that has it.
    pub pod: Option<&'a Pod>,
    /// The pod's namespace.
    pub namespace: Option<&'a Namespace>,
}

impl End<'_> {
    fn namespace_name(&self) -> Option<&str> {
        self.pod?.metadata.namespace.as_deref()
    }
}

/// A connection must be allowed by the egress policies of the pod that makes it and by the ingress policies of the pod
/// that takes it. A pod always reaches itself.
pub fn allows(policies: &[Arc<NetworkPolicy>], from: &End<'_>, to: &End<'_>, port: u16, protocol: &str) -> bool {
    if from.ip == to.ip {
        return true;
    }
    let passes = |ports: Option<&Vec<NetworkPolicyPort>>,
                  peers: Option<&Vec<NetworkPolicyPeer>>,
                  place: &str,
                  other: &End<'_>| {
        let port_fits = ports.is_none_or(|ports| ports.is_empty() || ports.iter().any(|p| fits(p, to, port, protocol)));
        port_fits && peers.is_none_or(|peers| peers.is_empty() || peers.iter().any(|peer| is_peer(peer, place, other)))
    };
    let leaves = one_of(policies, from, "Egress", |policy, place| {
        let rules = policy.spec.as_ref().and_then(|spec| spec.egress.as_ref());
        rules.into_iter().flatten().any(|rule| passes(rule.ports.as_ref(), rule.to.as_ref(), place, to))
    });
    let enters = || {
        one_of(policies, to, "Ingress", |policy, place| {
            let rules = policy.spec.as_ref().and_then(|spec| spec.ingress.as_ref());
            rules.into_iter().flatten().any(|rule| passes(rule.ports.as_ref(), rule.from.as_ref(), place, from))
        })
    };
    leaves && enters()
}

/// Whether one of the policies that isolate this pod in this direction allows it; or none isolates it.
fn one_of(
    policies: &[Arc<NetworkPolicy>],
    end: &End<'_>,
    direction: &str,
    allow: impl Fn(&NetworkPolicy, &str) -> bool,
) -> bool {
    let Some(pod) = end.pod else { return true };
    let Some(place) = end.namespace_name() else { return true };
    let mut isolating = policies
        .iter()
        .filter(|policy| policy.metadata.namespace.as_deref() == Some(place))
        .filter(|policy| concerns(policy, direction))
        .filter(|policy| {
            let selector = policy.spec.as_ref().and_then(|spec| spec.pod_selector.as_ref());
            selector.is_none_or(|selector| selects(selector, pod.metadata.labels.as_ref()))
        })
        .peekable();
    isolating.peek().is_none() || isolating.any(|policy| allow(policy, place))
}

/// Without types, a policy is about ingress, and about egress if it has such rules.
fn concerns(policy: &NetworkPolicy, direction: &str) -> bool {
    let Some(spec) = &policy.spec else { return direction == "Ingress" };
    match &spec.policy_types {
        Some(types) if !types.is_empty() => types.iter().any(|kind| kind == direction),
        _ => direction == "Ingress" || spec.egress.as_ref().is_some_and(|rules| !rules.is_empty()),
    }
}

fn selects(selector: &LabelSelector, labels: Option<&std::collections::BTreeMap<String, String>>) -> bool {
    Selector::from_typed(Some(selector)).is_ok_and(|selector| selector.matches(labels))
}

fn is_peer(peer: &NetworkPolicyPeer, place: &str, end: &End<'_>) -> bool {
    if let Some(block) = &peer.ip_block {
        let within = |cidr: &str| cidr.parse::<IpNet>().is_ok_and(|network| network.contains(&end.ip));
        return within(&block.cidr) && !block.except.iter().flatten().any(|cidr| within(cidr));
    }
    let Some(pod) = end.pod else { return false };
    let namespace_fits = match &peer.namespace_selector {
        Some(selector) => end.namespace.is_some_and(|found| selects(selector, found.metadata.labels.as_ref())),
        None => end.namespace_name() == Some(place),
    };
    let pod_fits = peer.pod_selector.as_ref().is_none_or(|selector| selects(selector, pod.metadata.labels.as_ref()));
    namespace_fits && pod_fits
}

fn fits(rule: &NetworkPolicyPort, to: &End<'_>, port: u16, protocol: &str) -> bool {
    if rule.protocol.as_deref().unwrap_or("TCP") != protocol {
        return false;
    }
    match &rule.port {
        None => true,
        Some(IntOrString::Int(first)) => {
            let last = rule.end_port.unwrap_or(*first);
            (*first..=last).contains(&i32::from(port))
        }
        Some(IntOrString::String(name)) => {
            let containers = to.pod.and_then(|pod| pod.spec.as_ref()).into_iter().flat_map(|spec| &spec.containers);
            containers.flat_map(|container| container.ports.iter().flatten()).any(|named| {
                named.name.as_ref() == Some(name)
                    && named.container_port == i32::from(port)
                    && named.protocol.as_deref().unwrap_or("TCP") == protocol
            })
        }
    }
}

#[cfg(test)]
mod tests;
