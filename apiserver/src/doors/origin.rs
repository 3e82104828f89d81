//! Where a request comes from, as its headers tell.

use std::sync::Arc;

use http::HeaderMap;
use kubelab_store::Revision;
use uuid::Uuid;

/// Names the revision that led to a REST request, for callers that know of one.
pub const CAUSE_HEADER: &str = "x-kubelab-cause";

/// The program, the trace and the cause of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// From the User-Agent: `kubectl/v1.33.1`.
    pub agent: Arc<str>,
    /// From `traceparent`, or a new one.
    pub trace_id: Arc<str>,
    /// From [`CAUSE_HEADER`].
    pub cause: Revision,
}

impl Caller {
    /// Reads the headers of either door.
    pub fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        Self {
            agent: program(text("user-agent")).into(),
            trace_id: trace_id(text("traceparent")).map_or_else(new_trace, Arc::from),
            cause: text(CAUSE_HEADER).parse().unwrap_or(0),
        }
    }
}

/// A trace of its own.
pub fn new_trace() -> Arc<str> {
    Uuid::new_v4().simple().to_string().into()
}

/// The program's name and version: the agent up to the platform. Bounded, for it is stored with every write.
fn program(agent: &str) -> &str {
    let program = agent.split(' ').next().unwrap_or_default();
    let end = program.char_indices().nth(64).map_or(program.len(), |(at, _)| at);
    &program[..end]
}

/// The trace id of a W3C trace context: `00-<trace id>-<span id>-<flags>`.
fn trace_id(traceparent: &str) -> Option<&str> {
    let id = traceparent.split('-').nth(1)?;
    let valid =
        id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()) && id.bytes().any(|byte| byte != b'0');
    valid.then_some(id)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn headers_tell_where_a_request_comes_from() {
        let mut headers = HeaderMap::new();
        headers.insert("user-agent", "kubectl/v1.33.1 (linux/amd64) kubernetes/8adc0f0".parse().unwrap());
        headers.insert("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap());
        headers.insert(CAUSE_HEADER, "17".parse().unwrap());
        let caller = Caller::of(&headers);
        assert_eq!(&*caller.agent, "kubectl/v1.33.1");
        assert_eq!(&*caller.trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(caller.cause, 17);
    }

    #[test]
    fn without_headers_a_trace_begins() {
        let caller = Caller::of(&HeaderMap::new());
        assert_eq!((caller.trace_id.len(), caller.cause, &*caller.agent), (32, 0, ""));
        for wrong in ["", "00", "00-0-1-2", "00-00000000000000000000000000000000-00f067aa0ba902b7-01"] {
            assert_eq!(trace_id(wrong), None, "{wrong}");
        }
    }
}
