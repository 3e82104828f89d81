//! The records that answer a question.

use std::{collections::BTreeSet, net::IpAddr};

use k8s_openapi::api::{
    core::v1::Service,
    discovery::v1::{Endpoint, EndpointSlice},
};

use super::{
    name::{Asked, DOMAIN, dashed, parse},
    zone::{Zone, addresses, service_of},
};

/// The version of the specification that is kept to.
const VERSION: &str = "1.1.0";

/// CNAMEs that are followed within the cluster.
const MAX_ALIASES: usize = 8;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Kind {
    A,
    Aaaa,
    Srv,
    Ptr,
    Cname,
    Txt,
    Any,
    Other,
}

impl Kind {
    fn wants(self, address: IpAddr) -> bool {
        match self {
            Self::A => address.is_ipv4(),
            Self::Aaaa => address.is_ipv6(),
            Self::Any => true,
            _ => false,
        }
    }

    /// Whether it asks for such a record.
    pub fn fits(self, data: &Data) -> bool {
        match data {
            Data::Address(address) => self.wants(*address),
            Data::Ptr(_) => matches!(self, Self::Ptr | Self::Any),
            Data::Cname(_) => matches!(self, Self::Cname | Self::Any),
            Data::Srv { .. } => matches!(self, Self::Srv | Self::Any),
            Data::Txt(_) => matches!(self, Self::Txt | Self::Any),
        }
    }
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Data {
    /// A or AAAA.
    Address(IpAddr),
    /// Where a port of a Service is.
    Srv {
        /// So that all records of a name weigh 100 together. Source: CoreDNS.
        weight: u16,
        /// The port.
        port: u16,
        /// Whose.
        target: String,
    },
    /// A name of an address.
    Ptr(String),
    /// Another name.
    Cname(String),
    /// A text.
    Txt(String),
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Record {
    /// Whose, without the last dot.
    pub name: String,
    /// What it says.
    pub data: Data,
}

/// The answer to a question.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answer {
    /// The name exists, whether or not it has records of the kind.
    pub exists: bool,
    /// What was asked for.
    pub records: Vec<Record>,
    /// What comes in handy: the addresses of what SRV records name.
    pub additional: Vec<Record>,
    /// The name belongs to this cluster.
    pub is_ours: bool,
}

/// An endpoint at one port.
struct Place {
    address: IpAddr,
    host: String,
    ports: Vec<(String, String, u16)>,
}

/// Answers a question for a name, in lower case and without its last dot.
pub fn answer(zone: &dyn Zone, name: &str, kind: Kind) -> Answer {
    let mut name = name.to_owned();
    let mut aliases = Vec::new();
    for _ in 0..MAX_ALIASES {
        let mut found = direct(zone, &name, kind);
        let alias = match found.records.as_slice() {
            [Record { data: Data::Cname(target), .. }] if kind != Kind::Cname && kind != Kind::Any => {
                Some(target.clone())
            }
            _ => None,
        };
        aliases.append(&mut found.records);
        match alias {
            // A name outside is for the one who asks to find, and here nobody can.
            Some(target) if !target.ends_with(DOMAIN) => {
                return Answer { exists: true, records: aliases, is_ours: true, ..Answer::default() };
            }
            Some(target) => name = target,
            None => {
                let exists = found.exists || !aliases.is_empty();
                return Answer { exists, records: aliases, ..found };
            }
        }
    }
    Answer { exists: true, records: aliases, is_ours: true, ..Answer::default() }
}

fn direct(zone: &dyn Zone, name: &str, kind: Kind) -> Answer {
    let record = |data| Record { name: name.to_owned(), data };
    let (exists, is_ours) = (true, true);
    let of = |records: Vec<Record>| Answer { exists, is_ours, records, ..Answer::default() };
    let nothing = || Answer { is_ours, ..Answer::default() };
    match parse(name) {
        Asked::Above => of(Vec::new()),
        Asked::Version if matches!(kind, Kind::Txt | Kind::Any) => of(vec![record(Data::Txt(VERSION.to_owned()))]),
        Asked::Version => of(Vec::new()),
        Asked::Namespace(namespace) if zone.has_namespace(namespace) => of(Vec::new()),
        Asked::Pod { namespace, address } if zone.has_namespace(namespace) => {
            of(if kind.wants(address) { vec![record(Data::Address(address))] } else { Vec::new() })
        }
        Asked::Service { namespace, service } => {
            let Some(found) = zone.service(namespace, service) else { return nothing() };
            of_service(zone, name, &found, kind)
        }
        Asked::Endpoint { namespace, service, endpoint } => {
            let Some(found) = zone.service(namespace, service).filter(|found| is_headless(found)) else {
                return nothing();
            };
            let mut places = places(zone, &found);
            places.retain(|place| place.host == endpoint);
            if places.is_empty() {
                return nothing();
            }
            let wanted = places.iter().map(|place| place.address).filter(|address| kind.wants(*address));
            of(wanted.map(|address| record(Data::Address(address))).collect())
        }
        Asked::Port { namespace, service, port, protocol } => {
            let Some(found) = zone.service(namespace, service) else { return nothing() };
            let fits = |name: &str, kind: &str| name == port && kind.eq_ignore_ascii_case(protocol);
            let answer = ports(zone, name, &found, fits);
            if answer.records.is_empty() {
                return nothing();
            }
            if matches!(kind, Kind::Srv | Kind::Any) { answer } else { of(Vec::new()) }
        }
        Asked::Address(address) => {
            let names = names_of(zone, address);
            let records = names.into_iter().map(|target| record(Data::Ptr(target)));
            let records: Vec<Record> = records.filter(|_| matches!(kind, Kind::Ptr | Kind::Any)).collect();
            Answer { exists: !records.is_empty(), records, is_ours, ..Answer::default() }
        }
        Asked::Namespace(_) | Asked::Pod { .. } | Asked::Nothing => nothing(),
        Asked::Elsewhere => Answer::default(),
    }
}

fn of_service(zone: &dyn Zone, name: &str, service: &Service, kind: Kind) -> Answer {
    let record = |data| Record { name: name.to_owned(), data };
    let spec = service.spec.as_ref();
    if let Some(target) = spec.filter(|spec| spec.type_.as_deref() == Some("ExternalName")) {
        let target = target.external_name.as_deref().unwrap_or_default().trim_end_matches('.').to_lowercase();
        return Answer { exists: true, is_ours: true, records: vec![record(Data::Cname(target))], ..Answer::default() };
    }
    if kind == Kind::Srv {
        return ports(zone, name, service, |_, _| true);
    }
    let found: BTreeSet<IpAddr> = if is_headless(service) {
        places(zone, service).into_iter().map(|place| place.address).collect()
    } else {
        addresses(service).collect()
    };
    // Source: CoreDNS, for which a headless Service without endpoints does not exist.
    let exists = !found.is_empty();
    let records =
        found.into_iter().filter(|address| kind.wants(*address)).map(|address| record(Data::Address(address)));
    Answer { exists, is_ours: true, records: records.collect(), ..Answer::default() }
}

/// SRV records of those ports of a Service that fit.
fn ports(zone: &dyn Zone, name: &str, service: &Service, fits: impl Fn(&str, &str) -> bool) -> Answer {
    let own = own_name(service);
    let mut found: BTreeSet<(String, u16, IpAddr)> = BTreeSet::new();
    if is_headless(service) {
        for place in places(zone, service) {
            let target = format!("{}.{own}", place.host);
            let ports = place.ports.iter().filter(|(name, protocol, _)| fits(name, protocol));
            found.extend(ports.map(|(_, _, port)| (target.clone(), *port, place.address)));
        }
    } else {
        for port in service.spec.iter().flat_map(|spec| spec.ports.iter().flatten()) {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            let Ok(number) = u16::try_from(port.port) else { continue };
            if fits(port.name.as_deref().unwrap_or_default(), protocol) {
                found.extend(addresses(service).map(|address| (own.clone(), number, address)));
            }
        }
    }
    let targets: BTreeSet<(&String, u16)> = found.iter().map(|(target, port, _)| (target, *port)).collect();
    let weight = u16::try_from(100 / targets.len().max(1)).unwrap_or(100).max(1);
    let srv = |(target, port): &(&String, u16)| Record {
        name: name.to_owned(),
        data: Data::Srv { weight, port: *port, target: (*target).clone() },
    };
    let hosts: BTreeSet<(&String, IpAddr)> = found.iter().map(|(target, _, address)| (target, *address)).collect();
    let additional =
        hosts.iter().map(|(target, address)| Record { name: (*target).clone(), data: Data::Address(*address) });
    Answer {
        exists: !found.is_empty(),
        is_ours: true,
        records: targets.iter().map(srv).collect(),
        additional: additional.collect(),
    }
}

/// The endpoints that a headless Service's name shows: the ready ones, which those that want unready ones shown have as
/// well.
fn places(zone: &dyn Zone, service: &Service) -> Vec<Place> {
    let meta = &service.metadata;
    let slices = zone.slices(meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
    let mut places = Vec::new();
    for slice in &slices {
        let ports: Vec<(String, String, u16)> = slice
            .ports
            .iter()
            .flatten()
            .filter_map(|port| {
                let name = port.name.clone().unwrap_or_default();
                let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
                Some((name, protocol, u16::try_from(port.port?).ok()?))
            })
            .collect();
        let ready = slice.endpoints.iter().flatten().filter(|endpoint| is_ready(endpoint));
        for endpoint in ready {
            let Some(address) = address_of(endpoint) else { continue };
            places.push(Place { address, host: host_of(endpoint, address), ports: ports.clone() });
        }
    }
    places
}

fn is_ready(endpoint: &Endpoint) -> bool {
    endpoint.conditions.as_ref().and_then(|conditions| conditions.ready) != Some(false)
}

fn address_of(endpoint: &Endpoint) -> Option<IpAddr> {
    endpoint.addresses.first()?.parse().ok()
}

fn host_of(endpoint: &Endpoint, address: IpAddr) -> String {
    endpoint.hostname.clone().filter(|name| !name.is_empty()).unwrap_or_else(|| dashed(address))
}

/// The names of an address: those of the Services that have it, or of the endpoints.
fn names_of(zone: &dyn Zone, address: IpAddr) -> BTreeSet<String> {
    let services = zone.services_at(address);
    if !services.is_empty() {
        return services.iter().map(|service| own_name(service)).collect();
    }
    let name = |slice: &EndpointSlice| -> Vec<String> {
        let namespace = slice.metadata.namespace.as_deref().unwrap_or_default();
        let Some(service) = service_of(slice) else { return Vec::new() };
        let here = slice.endpoints.iter().flatten().filter(|endpoint| address_of(endpoint) == Some(address));
        here.map(|endpoint| format!("{}.{service}.{namespace}.svc.{DOMAIN}", host_of(endpoint, address))).collect()
    };
    zone.slices_with(address).iter().flat_map(|slice| name(slice)).collect()
}

fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

fn own_name(service: &Service) -> String {
    let meta = &service.metadata;
    let (name, namespace) = (meta.name.as_deref().unwrap_or_default(), meta.namespace.as_deref().unwrap_or_default());
    format!("{name}.{namespace}.svc.{DOMAIN}")
}

#[cfg(test)]
pub(super) mod tests;
