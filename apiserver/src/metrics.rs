//! What is counted, under upstream's names. Source: `k8s.io/apiserver/pkg/endpoints/metrics`.

mod labels;
pub mod store;
mod text;
mod watchers;

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use kubelab_api::resource::{BUILT_IN, Verbs};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

use crate::fairness::{Fairness, seats::Refused};

use labels::{
    BuildLabels, DeprecatedLabels, FlowLabels, Kind, LevelLabels, RefusedLabels, ResourceLabels, SliLabels,
    StoredLabels, Total,
};
pub use labels::{COMPONENT, Labels, scope, verb};
pub use text::slis;
use text::{plain, resident_bytes};
use watchers::Watchers;

/// Bounds of a request's duration in seconds; fewer than upstream's, for each costs memory.
const SECONDS: [f64; 11] = [0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 60.0];

/// The counters of one apiserver.
pub struct Metrics {
    registry: Registry,
    total: Family<Total, Counter>,
    duration: Family<Labels, Histogram>,
    sli: Family<SliLabels, Histogram>,
    under_way: Family<Kind, Gauge>,
    lasting: Family<Labels, Gauge>,
    watch_events: Family<ResourceLabels, Counter>,
    watchers: Watchers,
    deprecated: Family<DeprecatedLabels, Gauge>,
    stored: Family<StoredLabels, Gauge>,
    dispatched: Family<FlowLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    level_seats: Family<LevelLabels, Gauge>,
    level_executing: Family<LevelLabels, Gauge>,
    level_waiting: Family<LevelLabels, Gauge>,
    has_leader: Gauge,
    is_leader: Gauge,
    revision: Gauge,
    term: Gauge,
    resident: Gauge,
    open_files: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        let duration = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        registry.register("apiserver_request_duration_seconds", "How long requests took", duration.clone());
        let sli = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        let help = "How long requests took, as far as the server itself is to be judged by it";
        registry.register("apiserver_request_sli_duration_seconds", help, sli.clone());
        crate::admission::figures::register(&mut registry);
        store::register(&mut registry);
        let build: Family<BuildLabels, Gauge> = family(&mut registry, "kubernetes_build_info", "What this is");
        build
            .get_or_create(&BuildLabels {
                major: "1",
                minor: "37",
                git_version: crate::doors::rest::VERSION,
                platform: crate::doors::rest::platform(),
            })
            .set(1);
        let r = &mut registry;
        Self {
            total: family(r, "apiserver_request", "Requests by verb, resource and answer"),
            duration,
            sli,
            under_way: family(r, "apiserver_current_inflight_requests", "Requests under way"),
            lasting: family(r, "apiserver_longrunning_requests", "Watches under way"),
            watch_events: family(r, "apiserver_watch_events", "Events sent to watchers"),
            watchers: Watchers::default(),
            deprecated: family(r, "apiserver_requested_deprecated_apis", "Deprecated kinds that were asked for"),
            stored: family(r, "apiserver_storage_objects", "Stored objects"),
            dispatched: family(r, "apiserver_flowcontrol_dispatched_requests", "Requests that got a seat"),
            refused: family(r, "apiserver_flowcontrol_rejected_requests", "Requests that got no seat"),
            level_seats: family(r, "apiserver_flowcontrol_nominal_limit_seats", "A level's own seats"),
            level_executing: family(
                r,
                "apiserver_flowcontrol_current_executing_requests",
                "A level's requests under way",
            ),
            level_waiting: family(r, "apiserver_flowcontrol_current_inqueue_requests", "A level's requests that wait"),
            has_leader: gauge(r, "etcd_server_has_leader", "The store knows a leader"),
            is_leader: gauge(r, "etcd_server_is_leader", "This member leads the store"),
            revision: gauge(r, "etcd_debugging_mvcc_current_revision", "The newest revision here"),
            term: gauge(r, "etcd_server_term", "The raft term"),
            resident: gauge(r, "process_resident_memory_bytes", "Resident memory"),
            open_files: gauge(r, "process_open_fds", "Open file descriptors"),
            registry,
        }
    }
}

fn family<L, M>(registry: &mut Registry, name: &str, help: &str) -> Family<L, M>
where
    L: EncodeLabelSet + Clone + std::hash::Hash + Eq + Send + Sync + std::fmt::Debug + 'static,
    M: prometheus_client::encoding::EncodeMetric
        + prometheus_client::metrics::TypedMetric
        + Default
        + Send
        + Sync
        + std::fmt::Debug
        + 'static,
{
    let family = Family::default();
    registry.register(name, help, family.clone());
    family
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

fn number(count: usize) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

/// What the text of `/metrics` is told from, beside the counters.
pub struct Look<'a> {
    /// Requests under way that read, and that write.
    pub under_way: (usize, usize),
    /// The store.
    pub member: &'a kubelab_store::Member,
    /// Its objects.
    pub state: &'a kubelab_store::State,
    /// Priority and fairness.
    pub fairness: &'a Fairness,
}

impl Metrics {
    /// One request is answered.
    pub fn answered(&self, labels: Labels, code: u16, took: Duration) {
        let total = Total { labels, code };
        self.total.get_or_create(&total).inc();
        let labels = total.labels;
        if labels.verb != "WATCH" {
            let seconds = took.as_secs_f64();
            self.duration.get_or_create(&labels).observe(seconds);
            self.sli.get_or_create(&SliLabels::from(labels)).observe(seconds);
        }
    }

    /// Somebody asked for what is deprecated.
    pub fn deprecated(&self, labels: &Labels) {
        self.deprecated.get_or_create(&DeprecatedLabels::from(labels)).set(1);
    }

    /// A watch begins; it ends with what is returned, which counts its events.
    pub fn watching(&self, labels: &Labels) -> Watching {
        let gauge = self.lasting.get_or_create(labels).clone();
        gauge.inc();
        let watcher = self.watchers.add(&labels.group, &labels.resource);
        let Labels { group, version, resource, .. } = labels.clone();
        let events = self.watch_events.get_or_create(&ResourceLabels { group, version, resource }).clone();
        Watching { gauge, events, _watcher: watcher }
    }

    /// How many watch a resource, in all its versions.
    pub fn watchers(&self, group: &str, resource: &str) -> usize {
        self.watchers.of(group, resource)
    }

    /// The text that `/metrics` shows.
    pub fn text(&self, look: &Look<'_>) -> String {
        let (reading, mutating) = look.under_way;
        self.under_way.get_or_create(&Kind { request_kind: "readOnly" }).set(number(reading));
        self.under_way.get_or_create(&Kind { request_kind: "mutating" }).set(number(mutating));
        let member = look.member;
        self.has_leader.set((member.leader != 0).into());
        self.is_leader.set((member.leader == member.id).into());
        self.revision.set(member.revision.try_into().unwrap_or(i64::MAX));
        self.term.set(member.term.try_into().unwrap_or(i64::MAX));
        self.stored.clear();
        for resource in BUILT_IN.iter().filter(|resource| resource.verbs == Verbs::All) {
            let count = look.state.range(&resource.topic(), "", None).count();
            self.stored.get_or_create(&StoredLabels { resource: resource.group_resource() }).set(number(count));
        }
        for schema in look.fairness.schemas() {
            let (flow_schema, priority_level) = (schema.name.clone(), schema.level.clone());
            let labels = FlowLabels { flow_schema: flow_schema.clone(), priority_level: priority_level.clone() };
            let count = schema.counts.dispatched.load(Relaxed);
            self.dispatched.get_or_create(&labels).inner().store(count, Relaxed);
            for (reason, count) in Refused::ALL.iter().zip(&schema.counts.refused) {
                let count = count.load(Relaxed);
                if count > 0 {
                    let (flow_schema, priority_level) = (flow_schema.clone(), priority_level.clone());
                    let labels = RefusedLabels { flow_schema, priority_level, reason: reason.name() };
                    self.refused.get_or_create(&labels).inner().store(count, Relaxed);
                }
            }
        }
        for level in look.fairness.levels.standing() {
            let labels = LevelLabels { priority_level: level.level.clone() };
            self.level_seats.get_or_create(&labels).set(number(level.nominal));
            self.level_executing.get_or_create(&labels).set(number(level.executing));
            self.level_waiting.get_or_create(&labels).set(number(level.waiting));
        }
        self.resident.set(resident_bytes().unwrap_or(0));
        self.open_files.set(std::fs::read_dir("/proc/self/fd").map_or(0, |all| number(all.count())));
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        plain(&text)
    }
}

/// A watch that is under way.
pub struct Watching {
    gauge: Gauge,
    events: Counter,
    _watcher: Arc<()>,
}

impl Watching {
    /// How many watches of this resource there are, itself included.
    pub fn crowd(&self) -> u32 {
        u32::try_from(self.gauge.get()).unwrap_or(1)
    }

    /// So many events were sent.
    pub fn sent(&self, events: usize) {
        self.events.inc_by(events as u64);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.gauge.dec();
    }
}

#[cfg(test)]
mod tests {
    use kubelab_store::{Member, Role};

    use super::*;
    use crate::admission::{Operation, figures};

    #[test]
    fn metrics_have_upstreams_names() {
        let metrics = Metrics::default();
        let labels = Labels { verb: "GET", version: "v1".into(), resource: "pods".into(), ..Labels::default() };
        metrics.answered(labels, 200, Duration::from_millis(3));
        let Some(pods) = kubelab_api::resource::named("pods") else { panic!("pods are known") };
        store::observe("create", pods, Duration::from_millis(1));
        let run =
            || figures::plugin("Priority", Operation::Create, figures::Step::Admit, &Default::default(), || Ok(()));
        assert!(figures::step(Operation::Create, figures::Step::Admit, run).is_ok());
        let watch = metrics.watching(&Labels { verb: "WATCH", resource: "pods".into(), ..Labels::default() });
        watch.sent(3);
        let fairness = Fairness::default();
        fairness.schemas()[0].counts.refused[0].fetch_add(1, Relaxed);
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
        let state = kubelab_store::State::default();
        let look = Look { under_way: (1, 0), member: &member, state: &state, fairness: &fairness };
        let text = metrics.text(&look);
        for line in [
            "apiserver_request_total{verb=\"GET\",group=\"\",version=\"v1\",resource=\"pods\"",
            "apiserver_request_duration_seconds_bucket{le=\"0.005\",verb=\"GET\"",
            "apiserver_request_sli_duration_seconds_bucket{le=\"0.005\",verb=\"GET\"",
            "apiserver_current_inflight_requests{request_kind=\"readOnly\"} 1",
            "apiserver_admission_step_admission_duration_seconds_bucket{le=\"0.005\",operation=\"CREATE\",rejected=\"false\",\
             type=\"admit\"} ",
            "apiserver_admission_controller_admission_duration_seconds_count{name=\"Priority\",operation=\"CREATE\",\
             rejected=\"false\",type=\"admit\"} ",
            "etcd_request_duration_seconds_count{operation=\"create\",group=\"\",resource=\"pods\"} ",
            "# TYPE apiserver_request_total counter",
            "# TYPE apiserver_request_duration_seconds histogram",
            "apiserver_longrunning_requests{verb=\"WATCH\",group=\"\",version=\"\",resource=\"pods\"",
            "apiserver_watch_events_total{group=\"\",version=\"\",resource=\"pods\"} 3",
            "apiserver_storage_objects{resource=\"deployments.apps\"} 0",
            "apiserver_flowcontrol_nominal_limit_seats{priority_level=\"system\"} 74",
            "apiserver_flowcontrol_rejected_requests_total{flow_schema=\"exempt\",priority_level=\"exempt\",\
             reason=\"concurrency-limit\"} 1",
            "kubernetes_build_info{major=\"1\",minor=\"37\"",
            "process_open_fds ",
            "etcd_server_has_leader 1",
            "etcd_debugging_mvcc_current_revision 9",
        ] {
            assert!(text.contains(line), "{line} is missing in\n{text}");
        }
        assert!(!text.contains("# EOF"));
        drop(watch);
        let text = metrics.text(&look);
        let gone = text.lines().find(|line| line.starts_with("apiserver_longrunning_requests{"));
        assert!(gone.is_some_and(|line| line.ends_with(" 0")), "{gone:?}");
        let slis = slis([("ping", "livez", true), ("etcd", "readyz", false)].into_iter());
        assert!(slis.contains("kubernetes_healthcheck{name=\"etcd\",type=\"readyz\"} 0\n"), "{slis}");
    }
}
