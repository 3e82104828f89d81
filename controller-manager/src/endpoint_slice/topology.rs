//! Hints for zones by their share of the cluster's CPUs: `service.kubernetes.io/topology-mode: Auto`. Each endpoint is for its
//! own zone, but for so many that every zone has about as many as it has CPUs. Source: `k8s.io/endpointslice/topologycache`
//! and KEP-2433.

use std::collections::BTreeMap;

use k8s_openapi::api::{
    core::v1::{Node, Service},
    discovery::v1::{Endpoint, EndpointHints, ForZone},
};
use kubelab_api::{
    meta::{annotation, label},
    quantity::Quantity,
    well_known::label::ZONE,
};

/// How much more than its share an endpoint may have to do. Source: `overloadThreshold`.
const OVERLOAD: f64 = 0.2;

const MODE: &str = "service.kubernetes.io/topology-mode";
const OLD_MODE: &str = "service.kubernetes.io/topology-aware-hints";
/// Nodes with these labels run no workloads. Source: `hasExcludedLabels`.
const EXCLUDED: [&str; 2] = ["node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master"];

/// Why there are no hints, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Disabled {
    /// A node does not say enough of itself, or all are in one zone.
    #[error("Insufficient Node information: allocatable CPU or zone not specified on one or more nodes")]
    Nodes,
    /// There are fewer endpoints than zones.
    #[error("Insufficient number of endpoints ({0} endpoints, {1} zones)")]
    Endpoints(usize, usize),
    /// Some zone would have to do too much.
    #[error(
        "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold ({0} endpoints, {1} \
         zones)"
    )]
    Overload(usize, usize),
    /// An endpoint's node does not say where it is.
    #[error("One or more endpoints do not have a zone specified")]
    Zone,
}

/// Each zone's share of the CPUs.
pub type Shares = BTreeMap<String, f64>;

/// Whether a Service asks for such hints.
pub fn is_wanted(service: &Service) -> bool {
    let mode = annotation(&service.metadata, MODE).or_else(|| annotation(&service.metadata, OLD_MODE));
    matches!(mode, Some("Auto" | "auto"))
}

/// What of a node decides about shares: its zone and its CPUs; none for nodes that do not count.
pub fn counts(node: &Node) -> Option<(Option<String>, i64)> {
    let status = node.status.as_ref();
    let mut conditions = status.into_iter().flat_map(|status| status.conditions.iter().flatten());
    let is_ready = conditions.any(|condition| condition.type_ == "Ready" && condition.status == "True");
    if !is_ready || EXCLUDED.iter().any(|name| label(&node.metadata, name).is_some()) {
        return None;
    }
    let cpu = status.and_then(|status| status.allocatable.as_ref()?.get("cpu")?.0.parse::<Quantity>().ok());
    Some((label(&node.metadata, ZONE).map(str::to_owned), cpu.map_or(0, Quantity::milli_value)))
}

/// The zones' shares; none, where a node does not say enough.
pub fn shares<'a>(nodes: impl Iterator<Item = &'a Node>) -> Option<Shares> {
    let mut zones: BTreeMap<String, i64> = BTreeMap::new();
    for (zone, cpu) in nodes.filter_map(counts) {
        *zones.entry(zone.filter(|zone| !zone.is_empty() && cpu > 0)?).or_default() += cpu;
    }
    let total: i64 = zones.values().sum();
    (zones.len() > 1).then(|| zones.into_iter().map(|(zone, cpu)| (zone, cpu as f64 / total as f64)).collect())
}

/// Gives the ready ones of these endpoints their hints.
pub fn hint(endpoints: &mut [&mut Endpoint], shares: Option<&Shares>) -> Result<(), Disabled> {
    let shares = shares.ok_or(Disabled::Nodes)?;
    let is_ready = |endpoint: &Endpoint| endpoint.conditions.as_ref().and_then(|it| it.ready) == Some(true);
    endpoints.iter_mut().for_each(|endpoint| endpoint.hints = None);
    let mut ready: Vec<&mut Endpoint> =
        endpoints.iter_mut().map(|endpoint| &mut **endpoint).filter(|endpoint| is_ready(endpoint)).collect();
    // The same endpoints always come to the same hints.
    ready.sort_by(|a, b| a.addresses.cmp(&b.addresses));
    let desired = desired(shares, ready.len())?;
    let mut own: BTreeMap<&str, f64> = shares.keys().map(|zone| (zone.as_str(), 0.0)).collect();
    let zones: Vec<String> = ready
        .iter()
        .map(|endpoint| endpoint.zone.clone().filter(|zone| !zone.is_empty()))
        .collect::<Option<_>>()
        .ok_or(Disabled::Zone)?;
    for zone in &zones {
        *own.entry(zone).or_default() += 1.0;
    }
    let mut moves = moves(&own, &desired);
    for (endpoint, zone) in ready.into_iter().zip(&zones) {
        let moved = moves.iter().position(|(from, _)| from == zone).map(|at| moves.remove(at).1);
        let name = moved.unwrap_or_else(|| zone.clone());
        endpoint.hints = Some(EndpointHints { for_zones: Some(vec![ForZone { name }]), for_nodes: None });
    }
    Ok(())
}

/// How many endpoints each zone should have. Source: `getAllocations`.
fn desired(shares: &Shares, count: usize) -> Result<BTreeMap<&str, f64>, Disabled> {
    if shares.len() > count {
        return Err(Disabled::Endpoints(count, shares.len()));
    }
    let minimum = |share: &f64| (share * count as f64 / (1.0 + OVERLOAD)).ceil();
    if shares.values().map(minimum).sum::<f64>() > count as f64 {
        return Err(Disabled::Overload(count, shares.len()));
    }
    Ok(shares.iter().map(|(zone, share)| (zone.as_str(), (share * count as f64).max(minimum(share)))).collect())
}

/// From which zones endpoints go to which. Source: `getGivingAndReceivingZones`.
fn moves(own: &BTreeMap<&str, f64>, desired: &BTreeMap<&str, f64>) -> Vec<(String, String)> {
    let mut missing: BTreeMap<&str, f64> =
        own.iter().map(|(zone, count)| (*zone, desired.get(zone).copied().unwrap_or_default() - count)).collect();
    let mut moves = Vec::new();
    loop {
        let by_need = |a: &(&&str, &f64), b: &(&&str, &f64)| a.1.total_cmp(b.1);
        let Some((to, needs)) = missing.iter().max_by(by_need).map(|(zone, needs)| (*zone, *needs)) else {
            return moves;
        };
        let Some((from, has)) = missing.iter().min_by(by_need).map(|(zone, needs)| (*zone, -needs)) else {
            return moves;
        };
        if (needs < 1.0 && has < 1.0) || needs < 0.5 || has < 0.5 {
            return moves;
        }
        *missing.entry(to).or_default() -= 1.0;
        *missing.entry(from).or_default() += 1.0;
        moves.push((from.to_owned(), to.to_owned()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn node(zone: Value, cpu: &str, ready: &str, role: &str) -> Node {
        let mut labels = serde_json::Map::new();
        if let Some(zone) = zone.as_str() {
            labels.insert(ZONE.to_owned(), json!(zone));
        }
        if !role.is_empty() {
            labels.insert(role.to_owned(), json!(""));
        }
        let status = json!({"allocatable": {"cpu": cpu}, "conditions": [{"type": "Ready", "status": ready}]});
        serde_json::from_value(json!({"metadata": {"labels": labels}, "status": status})).unwrap()
    }

    #[test]
    fn zones_have_their_share_of_cpus() {
        let two = [node(json!("a"), "1", "True", ""), node(json!("b"), "3", "True", "")];
        assert_eq!(shares(two.iter()), Some([("a".to_owned(), 0.25), ("b".to_owned(), 0.75)].into()));
        for (more, expected) in [
            (node(json!(null), "1", "True", ""), false),
            (node(json!(null), "1", "False", ""), true),
            (node(json!(null), "1", "True", EXCLUDED[0]), true),
            (node(json!("c"), "0", "True", ""), false),
        ] {
            let all = [two.to_vec(), vec![more]].concat();
            assert_eq!(shares(all.iter()).is_some(), expected, "{:?}", all[2]);
        }
        assert_eq!(shares(two[..1].iter()), None, "one zone is none");
    }

    #[test]
    fn endpoints_are_for_their_own_zone_but_for_so_many() {
        let shares = |parts: &[(&str, f64)]| -> Shares {
            parts.iter().map(|(zone, share)| ((*zone).to_owned(), *share)).collect()
        };
        let (half, thirds) = (shares(&[("a", 0.5), ("b", 0.5)]), shares(&[("a", 0.33), ("b", 0.33), ("c", 0.34)]));
        for (zones, shares, expected) in [
            ("aabb", &half, Ok("aabb")),
            ("aaab", &half, Ok("baab")),
            ("aaaa", &half, Ok("bbaa")),
            ("aab", &half, Err(Disabled::Overload(3, 2))),
            ("aN", &half, Err(Disabled::Endpoints(1, 2))),
            ("aab-", &half, Err(Disabled::Zone)),
            ("abcabc", &thirds, Ok("abcabc")),
            ("abca", &thirds, Err(Disabled::Overload(4, 3))),
            ("aaaabc", &thirds, Ok("cbaabc")),
        ] {
            let one = |(i, zone): (usize, char)| -> Endpoint {
                let zone = (zone != '-').then(|| zone.to_string());
                let ready = zone.as_deref() != Some("N");
                let value =
                    json!({"addresses": [format!("10.244.1.{i}")], "zone": zone, "conditions": {"ready": ready}});
                serde_json::from_value(value).unwrap()
            };
            let mut endpoints: Vec<Endpoint> = zones.chars().enumerate().map(one).collect();
            let hinted = hint(&mut endpoints.iter_mut().collect::<Vec<_>>(), Some(shares));
            let shown: String = endpoints
                .iter()
                .map(|endpoint| {
                    endpoint
                        .hints
                        .as_ref()
                        .map_or("-".to_owned(), |hints| hints.for_zones.as_ref().unwrap()[0].name.clone())
                })
                .collect();
            assert_eq!(hinted.map(|()| shown.as_str()), expected, "{zones} {shares:?}");
        }
        assert_eq!(hint(&mut [], None), Err(Disabled::Nodes));
    }
}
