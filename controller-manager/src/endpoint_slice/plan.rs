//! How the slices of a service change so that they hold the wanted endpoints, with few writes.
//! Source: `reconcileByPortMapping` in `k8s.io/endpointslice` and KEP-752.

use std::{collections::BTreeMap, sync::Arc};

use k8s_openapi::{
    api::discovery::v1::{Endpoint, EndpointPort, EndpointSlice},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};

/// How many endpoints one slice holds at most. Source: `MaxEndpointsPerSlice`'s default.
pub const CAPACITY: usize = 100;

/// The wanted endpoints of a service, by the ports that they are reached at.
pub type Wanted = BTreeMap<Vec<PortKey>, Vec<Endpoint>>;

/// A port in an order of its own.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortKey {
    /// The name; empty for none.
    pub name: String,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    /// The number.
    pub port: i32,
    /// `http`, `kubernetes.io/h2c`, ….
    pub app_protocol: Option<String>,
}

impl PortKey {
    fn of(port: &EndpointPort) -> Self {
        Self {
            name: port.name.clone().unwrap_or_default(),
            protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
            port: port.port.unwrap_or(0),
            app_protocol: port.app_protocol.clone(),
        }
    }

    fn to_port(&self) -> EndpointPort {
        EndpointPort {
            name: Some(self.name.clone()),
            protocol: Some(self.protocol.clone()),
            port: Some(self.port),
            app_protocol: self.app_protocol.clone(),
        }
    }
}

/// What is to be written.
#[derive(Debug, Default, PartialEq)]
pub struct Plan {
    /// New slices.
    pub create: Vec<EndpointSlice>,
    /// Slices with other endpoints, ports or labels.
    pub update: Vec<EndpointSlice>,
    /// Slices that hold nothing any more.
    pub delete: Vec<Arc<EndpointSlice>>,
}

/// The way from `existing` slices to slices with `wanted` endpoints. `template` is what every slice's metadata says.
pub fn plan(template: &ObjectMeta, mut wanted: Wanted, existing: &[Arc<EndpointSlice>]) -> Plan {
    wanted.retain(|_, endpoints| !endpoints.is_empty());
    if wanted.is_empty() {
        // A service without endpoints keeps one empty slice: its consumers see that it was looked after.
        wanted.insert(Vec::new(), Vec::new());
    }
    let mut plan = Plan::default();
    let mut of_ports: BTreeMap<Vec<PortKey>, Vec<&Arc<EndpointSlice>>> = BTreeMap::new();
    for slice in existing {
        let key = ports_of(slice);
        if wanted.contains_key(&key) {
            of_ports.entry(key).or_default().push(slice);
        } else {
            plan.delete.push(Arc::clone(slice));
        }
    }
    for (ports, endpoints) in wanted {
        let slices = of_ports.remove(&ports).unwrap_or_default();
        plan_ports(&mut plan, template, &ports, endpoints, &slices);
    }
    recycle(&mut plan);
    plan
}

fn plan_ports(
    plan: &mut Plan,
    template: &ObjectMeta,
    ports: &[PortKey],
    endpoints: Vec<Endpoint>,
    existing: &[&Arc<EndpointSlice>],
) {
    let keeps_empty = endpoints.is_empty();
    let mut wanted: BTreeMap<_, _> = endpoints.into_iter().map(|endpoint| (identity(&endpoint), endpoint)).collect();
    let (mut changed, mut unchanged) = (Vec::new(), Vec::new());
    for slice in existing {
        let before = slice.endpoints.as_deref().unwrap_or_default();
        let kept: Vec<Endpoint> = before.iter().filter_map(|endpoint| wanted.remove(&identity(endpoint))).collect();
        let serves = !kept.is_empty() || (keeps_empty && changed.is_empty() && unchanged.is_empty());
        if !serves {
            plan.delete.push(Arc::clone(slice));
        } else if kept == before && has_metadata(slice, template) {
            unchanged.push(*slice);
        } else {
            changed.push(with_endpoints(slice, template, kept));
        }
    }
    let mut rest: Vec<Endpoint> = wanted.into_values().collect();
    // Slices that are written anyway take what they can, the fullest first.
    changed.sort_by_key(|slice| std::cmp::Reverse(len(slice)));
    for slice in &mut changed {
        let room = CAPACITY.saturating_sub(len(slice)).min(rest.len());
        slice.endpoints.get_or_insert_default().extend(rest.drain(..room));
    }
    while rest.len() > CAPACITY {
        plan.create.push(new_slice(template, ports, rest.drain(..CAPACITY).collect()));
    }
    let fits = |slice: &&&Arc<EndpointSlice>| len(slice) + rest.len() <= CAPACITY;
    if !rest.is_empty() {
        match unchanged.iter().filter(fits).max_by_key(|slice| len(slice)) {
            Some(slice) => {
                let mut all = slice.endpoints.clone().unwrap_or_default();
                all.append(&mut rest);
                changed.push(with_endpoints(slice, template, all));
            }
            None => plan.create.push(new_slice(template, ports, rest)),
        }
    } else if keeps_empty && changed.is_empty() && unchanged.is_empty() {
        plan.create.push(new_slice(template, ports, Vec::new()));
    }
    plan.update.append(&mut changed);
}

/// A slice that would be deleted becomes one that would be created: one write less, and no gap between them.
fn recycle(plan: &mut Plan) {
    while !plan.create.is_empty()
        && let Some(old) = plan.delete.pop()
    {
        let new = plan.create.remove(0);
        let template = new.metadata.clone();
        plan.update.push(EndpointSlice { metadata: merged(&old.metadata, &template), ..new });
    }
}

fn identity(endpoint: &Endpoint) -> (Vec<String>, Option<String>) {
    let uid = endpoint.target_ref.as_ref().and_then(|target| target.uid.clone());
    (endpoint.addresses.clone(), uid)
}

fn ports_of(slice: &EndpointSlice) -> Vec<PortKey> {
    let mut ports: Vec<PortKey> = slice.ports.iter().flatten().map(PortKey::of).collect();
    ports.sort();
    ports
}

fn len(slice: &EndpointSlice) -> usize {
    slice.endpoints.as_ref().map_or(0, Vec::len)
}

fn has_metadata(slice: &EndpointSlice, template: &ObjectMeta) -> bool {
    slice.metadata.labels == template.labels && slice.metadata.owner_references == template.owner_references
}

fn merged(metadata: &ObjectMeta, template: &ObjectMeta) -> ObjectMeta {
    let (labels, owner_references) = (template.labels.clone(), template.owner_references.clone());
    ObjectMeta { labels, owner_references, ..metadata.clone() }
}

fn with_endpoints(slice: &EndpointSlice, template: &ObjectMeta, endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        metadata: merged(&slice.metadata, template),
        address_type: slice.address_type.clone(),
        ports: slice.ports.clone(),
        endpoints: Some(endpoints),
    }
}

fn new_slice(template: &ObjectMeta, ports: &[PortKey], endpoints: Vec<Endpoint>) -> EndpointSlice {
    EndpointSlice {
        metadata: template.clone(),
        address_type: "IPv4".to_owned(),
        ports: Some(ports.iter().map(PortKey::to_port).collect()),
        endpoints: Some(endpoints),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::discovery::v1::EndpointConditions;

    use super::*;

    fn template() -> ObjectMeta {
        ObjectMeta {
            generate_name: Some("web-".into()),
            labels: Some([("a".into(), "b".into())].into()),
            ..Default::default()
        }
    }

    fn endpoint(number: usize) -> Endpoint {
        let addresses = vec![format!("10.0.{}.{}", number / 256, number % 256)];
        Endpoint { addresses, ..Default::default() }
    }

    fn port(number: i32) -> Vec<PortKey> {
        vec![PortKey { name: String::new(), protocol: "TCP".into(), port: number, app_protocol: None }]
    }

    fn wanted(numbers: impl IntoIterator<Item = usize>) -> Wanted {
        [(port(80), numbers.into_iter().map(endpoint).collect())].into()
    }

    fn stored(name: &str, slice: EndpointSlice) -> Arc<EndpointSlice> {
        let metadata = ObjectMeta { name: Some(name.into()), resource_version: Some("1".into()), ..slice.metadata };
        Arc::new(EndpointSlice { metadata, ..slice })
    }

    fn slice(name: &str, numbers: impl IntoIterator<Item = usize>) -> Arc<EndpointSlice> {
        stored(name, new_slice(&template(), &port(80), numbers.into_iter().map(endpoint).collect()))
    }

    /// Sizes of created slices, name and size of updated ones, names of deleted ones.
    fn shown(plan: &Plan) -> (Vec<usize>, Vec<(String, usize)>, Vec<String>) {
        let name = |meta: &ObjectMeta| meta.name.clone().unwrap();
        (
            plan.create.iter().map(len).collect(),
            plan.update.iter().map(|slice| (name(&slice.metadata), len(slice))).collect(),
            plan.delete.iter().map(|slice| name(&slice.metadata)).collect(),
        )
    }

    #[test]
    fn few_writes_bring_the_slices_to_what_is_wanted() {
        let update = |name: &str, size| vec![(name.to_owned(), size)];
        for (why, wanted, existing, expected) in [
            ("a new service", wanted([]), vec![], (vec![0], vec![], vec![])),
            ("its first pods", wanted(0..3), vec![slice("a", [])], (vec![], update("a", 3), vec![])),
            ("nothing changed", wanted(0..3), vec![slice("a", 0..3)], (vec![], vec![], vec![])),
            ("one more", wanted(0..4), vec![slice("a", 0..3)], (vec![], update("a", 4), vec![])),
            ("one fewer", wanted(1..3), vec![slice("a", 0..3)], (vec![], update("a", 2), vec![])),
            ("none left", wanted([]), vec![slice("a", 0..3)], (vec![], update("a", 0), vec![])),
            ("many at once", wanted(0..250), vec![], (vec![100, 100, 50], vec![], vec![])),
            ("a full slice is left alone", wanted(0..101), vec![slice("a", 0..100)], (vec![1], vec![], vec![])),
            (
                "the fullest that has room takes one more",
                wanted(0..161),
                vec![slice("a", 0..90), slice("b", 90..100), slice("c", 100..160)],
                (vec![], update("a", 91), vec![]),
            ),
            (
                "a slice that loses takes what comes",
                wanted((1..100).chain([500, 501])),
                vec![slice("a", 0..100)],
                (vec![1], update("a", 100), vec![]),
            ),
            (
                "a slice that loses all goes",
                wanted(0..10),
                vec![slice("a", 0..10), slice("b", 10..20)],
                (vec![], vec![], vec!["b".to_owned()]),
            ),
        ] {
            assert_eq!(shown(&plan(&template(), wanted, &existing)), expected, "{why}");
        }
    }

    #[test]
    fn other_ports_make_other_slices_out_of_the_old() {
        let mut both = wanted(0..2);
        both.insert(port(81), vec![endpoint(5)]);
        assert_eq!(shown(&plan(&template(), both, &[slice("a", 0..2)])), (vec![1], vec![], vec![]));
        let moved: Wanted = [(port(81), vec![endpoint(0), endpoint(1)])].into();
        let plan = plan(&template(), moved, &[slice("a", 0..2)]);
        assert_eq!(shown(&plan), (vec![], vec![("a".to_owned(), 2)], vec![]));
        assert_eq!(ports_of(&plan.update[0]), port(81));
        assert_eq!(plan.update[0].metadata.resource_version.as_deref(), Some("1"));
    }

    #[test]
    fn conditions_and_labels_are_brought_up_to_date() {
        let ready = Endpoint {
            conditions: Some(EndpointConditions { ready: Some(true), ..Default::default() }),
            ..endpoint(0)
        };
        let wanted_ready: Wanted = [(port(80), vec![ready])].into();
        assert_eq!(shown(&plan(&template(), wanted_ready, &[slice("a", 0..1)])).1, [("a".to_owned(), 1)]);
        let relabelled = ObjectMeta { labels: None, ..template() };
        let plan = plan(&relabelled, wanted(0..1), &[slice("a", 0..1)]);
        assert_eq!(plan.update[0].metadata.labels, None);
    }

    #[test]
    fn any_change_is_planned_right() {
        // Endpoint sets that grow, shrink and shift; whatever happened before, the slices hold each wanted one once.
        let mut existing: Vec<Arc<EndpointSlice>> = Vec::new();
        for round in 0..40_usize {
            let numbers: Vec<usize> = (0..400).filter(|n| (n * 7 + round * 13) % 11 < round % 12).collect();
            let plan = plan(&template(), wanted(numbers.clone()), &existing);
            existing.retain(|slice| {
                !plan.delete.contains(slice) && !plan.update.iter().any(|new| new.metadata.name == slice.metadata.name)
            });
            existing.extend(plan.update.into_iter().map(Arc::new));
            for (index, slice) in plan.create.into_iter().enumerate() {
                existing.push(stored(&format!("{round}-{index}"), slice));
            }
            let mut held: Vec<String> = existing
                .iter()
                .flat_map(|slice| slice.endpoints.iter().flatten())
                .map(|e| e.addresses[0].clone())
                .collect();
            let mut expected: Vec<String> = numbers.iter().map(|n| endpoint(*n).addresses[0].clone()).collect();
            held.sort();
            expected.sort();
            assert_eq!(held, expected, "round {round}");
            assert!(!existing.is_empty() && existing.iter().all(|slice| len(slice) <= CAPACITY), "round {round}");
        }
    }
}
