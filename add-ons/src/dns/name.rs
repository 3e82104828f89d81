//! What a name asks for.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The domain of all names in a cluster.
pub const DOMAIN: &str = "cluster.local";

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Asked<'a> {
    /// `web.shop.svc.cluster.local`
    Service {
        /// The namespace.
        namespace: &'a str,
        /// The Service.
        service: &'a str,
    },
    /// `web-0.web.shop.svc.cluster.local`: a pod behind a headless Service.
    Endpoint {
        /// The namespace.
        namespace: &'a str,
        /// The Service.
        service: &'a str,
        /// The pod's host name, or its address with dashes.
        endpoint: &'a str,
    },
    /// `_http._tcp.web.shop.svc.cluster.local`
    Port {
        /// The namespace.
        namespace: &'a str,
        /// The Service.
        service: &'a str,
        /// The port's name.
        port: &'a str,
        /// `tcp` or `udp`.
        protocol: &'a str,
    },
    /// `10-244-1-7.shop.pod.cluster.local`
    Pod {
        /// The namespace.
        namespace: &'a str,
        /// The address that the name says.
        address: IpAddr,
    },
    /// `shop.svc.cluster.local`: it has no records of its own.
    Namespace(&'a str),
    /// `cluster.local` and what else lies above the namespaces.
    Above,
    /// `dns-version.cluster.local`
    Version,
    /// `7.1.244.10.in-addr.arpa`: who has this address.
    Address(IpAddr),
    /// Nothing in this cluster has such a name.
    Nothing,
    /// It belongs to another domain.
    Elsewhere,
}

impl<'a> Asked<'a> {
    /// The namespace that it is in, if it is in one.
    pub fn namespace(&self) -> Option<&'a str> {
        match self {
            Self::Service { namespace, .. }
            | Self::Endpoint { namespace, .. }
            | Self::Port { namespace, .. }
            | Self::Pod { namespace, .. }
            | Self::Namespace(namespace) => Some(namespace),
            Self::Above | Self::Version | Self::Address(_) | Self::Nothing | Self::Elsewhere => None,
        }
    }
}

/// What this name, in lower case and without its last dot, stands for.
pub fn parse(name: &str) -> Asked<'_> {
    if let Some(address) = reverse(name) {
        return Asked::Address(address);
    }
    let Some(inner) = name.strip_suffix(DOMAIN) else { return Asked::Elsewhere };
    if inner.is_empty() {
        return Asked::Above;
    }
    let Some(inner) = inner.strip_suffix('.') else { return Asked::Elsewhere };
    let labels: Vec<&str> = inner.split('.').collect();
    match labels.as_slice() {
        ["svc" | "pod"] => Asked::Above,
        ["dns-version"] => Asked::Version,
        [namespace, "svc" | "pod"] => Asked::Namespace(namespace),
        [service, namespace, "svc"] => Asked::Service { namespace, service },
        [port, protocol, service, namespace, "svc"] if port.starts_with('_') && protocol.starts_with('_') => {
            Asked::Port { namespace, service, port: &port[1..], protocol: &protocol[1..] }
        }
        [endpoint, service, namespace, "svc"] => Asked::Endpoint { namespace, service, endpoint },
        [dashed, namespace, "pod"] => match undashed(dashed) {
            Some(address) => Asked::Pod { namespace, address },
            None => Asked::Nothing,
        },
        _ => Asked::Nothing,
    }
}

/// `10-244-1-7`, as the address is in names.
pub fn dashed(address: IpAddr) -> String {
    address.to_string().replace(['.', ':'], "-")
}

fn undashed(text: &str) -> Option<IpAddr> {
    let v4 = text.replace('-', ".").parse::<Ipv4Addr>().map(IpAddr::from);
    v4.or_else(|_| text.replace('-', ":").parse::<Ipv6Addr>().map(IpAddr::from)).ok()
}

fn reverse(name: &str) -> Option<IpAddr> {
    if let Some(digits) = name.strip_suffix(".in-addr.arpa") {
        let parts: Vec<&str> = digits.split('.').rev().collect();
        return parts.join(".").parse::<Ipv4Addr>().ok().map(IpAddr::from);
    }
    let digits = name.strip_suffix(".ip6.arpa")?;
    let digits: Vec<u128> = digits.split('.').rev().map(|d| u128::from_str_radix(d, 16).ok()).collect::<Option<_>>()?;
    if digits.len() != 32 || digits.iter().any(|digit| *digit > 15) {
        return None;
    }
    Some(Ipv6Addr::from(digits.iter().fold(0, |address, digit| address << 4 | digit)).into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_stand_for_something() {
        for (name, expected) in [
            ("web.shop.svc.cluster.local", Asked::Service { namespace: "shop", service: "web" }),
            (
                "web-0.web.shop.svc.cluster.local",
                Asked::Endpoint { namespace: "shop", service: "web", endpoint: "web-0" },
            ),
            (
                "_http._tcp.web.shop.svc.cluster.local",
                Asked::Port { namespace: "shop", service: "web", port: "http", protocol: "tcp" },
            ),
            (
                "10-244-1-7.shop.pod.cluster.local",
                Asked::Pod { namespace: "shop", address: "10.244.1.7".parse().unwrap() },
            ),
            ("fd00--7.shop.pod.cluster.local", Asked::Pod { namespace: "shop", address: "fd00::7".parse().unwrap() }),
            ("web.shop.pod.cluster.local", Asked::Nothing),
            ("shop.svc.cluster.local", Asked::Namespace("shop")),
            ("svc.cluster.local", Asked::Above),
            ("cluster.local", Asked::Above),
            ("dns-version.cluster.local", Asked::Version),
            ("a.b.c.d.e.svc.cluster.local", Asked::Nothing),
            ("web.shop.cluster.local", Asked::Nothing),
            ("example.com", Asked::Elsewhere),
            ("notcluster.local", Asked::Elsewhere),
            ("web.shop", Asked::Elsewhere),
            ("10.0.96.10.in-addr.arpa", Asked::Address("10.96.0.10".parse().unwrap())),
            ("300.0.96.10.in-addr.arpa", Asked::Elsewhere),
            (
                "7.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa",
                Asked::Address("fd00::7".parse().unwrap()),
            ),
        ] {
            assert_eq!(parse(name), expected, "{name}");
        }
    }
}
