//! How fast pods are evicted when many nodes fail at once: the more fail, the likelier it is the network, or this process.
//! Source: `ComputeZoneState`, `handleDisruption` and the eviction flags' defaults in Kubernetes.

use std::{collections::HashMap, time::Duration};

use k8s_openapi::api::core::v1::Node;
use kubelab_api::{
    meta::label,
    well_known::label::{REGION, ZONE},
};

/// How fast pods are evicted, and from when on slower.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Nodes per second. Source: `--node-eviction-rate`.
    pub rate: f64,
    /// The same in a large zone of which most nodes do not work. Source: `--secondary-node-eviction-rate`.
    pub secondary_rate: f64,
    /// Which part of a zone's nodes is most. Source: `--unhealthy-zone-threshold`.
    pub unhealthy: f64,
    /// How many nodes a small zone has at most. Source: `--large-cluster-size-threshold`.
    pub large: usize,
}

/// A region and a zone; nodes without either are all in one.
pub type Zone = (String, String);

/// What may happen in a zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// The pods of one more node are evicted after each such time.
    Every(Duration),
    /// No other node's pods are.
    Stopped,
    /// No node works anywhere, so no node is to blame: whatever was begun is withdrawn.
    Blind,
}

/// The zone of a node.
pub fn zone_of(node: &Node) -> Zone {
    let part = |key| label(&node.metadata, key).unwrap_or_default().to_owned();
    (part(REGION), part(ZONE))
}

impl Pace {
    fn of(rate: f64) -> Self {
        match Duration::try_from_secs_f64(rate.recip()) {
            Ok(interval) if rate > 0.0 => Self::Every(interval),
            _ => Self::Stopped,
        }
    }
}

/// What may happen in each zone, given of each node its zone and whether it works.
pub fn paces(nodes: impl IntoIterator<Item = (Zone, bool)>, limits: &Limits) -> HashMap<Zone, Pace> {
    let mut counts: HashMap<Zone, (usize, usize)> = HashMap::new();
    for (zone, works) in nodes {
        let (ready, all) = counts.entry(zone).or_default();
        *ready += usize::from(works);
        *all += 1;
    }
    let is_blind = counts.values().all(|(ready, _)| *ready == 0);
    let pace = |ready: usize, all: usize| {
        let failed = all - ready;
        if is_blind {
            Pace::Blind
        } else if ready > 0 && failed > 2 && failed as f64 >= all as f64 * limits.unhealthy {
            Pace::of(if all > limits.large { limits.secondary_rate } else { 0.0 })
        } else {
            Pace::of(limits.rate)
        }
    };
    counts.into_iter().map(|(zone, (ready, all))| (zone, pace(ready, all))).collect()
}

#[cfg(test)]
mod tests {
    use std::iter::repeat_n;

    use super::*;

    const NORMAL: Duration = Duration::from_secs(10);
    const SLOW: Duration = Duration::from_secs(100);
    const LIMITS: Limits = Limits { rate: 0.1, secondary_rate: 0.01, unhealthy: 0.55, large: 50 };

    fn zone(name: &str) -> Zone {
        (String::new(), name.to_owned())
    }

    fn nodes(name: &str, ready: usize, failed: usize) -> Vec<(Zone, bool)> {
        repeat_n((zone(name), true), ready).chain(repeat_n((zone(name), false), failed)).collect()
    }

    #[test]
    fn the_more_fail_the_slower() {
        for (why, a, b, expected) in [
            ("one of three", nodes("a", 2, 1), vec![], Pace::Every(NORMAL)),
            ("two of three: too few to judge", nodes("a", 1, 2), vec![], Pace::Every(NORMAL)),
            ("three of four", nodes("a", 1, 3), vec![], Pace::Stopped),
            ("half of many", nodes("a", 50, 50), vec![], Pace::Every(NORMAL)),
            ("most of many", nodes("a", 40, 60), vec![], Pace::Every(SLOW)),
            ("all", nodes("a", 0, 3), vec![], Pace::Blind),
            ("all of one zone", nodes("a", 0, 3), nodes("b", 3, 0), Pace::Every(NORMAL)),
            ("all of all zones", nodes("a", 0, 3), nodes("b", 0, 1), Pace::Blind),
        ] {
            let paces = paces(a.into_iter().chain(b), &LIMITS);
            assert_eq!(paces[&zone("a")], expected, "{why}");
        }
    }

    #[test]
    fn a_rate_may_be_any() {
        for (rate, expected) in [
            (0.0, Pace::Stopped),
            (-1.0, Pace::Stopped),
            (f64::NAN, Pace::Stopped),
            (4.0, Pace::Every(Duration::from_millis(250))),
        ] {
            assert_eq!(Pace::of(rate), expected, "{rate}");
        }
    }
}
