//! What is counted, under upstream's names. Source: `k8s.io/apiserver/pkg/endpoints/metrics`.

use std::time::Duration;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::corridor::{Request, Verb};

/// What a request was about. Names of objects are no labels: they have no bound.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct Labels {
    pub verb: &'static str,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub scope: &'static str,
    pub component: &'static str,
}

impl Labels {
    /// The labels of a request.
    pub fn of(request: &Request) -> Self {
        Self {
            verb: verb(request.verb),
            group: request.resource.group.to_string(),
            version: request.resource.version.to_string(),
            resource: request.resource.plural.to_string(),
            subresource: request.subresource.clone(),
            scope: scope(&request.namespace, &request.name),
            component: COMPONENT,
        }
    }
}

/// The label `component`.
pub const COMPONENT: &str = "apiserver";

/// The label `verb`.
pub fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::List => "LIST",
        Verb::Watch => "WATCH",
        Verb::Create => "POST",
        Verb::Update => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
        Verb::DeleteCollection => "DELETECOLLECTION",
    }
}

/// The label `scope`.
pub fn scope(namespace: &str, name: &str) -> &'static str {
    match (name.is_empty(), namespace.is_empty()) {
        (false, _) => "resource",
        (true, false) => "namespace",
        (true, true) => "cluster",
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Total {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    component: &'static str,
    code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Kind {
    request_kind: &'static str,
}

/// Bounds of a request's duration in seconds; fewer than upstream's, for each costs memory.
const SECONDS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0];

/// The counters of one apiserver.
pub struct Metrics {
    registry: Registry,
    total: Family<Total, Counter>,
    duration: Family<Labels, Histogram>,
    under_way: Family<Kind, Gauge>,
    watches: Gauge,
    has_leader: Gauge,
    is_leader: Gauge,
    revision: Gauge,
    term: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let total = Family::default();
        registry.register("apiserver_request", "Requests by verb, resource and answer", total.clone());
        let duration = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        registry.register("apiserver_request_duration_seconds", "How long requests took", duration.clone());
        let under_way = Family::default();
        registry.register("apiserver_current_inflight_requests", "Requests under way", under_way.clone());
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let watches = gauge("apiserver_longrunning_requests", "Watches under way");
        let has_leader = gauge("etcd_server_has_leader", "The store knows a leader");
        let is_leader = gauge("etcd_server_is_leader", "This member leads the store");
        let revision = gauge("etcd_debugging_mvcc_current_revision", "The newest revision here");
        let term = gauge("etcd_server_term", "The raft term");
        Self { registry, total, duration, under_way, watches, has_leader, is_leader, revision, term }
    }
}

impl Metrics {
    /// One request is answered.
    pub fn answered(&self, labels: Labels, code: u16, took: Duration) {
        let Labels { verb, group, version, resource, subresource, scope, component } = labels.clone();
        let total = Total { verb, group, version, resource, subresource, scope, component, code };
        self.total.get_or_create(&total).inc();
        if verb != "WATCH" {
            self.duration.get_or_create(&labels).observe(took.as_secs_f64());
        }
    }

    /// A watch begins; it ends with what is returned.
    pub fn watching(&self) -> Watching {
        self.watches.inc();
        Watching(self.watches.clone())
    }

    /// The text that `/metrics` shows.
    pub fn text(&self, (reading, mutating): (usize, usize), member: &kubelab_store::Member) -> String {
        let under_way = |request_kind, count: usize| {
            self.under_way.get_or_create(&Kind { request_kind }).set(count.try_into().unwrap_or(i64::MAX));
        };
        under_way("readOnly", reading);
        under_way("mutating", mutating);
        self.has_leader.set((member.leader != 0).into());
        self.is_leader.set((member.leader == member.id).into());
        self.revision.set(member.revision.try_into().unwrap_or(i64::MAX));
        self.term.set(member.term.try_into().unwrap_or(i64::MAX));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

/// A watch that is under way.
pub struct Watching(Gauge);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.dec();
    }
}

#[cfg(test)]
mod tests {
    use kubelab_store::{Member, Role};

    use super::*;

    #[test]
    fn metrics_have_upstreams_names() {
        let metrics = Metrics::default();
        let labels = Labels { verb: "GET", version: "v1".into(), resource: "pods".into(), ..Labels::default() };
        metrics.answered(labels, 200, Duration::from_millis(3));
        let watch = metrics.watching();
        let member = Member {
            id: 1,
            role: Role::Leader,
            leader: 1,
            term: 2,
            revision: 9,
            voters: vec![1],
            learners: vec![],
            disk_full: false,
        };
        let text = metrics.text((1, 0), &member);
        for line in [
            "apiserver_request_total{verb=\"GET\",group=\"\",version=\"v1\",resource=\"pods\"",
            "apiserver_request_duration_seconds_bucket{le=\"0.005\",verb=\"GET\"",
            "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1",
            "apiserver_longrunning_requests 1",
            "etcd_server_has_leader 1",
            "etcd_debugging_mvcc_current_revision 9",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        drop(watch);
        assert!(metrics.text((0, 0), &member).contains("apiserver_longrunning_requests 0"));
    }
}
