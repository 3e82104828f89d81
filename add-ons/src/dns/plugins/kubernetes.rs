//! `kubernetes`: names of Services and pods. Source: the documentation of CoreDNS' `kubernetes`.

use super::{
    super::{
        answer::{self, Answer, Data, Kind, Record},
        corefile::{Directive, Wrong, is_in, zone_of},
        name::{Asked, DOMAIN, parse},
        zone::Zone,
    },
    fallthrough, only,
};

/// How long answers may be kept, in seconds. Source: CoreDNS.
const TTL: u32 = 5;
/// The longest such time. Source: CoreDNS.
const MAX_TTL: u32 = 3600;

/// Properties that are read and not obeyed: how CoreDNS reaches the API, and what few people leave out.
const IDLE: [&str; 9] = [
    "endpoint",
    "tls",
    "kubeconfig",
    "labels",
    "namespace_labels",
    "endpoint_pod_names",
    "noendpoints",
    "ignore",
    "transfer",
];

/// Which names like `10-244-1-7.shop.pod.cluster.local` there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pods {
    /// None.
    #[default]
    Disabled,
    /// All in namespaces that there are.
    Insecure,
    /// Those of pods that there are.
    Verified,
}

/// The names of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kubernetes {
    zones: Vec<String>,
    /// Names of pods.
    pub pods: Pods,
    /// How long answers may be kept, in seconds.
    pub ttl: u32,
    fallthrough: Vec<String>,
    /// Those whose names there are; empty for all.
    namespaces: Vec<String>,
}

impl Kubernetes {
    /// `kubernetes [ZONES…] { pods; ttl; fallthrough; … }`
    pub fn of(zone: &str, line: &Directive) -> Result<Self, Wrong> {
        let zones: Vec<String> = line.arguments().iter().map(|zone| zone_of(zone)).collect();
        let zones = if zones.is_empty() { vec![zone.to_owned()] } else { zones };
        let mut kubernetes =
            Self { zones, pods: Pods::default(), ttl: TTL, fallthrough: Vec::new(), namespaces: Vec::new() };
        for line in &line.block {
            match line.split().0 {
                "fallthrough" => kubernetes.fallthrough = fallthrough(line),
                "namespaces" => kubernetes.namespaces = line.split().1.to_vec(),
                "pods" => {
                    kubernetes.pods = match only(line)? {
                        "disabled" => Pods::Disabled,
                        "insecure" => Pods::Insecure,
                        "verified" => Pods::Verified,
                        other => {
                            let says = "wrong value for pods: expected disabled, insecure or verified";
                            return Err((line.line, format!("plugin/kubernetes: {says}, got '{other}'")));
                        }
                    }
                }
                "ttl" => {
                    let ttl = only(line)?.parse().ok().filter(|ttl| *ttl <= MAX_TTL);
                    let wrong = || (line.line, format!("plugin/kubernetes: ttl must be in range [0, {MAX_TTL}]"));
                    kubernetes.ttl = ttl.ok_or_else(wrong)?;
                }
                name if IDLE.contains(&name) => {}
                name => return Err((line.line, format!("plugin/kubernetes: unknown property '{name}'"))),
            }
        }
        Ok(kubernetes)
    }

    /// The domain of the cluster's names: the first zone that is not for addresses.
    pub fn domain(&self) -> &str {
        self.zones
            .iter()
            .map(String::as_str)
            .find(|zone| !zone.ends_with(".arpa") && !zone.is_empty())
            .unwrap_or(DOMAIN)
    }

    /// The answer to a question; none, if somebody else is to be asked.
    pub fn answer(&self, zone: &dyn Zone, name: &str, kind: Kind) -> Option<Answer> {
        if !self.zones.iter().any(|zone| is_in(name, zone)) {
            return None;
        }
        let inner = renamed(name, self.domain(), DOMAIN);
        let asked = parse(&inner);
        let is_shown =
            |namespace: &str| self.namespaces.is_empty() || self.namespaces.iter().any(|own| own == namespace);
        let mut found = match asked {
            _ if !asked.namespace().is_none_or(is_shown) => Answer::default(),
            Asked::Pod { namespace, address } => match self.pods {
                Pods::Insecure => answer::answer(zone, &inner, kind),
                Pods::Verified if zone.has_pod(namespace, address) => answer::answer(zone, &inner, kind),
                Pods::Verified | Pods::Disabled => Answer { is_ours: true, ..Answer::default() },
            },
            _ => answer::answer(zone, &inner, kind),
        };
        found.is_ours = true;
        if !found.exists && self.fallthrough.iter().any(|zone| is_in(name, zone)) {
            return None;
        }
        for record in found.records.iter_mut().chain(&mut found.additional) {
            self.rename(record);
        }
        Some(found)
    }

    fn rename(&self, record: &mut Record) {
        let own = |name: &str| renamed(name, DOMAIN, self.domain());
        record.name = own(&record.name);
        match &mut record.data {
            Data::Ptr(target) | Data::Cname(target) | Data::Srv { target, .. } => *target = own(target),
            Data::Address(_) | Data::Txt(_) => {}
        }
    }
}

/// A name in another domain.
fn renamed(name: &str, from: &str, to: &str) -> String {
    match name.strip_suffix(from).filter(|rest| from != to && (rest.is_empty() || rest.ends_with('.'))) {
        Some(rest) => format!("{rest}{to}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::{
        super::super::{answer::tests::lab, corefile::Line},
        *,
    };

    fn plugin(zones: &str, lines: &[&str]) -> Kubernetes {
        let line = |text: &&str| Line { words: text.split(' ').map(str::to_owned).collect(), line: 1 };
        let words = format!("kubernetes {zones}").split_whitespace().map(str::to_owned).collect();
        Kubernetes::of("", &Directive { words, block: lines.iter().map(line).collect(), line: 1 }).unwrap()
    }

    #[test]
    fn pods_and_zones_are_as_the_corefile_says() {
        let zone = lab();
        for (zones, lines, name, expected) in [
            ("cluster.local", &["pods insecure"][..], "10-244-1-7.shop.pod.cluster.local", Some("10.244.1.7")),
            ("cluster.local", &["pods verified"], "10-244-1-7.shop.pod.cluster.local", Some("NXDOMAIN")),
            ("cluster.local", &["pods verified"], "10-244-0-9.shop.pod.cluster.local", Some("10.244.0.9")),
            ("cluster.local", &[], "10-244-0-9.shop.pod.cluster.local", Some("NXDOMAIN")),
            ("cluster.local", &[], "web.shop.svc.cluster.local", Some("10.96.0.7")),
            ("cluster.local", &["namespaces shop ops"], "web.shop.svc.cluster.local", Some("10.96.0.7")),
            ("cluster.local", &["namespaces ops"], "web.shop.svc.cluster.local", Some("NXDOMAIN")),
            ("cluster.local", &[], "example.com", None),
            ("cluster.local", &[], "7.0.96.10.in-addr.arpa", None),
            ("cluster.local", &["fallthrough"], "nobody.shop.svc.cluster.local", None),
            ("cluster.local", &["fallthrough in-addr.arpa"], "nobody.shop.svc.cluster.local", Some("NXDOMAIN")),
            ("lab.example", &[], "web.shop.svc.lab.example", Some("10.96.0.7")),
            ("lab.example", &[], "web.shop.svc.cluster.local", None),
        ] {
            let said =
                plugin(zones, lines).answer(&zone, name, Kind::A).map(|answer| match answer.records.as_slice() {
                    [Record { data: Data::Address(address), name: own }] if own == name => address.to_string(),
                    _ if !answer.exists => "NXDOMAIN".to_owned(),
                    other => format!("{other:?}"),
                });
            assert_eq!(said.as_deref(), expected, "{zones} {lines:?} {name}");
        }
        let reverse =
            plugin("lab.example in-addr.arpa", &[]).answer(&zone, "7.0.96.10.in-addr.arpa", Kind::Ptr).unwrap();
        assert_eq!(reverse.records[0].data, Data::Ptr("web.shop.svc.lab.example".to_owned()));
    }
}
