//! The audit log: who asked for what, when, and what came of it; as much of it as the policy says.
//!
//! ```text
//! a door ─► Audit::begin ─► Record ─┬─ RequestReceived ──────────────┐
//!            (policy)               │  … authorization, admission    │
//!                                   │    annotate the current record ├─► Log: a bounded queue ─► a thread ─► the file
//!                                   └─ ResponseStarted, -Complete ───┘
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`policy`] | which requests are recorded, and how much of them; pure |
//! | [`event`] | a line of the log |
//! | [`record`] | what is known of one request so far |
//! | [`log`] | the file, and how it is rotated |
//! | [`flags`] | how all this is asked for |
//!
//! Invariants: no request waits for the disk. Without a policy nothing here runs. What does not fit the queue is counted.
//! Source: `k8s.io/apiserver/pkg/audit`, `pkg/endpoints/filters/audit.go`.

pub mod event;
pub mod flags;
pub mod log;
pub mod policy;
pub mod record;

use std::{net::IpAddr, sync::Arc};

use http::HeaderMap;
use jiff::Timestamp;

use crate::{authorization::Attributes, corridor::User};
use event::Event;
use log::Log;
use policy::{Level, Policy};
pub use record::{Record, annotate, current, within};

/// The longest user agent that is recorded. Source: `maxUserAgentLength` in `k8s.io/apiserver/pkg/audit/request.go`.
const AGENT_BYTES: usize = 1024;

/// The policy, and where events go.
pub struct Audit {
    policy: Policy,
    log: Log,
}

/// What a door knows of a request.
pub struct Seen<'a> {
    /// `Audit-Id`, the client's or ours.
    pub id: String,
    /// Path and query.
    pub uri: String,
    /// The headers.
    pub headers: &'a HeaderMap,
    /// The other end of the connection.
    pub peer: Option<IpAddr>,
    /// What is asked, as far as authorization cares.
    pub attributes: Attributes<'a>,
    /// The resource's version.
    pub version: &'a str,
    /// Who asks; `None` if that could not be found out.
    pub user: Option<&'a User>,
    /// The answer goes on until somebody ends it: a watch.
    pub long: bool,
}

impl Audit {
    /// Records what this policy says in this log.
    pub fn new(policy: Policy, log: Log) -> Self {
        Self { policy, log }
    }

    /// Begins the record of a request, and tells that it has come in; `None` where the policy does not care.
    pub fn begin(self: &Arc<Self>, seen: Seen<'_>) -> Option<Arc<Record>> {
        let rule = self.policy.evaluate(seen.user, &seen.attributes);
        if rule.level == Level::None {
            return None;
        }
        let event = Event::new(&seen, rule.level, Timestamp::now());
        let record = Arc::new(Record::new(Arc::clone(self), rule, event, seen.long, seen.user.is_some()));
        if record.is_known() {
            record.tell(event::Stage::RequestReceived);
        }
        Some(record)
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }
}

/// Where a request comes from: what proxies say, then the connection.
/// Source: `SourceIPs` in `k8s.io/apimachinery/pkg/util/net/http.go`.
fn source_ips(headers: &HeaderMap, peer: Option<IpAddr>) -> Vec<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let forwarded = text("x-forwarded-for").split(',').filter_map(|part| part.trim().parse::<IpAddr>().ok());
    let mut ips: Vec<IpAddr> = forwarded.take(32).collect();
    for ip in text("x-real-ip").parse().ok().into_iter().chain(peer) {
        if ips.last() != Some(&ip) {
            ips.push(ip);
        }
    }
    ips.iter().map(ToString::to_string).collect()
}

fn user_agent(headers: &HeaderMap) -> String {
    let agent = headers.get(http::header::USER_AGENT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match agent.get(..AGENT_BYTES) {
        Some(start) if agent.len() > AGENT_BYTES => format!("{start}...TRUNCATED"),
        _ => agent.to_owned(),
    }
}

#[cfg(test)]
mod tests;
