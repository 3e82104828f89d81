//! What a Service asks for at each of its ports.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use ipnet::IpNet;
use k8s_openapi::api::core::v1::{Service, ServiceSpec};
use kubelab_api::well_known::label;

/// What `sessionAffinity: ClientIP` lasts without a timeout of its own. Source: the API's default, three hours.
const DEFAULT_AFFINITY_SECONDS: i32 = 10_800;

/// One port of one Service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PortName {
    /// The Service's namespace.
    pub namespace: String,
    /// The Service's name.
    pub service: String,
    /// The port's name; empty where there is one port only.
    pub port: String,
}

impl fmt::Display for PortName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.service)?;
        if self.port.is_empty() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

/// What is spoken at a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// `TCP`
    Tcp,
    /// `UDP`
    Udp,
    /// `SCTP`
    Sctp,
}

impl Protocol {
    /// As the API writes it; TCP where it writes nothing.
    pub fn of(text: Option<&str>) -> Option<Self> {
        match text {
            None | Some("TCP") => Some(Self::Tcp),
            Some("UDP") => Some(Self::Udp),
            Some("SCTP") => Some(Self::Sctp),
            Some(_) => None,
        }
    }

    /// As the API writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Sctp => "SCTP",
        }
    }

    /// As the tools write it.
    pub fn lower(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        }
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a Service asks for at one of its ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// The virtual address.
    pub cluster_ip: IpAddr,
    /// The port there.
    pub port: u16,
    /// What is spoken there.
    pub protocol: Protocol,
    /// The port of each node that leads here too.
    pub node_port: Option<u16>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// The addresses that the Service's load balancer has.
    pub load_balancer_ips: Vec<IpAddr>,
    /// Who may use those; empty for everybody.
    pub source_ranges: Vec<IpNet>,
    /// Where each node says whether it has endpoints.
    pub health_check_node_port: Option<u16>,
    /// How long connections of a client stay with one endpoint.
    pub affinity: Option<Duration>,
    /// Connections from inside stay on the node where they begin.
    pub internal_local: bool,
    /// Connections from outside stay on the node where they arrive.
    pub external_local: bool,
}

impl ServicePort {
    /// It is reached from outside of the cluster.
    pub fn externally_accessible(&self) -> bool {
        self.node_port.is_some() || !self.load_balancer_ips.is_empty() || !self.external_ips.is_empty()
    }

    /// Nodes have a listener for it, or may have one.
    pub fn is_listened_for(&self) -> bool {
        self.node_port.is_some() || !self.load_balancer_ips.is_empty() || self.health_check_node_port.is_some()
    }

    /// Some connections may go to any node's endpoints. With `externalTrafficPolicy: Local` those from inside still may.
    pub fn uses_cluster_endpoints(&self) -> bool {
        !self.internal_local || self.externally_accessible()
    }

    /// Some connections stay on the node.
    pub fn uses_local_endpoints(&self) -> bool {
        self.internal_local || (self.external_local && self.externally_accessible())
    }

    /// `loadBalancerSourceRanges` lets this client use the load balancer.
    pub fn admits(&self, client: IpAddr) -> bool {
        self.source_ranges.is_empty() || self.source_ranges.iter().any(|range| range.contains(&client))
    }
}

/// The ports of a Service that this proxy serves: none of headless or external ones, nor of those for another proxy.
pub fn ports(service: &Service) -> Vec<(PortName, ServicePort)> {
    let (Some(spec), Some(cluster_ip)) = (&service.spec, virtual_address(service)) else { return Vec::new() };
    let meta = &service.metadata;
    let ports = spec.ports.iter().flatten().filter_map(|port| {
        let name = PortName {
            namespace: meta.namespace.clone().unwrap_or_default(),
            service: meta.name.clone().unwrap_or_default(),
            port: port.name.clone().unwrap_or_default(),
        };
        let is_balancer = spec.type_.as_deref() == Some("LoadBalancer");
        let wanted = ServicePort {
            cluster_ip,
            port: number(port.port)?,
            protocol: Protocol::of(port.protocol.as_deref())?,
            node_port: port.node_port.and_then(number),
            external_ips: addresses(spec.external_ips.iter().flatten()),
            load_balancer_ips: if is_balancer { load_balancer_ips(service) } else { Vec::new() },
            source_ranges: if is_balancer { source_ranges(service, spec) } else { Vec::new() },
            health_check_node_port: spec.health_check_node_port.and_then(number),
            affinity: affinity(spec),
            internal_local: spec.internal_traffic_policy.as_deref() == Some("Local"),
            external_local: spec.external_traffic_policy.as_deref() == Some("Local"),
        };
        Some((name, wanted))
    });
    ports.collect()
}

fn virtual_address(service: &Service) -> Option<IpAddr> {
    let spec = service.spec.as_ref()?;
    let is_elsewhere = service.metadata.labels.iter().flatten().any(|(key, _)| key == label::SERVICE_PROXY_NAME);
    if is_elsewhere || spec.type_.as_deref() == Some("ExternalName") {
        return None;
    }
    spec.cluster_ip.as_deref()?.parse().ok()
}

fn number(port: i32) -> Option<u16> {
    u16::try_from(port).ok().filter(|port| *port != 0)
}

fn addresses<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<IpAddr> {
    texts.filter_map(|text| text.parse().ok()).filter(IpAddr::is_ipv4).collect()
}

/// Source: KEP-1860: an address whose mode is `Proxy` is served by the load balancer alone.
fn load_balancer_ips(service: &Service) -> Vec<IpAddr> {
    let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let ingress = status.into_iter().flat_map(|status| status.ingress.iter().flatten());
    addresses(ingress.filter(|point| point.ip_mode.as_deref() != Some("Proxy")).filter_map(|point| point.ip.as_ref()))
}

/// `spec.loadBalancerSourceRanges`, or the older annotation. All of IPv4 is no restriction.
fn source_ranges(service: &Service, spec: &ServiceSpec) -> Vec<IpNet> {
    const ANNOTATION: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
    let annotation = service.metadata.annotations.iter().flatten().find(|(key, _)| *key == ANNOTATION);
    let texts: Vec<&str> = match &spec.load_balancer_source_ranges {
        Some(ranges) if !ranges.is_empty() => ranges.iter().map(String::as_str).collect(),
        _ => annotation.map(|(_, value)| value.split(',').collect()).unwrap_or_default(),
    };
    let ranges = texts.iter().filter_map(|text| text.trim().parse::<IpNet>().ok()).map(|range| range.trunc());
    let ranges: Vec<IpNet> = ranges.filter(|range| range.addr().is_ipv4()).collect();
    let everybody = |range: &IpNet| range.prefix_len() == 0 && range.addr() == Ipv4Addr::UNSPECIFIED;
    if ranges.iter().any(everybody) { Vec::new() } else { ranges }
}

fn affinity(spec: &ServiceSpec) -> Option<Duration> {
    if spec.session_affinity.as_deref() != Some("ClientIP") {
        return None;
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let seconds = config.and_then(|config| config.timeout_seconds).unwrap_or(DEFAULT_AFFINITY_SECONDS);
    Some(Duration::from_secs(u64::try_from(seconds).unwrap_or(0)))
}
