//! What the proxy counts. Names: upstream's kube-proxy, where it has them.

use std::sync::LazyLock;

use prometheus_client::metrics::{counter::Counter, gauge::Gauge};

/// The proxy's metrics.
pub struct Metrics {
    /// Rebuilt tables.
    pub syncs: Counter,
    /// Rules now.
    pub rules: Gauge,
    /// Connections forwarded.
    pub connections: Counter,
    /// Dials that failed.
    pub failed_dials: Counter,
}

/// One set a process: several proxies in a test share it.
pub static METRICS: LazyLock<Metrics> = LazyLock::new(|| {
    let metrics = Metrics {
        syncs: Counter::default(),
        rules: Gauge::default(),
        connections: Counter::default(),
        failed_dials: Counter::default(),
    };
    kubelab_client::metrics::register(|registry| {
        let full = "Syncs of the whole table of rules";
        registry.register("kubeproxy_sync_full_proxy_rules", full, metrics.syncs.clone());
        registry.register("kubeproxy_rules", "Service ports that have rules", metrics.rules.clone());
        let forwarded = "Connections to node ports that were forwarded to a pod";
        registry.register("kubelab_proxy_connections", forwarded, metrics.connections.clone());
        let failed = "Dials to pods that failed, whether or not another pod answered";
        registry.register("kubelab_proxy_failed_dials", failed, metrics.failed_dials.clone());
    });
    metrics
});
