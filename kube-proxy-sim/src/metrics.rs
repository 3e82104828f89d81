//! What the proxy counts. Names: upstream's kube-proxy, where it has them.

use std::{
    fmt,
    sync::{Arc, LazyLock, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType,
        counter::Counter,
        gauge::{ConstGauge, Gauge},
        histogram::{Histogram, exponential_buckets},
    },
};

use crate::{
    balance::Mode,
    cluster::seconds,
    rules::{Table, Via, iptables, ipvs},
};

type Seconds = Gauge<f64, AtomicU64>;

/// The proxy's metrics.
pub struct Metrics {
    /// Changes of Services, ever.
    pub service_changes: Counter,
    /// Those that are not in the rules yet.
    pub service_changes_pending: Gauge,
    /// Changes of EndpointSlices, ever.
    pub endpoint_changes: Counter,
    /// Those that are not in the rules yet.
    pub endpoint_changes_pending: Gauge,
    /// When something changed last.
    pub last_queued: Seconds,
    /// Connections forwarded.
    pub connections: Counter,
    /// Dials that failed.
    pub failed_dials: Counter,
    last_synced: Seconds,
    durations: Histogram,
    last: Last,
}

/// The rules that were synced last. What they come to is counted when somebody asks.
#[derive(Clone, Debug, Default)]
struct Last(Arc<Mutex<Option<(Arc<Table>, Mode)>>>);

impl Collector for Last {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let last = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some((table, mode)) = last else { return Ok(()) };
        let counts = match mode {
            Mode::Iptables => {
                let iptables::Counts { filter, nat } = iptables::count(&table);
                vec![("table", "filter", filter), ("table", "nat", nat)]
            }
            // Upstream has no such count of them.
            Mode::Nftables => Vec::new(),
            Mode::Ipvs(_) => vec![("table", "ipvs", ipvs::count(&table))],
        };
        let lost = |via| table.iter().filter(|(_, rule)| rule.drops(via)).count();
        let (internal, external) = (lost(Via::ClusterIp), lost(Via::NodePort));
        let lost = vec![("traffic_policy", "internal", internal), ("traffic_policy", "external", external)];
        for (name, help, counts) in [
            ("kubeproxy_sync_proxy_rules_iptables_total", "Total number of iptables rules owned by kube-proxy", counts),
            (
                "kubeproxy_sync_proxy_rules_no_local_endpoints_total",
                "Number of services with a Local traffic policy and no endpoints",
                lost,
            ),
        ] {
            if counts.is_empty() {
                continue;
            }
            let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            for (label, value, count) in counts {
                let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
                gauge.encode(metric.encode_family(&[("ip_family", "IPv4"), (label, value)])?)?;
            }
        }
        Ok(())
    }
}

/// One set a process: several proxies share it, and what is a state is the state of the one that synced last.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let metrics = Metrics {
        service_changes: Counter::default(),
        service_changes_pending: Gauge::default(),
        endpoint_changes: Counter::default(),
        endpoint_changes_pending: Gauge::default(),
        last_queued: Seconds::default(),
        connections: Counter::default(),
        failed_dials: Counter::default(),
        last_synced: Seconds::default(),
        durations: Histogram::new(exponential_buckets(0.001, 2.0, 15)),
        last: Last::default(),
    };
    metrics.register();
    metrics
});

impl Metrics {
    fn register(&self) {
        kubelab_client::metrics::register(|registry| {
            let name = |rest: &str| format!("kubeproxy_sync_{rest}");
            let help = "SyncProxyRules latency in seconds";
            registry.register(name("proxy_rules_duration_seconds"), help, self.durations.clone());
            let help = "SyncProxyRules latency in seconds for full resyncs";
            registry.register(name("full_proxy_rules_duration_seconds"), help, self.durations.clone());
            let help = "The last time proxy rules were successfully synced";
            registry.register(name("proxy_rules_last_timestamp_seconds"), help, self.last_synced.clone());
            let help = "The last time a sync of proxy rules was queued";
            registry.register(name("proxy_rules_last_queued_timestamp_seconds"), help, self.last_queued.clone());
            // The encoder adds `_total` to counters.
            let help = "Cumulative proxy rules Service changes";
            registry.register(name("proxy_rules_service_changes"), help, self.service_changes.clone());
            let help = "Pending proxy rules Service changes";
            registry.register(name("proxy_rules_service_changes_pending"), help, self.service_changes_pending.clone());
            let help = "Cumulative proxy rules Endpoint changes";
            registry.register(name("proxy_rules_endpoint_changes"), help, self.endpoint_changes.clone());
            let help = "Pending proxy rules Endpoint changes";
            registry.register(
                name("proxy_rules_endpoint_changes_pending"),
                help,
                self.endpoint_changes_pending.clone(),
            );
            let help = "Connections to node ports and load balancers that were forwarded to a pod";
            registry.register("kubelab_proxy_connections", help, self.connections.clone());
            let help = "Dials to pods that failed, whether or not another pod answered";
            registry.register("kubelab_proxy_failed_dials", help, self.failed_dials.clone());
            registry.register_collector(Box::new(self.last.clone()));
        });
    }

    /// A node's rules were brought up to date, in so much time.
    pub fn synced(&self, table: &Arc<Table>, mode: Mode, took: Duration) {
        self.durations.observe(took.as_secs_f64());
        self.last_synced.set(seconds());
        *self.last.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((table.clone(), mode));
    }
}
