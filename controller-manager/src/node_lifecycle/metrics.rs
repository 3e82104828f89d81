//! What the loop counts, under upstream's names. Source: `pkg/controller/nodelifecycle/metrics.go` in Kubernetes.

use std::{collections::HashMap, sync::LazyLock};

use kubelab_client::metrics::{By, Counter, Family, Gauge, Histogram, counters, exponential_buckets, gauges, shown};

use super::disruption::Zone;

/// The loop's figures; those of zones are by `zone`.
pub struct Metrics {
    health: Family<By<1, String>, Gauge>,
    size: Family<By<1, String>, Gauge>,
    unhealthy: Family<By<1, String>, Gauge>,
    evictions: Family<By<1, String>, Counter>,
    /// One look at all nodes.
    pub all_nodes_seconds: Histogram,
    /// One node whose taints and pods are brought up to date.
    pub node_seconds: Histogram,
}

/// The one set of figures of this process.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| Metrics {
    health: gauges("node_collector_zone_health", "Gauge measuring percentage of healthy nodes per zone"),
    size: gauges("node_collector_zone_size", "Gauge measuring number of registered Nodes per zones"),
    unhealthy: gauges("node_collector_unhealthy_nodes_in_zone", "Gauge measuring number of not Ready Nodes per zones"),
    evictions: counters(
        "node_collector_evictions",
        "Number of Node evictions that happened since current instance of NodeController started",
    ),
    all_nodes_seconds: shown(
        "node_collector_update_all_nodes_health_duration_seconds",
        "Duration in seconds for NodeController to update the health of all nodes",
        Histogram::new(exponential_buckets(0.01, 4.0, 8)),
    ),
    node_seconds: shown(
        "node_collector_update_node_health_duration_seconds",
        "Duration in seconds for NodeController to update the health of a single node",
        Histogram::new(exponential_buckets(0.001, 4.0, 8)),
    ),
});

/// A region and a zone in one label; empty for nodes without either.
fn name((region, zone): &Zone) -> By<1, String> {
    let name = if region.is_empty() && zone.is_empty() { String::new() } else { format!("{region}:{zone}") };
    [("zone", name)]
}

impl Metrics {
    /// Of each zone, how many nodes it has and how many of them work.
    pub fn zones(&self, nodes: impl IntoIterator<Item = (Zone, bool)>) {
        let mut counts: HashMap<Zone, (i64, i64)> = HashMap::new();
        for (zone, works) in nodes {
            let (all, ready) = counts.entry(zone).or_default();
            *all += 1;
            *ready += i64::from(works);
        }
        for family in [&self.health, &self.size, &self.unhealthy] {
            family.clear();
        }
        for (zone, (all, ready)) in counts {
            let zone = name(&zone);
            self.health.get_or_create(&zone).set(100 * ready / all.max(1));
            self.size.get_or_create(&zone).set(all);
            self.unhealthy.get_or_create(&zone).set(all - ready);
        }
    }

    /// The pods of a node in this zone are told to go.
    pub fn evicted(&self, zone: &Zone) {
        self.evictions.get_or_create(&name(zone)).inc();
    }
}
