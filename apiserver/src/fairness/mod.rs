//! Priority and fairness: whose request is served now, whose waits, and whose is refused.
//! Source: KEP-1040, `k8s.io/apiserver/pkg/util/flowcontrol` and <https://kubernetes.io/docs/concepts/cluster-administration/flow-control/>.
//!
//! | file | what it is |
//! | --- | --- |
//! | [`objects`] | the mandatory and the suggested configuration |
//! | [`schema`] | which FlowSchema a request falls under; pure |
//! | [`width`] | how many seats a request takes; pure |
//! | [`seats`] | the priority levels: seats, queues, who is next; no I/O |
//! | [`keep`] | keeps the configuration in the store, and reads it |
//!
//! ```text
//! request ─► Fairness::classify (a FlowSchema by precedence) ─► seats::Levels::enter ─┬─ a seat: served, given back when dropped
//!                                                                                     ├─ a queue: waits for a seat, or for too long
//!                                                                                     └─ full: 429
//! ```
//!
//! Seats are lent as upstream lends them, with one difference: upstream adjusts each level's limit every ten seconds to
//! what was wanted lately; here a level may take any seat beyond its own that no other level is entitled to at once.
//!
//! Invariants: no more than [`SEATS`] limited requests are under way. Every queue is bounded, and every wait.

pub mod keep;
pub mod objects;
pub mod schema;
pub mod seats;
pub mod width;

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering::Relaxed},
};

use arc_swap::ArcSwap;
use http::{HeaderMap, HeaderName};

use schema::{Digest, Schema};
use seats::{Levels, Refused, Seat};
use width::{Stored, Width};

/// Seats of all levels together. Source: `--max-requests-inflight` plus `--max-mutating-requests-inflight`.
pub const SEATS: usize = 600;

const SCHEMA_HEADER: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_HEADER: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// What a request was found to be.
#[derive(Clone)]
pub struct Flow {
    /// Its FlowSchema.
    pub schema: Arc<Schema>,
    /// Tells it from other flows of the schema: the user or the namespace.
    pub distinguisher: String,
}

impl Flow {
    /// Says in an answer's headers how the request was treated.
    pub fn mark(&self, headers: &mut HeaderMap) {
        for (name, value) in [SCHEMA_HEADER, LEVEL_HEADER].into_iter().zip(&self.schema.uids) {
            if let Some(value) = value {
                headers.insert(name, value.clone());
            }
        }
    }
}

/// The configuration in force.
#[derive(Default)]
struct Config {
    /// By precedence.
    schemas: Vec<Arc<Schema>>,
}

/// Sorts requests, and gives them seats.
pub struct Fairness {
    config: ArcSwap<Config>,
    /// By topic, as it was when somebody last looked.
    stored: ArcSwap<HashMap<String, Stored>>,
    /// The priority levels.
    pub levels: Levels,
}

impl Default for Fairness {
    /// With upstream's configuration, until another one is read.
    fn default() -> Self {
        let fairness = Self { config: ArcSwap::default(), stored: ArcSwap::default(), levels: Levels::new(SEATS) };
        let (schemas, levels) = objects::typed();
        fairness.configure(schemas, levels);
        fairness
    }
}

impl Fairness {
    /// Puts this configuration in force. Requests under way stay where they are.
    pub fn configure(
        &self,
        schemas: Vec<k8s_openapi::api::flowcontrol::v1::FlowSchema>,
        levels: Vec<k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration>,
    ) {
        self.levels.configure(&levels);
        let known = |name: &str| {
            let level = levels.iter().find(|level| level.metadata.name.as_deref() == Some(name))?;
            Some(level.metadata.uid.clone().unwrap_or_default())
        };
        let before = self.config.load();
        let counts = |name: Option<&String>| {
            let old = before.schemas.iter().find(|old| Some(&old.name) == name);
            old.map(|old| Arc::clone(&old.counts)).unwrap_or_default()
        };
        let mut schemas: Vec<Arc<Schema>> = schemas
            .iter()
            .filter_map(|schema| Schema::read(schema, known, counts(schema.metadata.name.as_ref())))
            .map(Arc::new)
            .collect();
        schemas.sort_by(|a, b| (a.precedence, &a.name).cmp(&(b.precedence, &b.name)));
        self.config.store(Arc::new(Config { schemas }));
    }

    /// Takes note of what is stored, by topic.
    pub fn measure(&self, stored: HashMap<String, Stored>) {
        self.stored.store(Arc::new(stored));
    }

    /// What a list of a resource takes: of no more than `limit` objects, where that is not 0.
    pub fn list(&self, flow: &Flow, group: &str, resource: &str, limit: u64) -> Width {
        let topic = format!("{}/{resource}", if group.is_empty() { "core" } else { group });
        let stored = self.stored.load().get(&topic).copied().unwrap_or_default();
        width::of_list(stored, limit, self.levels.widest(&flow.schema.level))
    }

    /// What a write takes of which so many watchers are told.
    pub fn write(&self, flow: &Flow, watchers: usize) -> Width {
        match watchers {
            0 => Width::ONE,
            some => width::of_write(some, self.levels.widest(&flow.schema.level)),
        }
    }

    /// Seats for a request, at once or after a wait.
    pub async fn enter(&self, flow: &Flow, width: Width) -> Result<Seat, Refused> {
        let entered = self.levels.enter(flow, width).await;
        let counts = &flow.schema.counts;
        match &entered {
            Ok(_) => counts.dispatched.fetch_add(1, Relaxed),
            Err(refused) => counts.refused[*refused as usize].fetch_add(1, Relaxed),
        };
        entered
    }

    /// The schemas in force, by precedence.
    pub fn schemas(&self) -> Vec<Arc<Schema>> {
        self.config.load().schemas.clone()
    }

    /// What a request is. `catch-all` takes what nothing else does.
    pub fn classify(&self, digest: &Digest<'_>) -> Option<Flow> {
        let config = self.config.load();
        let schema = config.schemas.iter().find(|schema| schema.matches(digest)).or(config.schemas.last())?;
        Some(Flow { distinguisher: schema.distinguish(digest), schema: Arc::clone(schema) })
    }
}

#[cfg(test)]
mod tests;
