//! One probe of one container: when it is due next, and what its answers amount to.
//! Source of the rules: `pkg/kubelet/prober/worker.go` of Kubernetes.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Probe;

use super::{Answer, Kind};

/// The numbers of a probe, with the defaults of the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Timing {
    initial_delay: Duration,
    period: Duration,
    success_threshold: u32,
    failure_threshold: u32,
}

impl Timing {
    fn of(probe: &Probe) -> Self {
        let seconds = |value: Option<i32>, default: u32| {
            Duration::from_secs(value.and_then(|value| u32::try_from(value).ok()).unwrap_or(default).into())
        };
        let count = |value: Option<i32>, default| {
            value.and_then(|value| u32::try_from(value).ok()).filter(|count| *count > 0).unwrap_or(default)
        };
        Self {
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10).max(Duration::from_secs(1)),
            success_threshold: count(probe.success_threshold, 1),
            failure_threshold: count(probe.failure_threshold, 3),
        }
    }
}

/// What a worker knows of its container now.
#[derive(Clone, Copy, Debug)]
pub struct View {
    /// When it was started.
    pub started_at: Timestamp,
    /// Whether its startup probe, if any, has succeeded.
    pub has_started: bool,
    /// Whether its pod is being deleted.
    pub terminating: bool,
}

/// What there is to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Ask the container.
    Probe,
    /// Look again then.
    Wait(Timestamp),
    /// Nothing until something else changes.
    Idle,
}

/// The state of one probe of one running container. A restarted container gets a new one.
#[derive(Clone, Debug)]
pub struct Worker {
    kind: Kind,
    timing: Timing,
    /// The verdict; `None` until a startup probe has one.
    verdict: Option<bool>,
    /// The last answer and how often in a row it came.
    run: Option<(bool, u32)>,
    due: Option<Timestamp>,
    /// A question is under way.
    asking: bool,
    /// The container is to be restarted: no more questions.
    done: bool,
}

impl Worker {
    /// A worker for a container that has just started. `was_ready` is what is known from before this kubelet started.
    pub fn new(kind: Kind, probe: &Probe, was_ready: bool) -> Self {
        let verdict = match kind {
            Kind::Startup => was_ready.then_some(true),
            Kind::Liveness => Some(true),
            Kind::Readiness => Some(was_ready),
        };
        Self { kind, timing: Timing::of(probe), verdict, run: None, due: None, asking: false, done: false }
    }

    /// What the answers amount to until now; `None`: not known yet.
    pub fn verdict(&self) -> Option<bool> {
        self.verdict
    }

    /// When the next question is due, after the first one.
    pub fn due(&self) -> Option<Timestamp> {
        self.due
    }

    /// Says what is to be done now. After [`Next::Probe`], an answer must be [`Worker::record`]ed.
    pub fn next(&mut self, view: View, now: Timestamp) -> Next {
        let quiet = match self.kind {
            Kind::Startup => view.terminating || self.verdict == Some(true),
            Kind::Liveness => view.terminating || !view.has_started,
            Kind::Readiness => !view.has_started,
        };
        if quiet || self.asking || self.done {
            return Next::Idle;
        }
        let due = self.due.unwrap_or(view.started_at + self.timing.initial_delay);
        if now < due {
            return Next::Wait(due);
        }
        self.asking = true;
        self.due = Some(now + self.timing.period);
        Next::Probe
    }

    /// Takes an answer in. Returns whether the verdict changed.
    pub fn record(&mut self, answer: &Answer) -> bool {
        self.asking = false;
        let success = answer.is_good();
        let count = match self.run {
            Some((last, count)) if last == success => count + 1,
            _ => 1,
        };
        self.run = Some((success, count));
        let threshold = if success { self.timing.success_threshold } else { self.timing.failure_threshold };
        if count < threshold || self.verdict == Some(success) {
            return false;
        }
        self.verdict = Some(success);
        self.done = !success && self.kind != Kind::Readiness;
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn at(seconds: u64) -> Timestamp {
        START + Duration::from_secs(seconds)
    }

    fn worker(kind: Kind) -> Worker {
        let probe = json!({"initialDelaySeconds": 5, "periodSeconds": 2, "failureThreshold": 3, "successThreshold": 2});
        Worker::new(kind, &serde_json::from_value(probe).unwrap(), false)
    }

    fn view() -> View {
        View { started_at: START, has_started: true, terminating: false }
    }

    fn failure() -> Answer {
        Answer::Failure("no".into())
    }

    #[test]
    fn it_waits_for_the_delay_and_then_for_each_period() {
        let mut worker = worker(Kind::Readiness);
        assert_eq!(worker.next(view(), at(0)), Next::Wait(at(5)));
        assert_eq!(worker.next(view(), at(5)), Next::Probe);
        assert_eq!(worker.next(view(), at(6)), Next::Idle, "one question at a time");
        worker.record(&Answer::Success);
        assert_eq!(worker.next(view(), at(6)), Next::Wait(at(7)));
        assert_eq!(worker.next(view(), at(7)), Next::Probe);
    }

    #[test]
    fn answers_count_when_they_come_in_a_row() {
        use Kind::{Liveness, Readiness, Startup};
        for (kind, answers, verdict) in [
            (Readiness, "", Some(false)),
            (Readiness, "+", Some(false)),
            (Readiness, "++", Some(true)),
            (Readiness, "+-+", Some(false)),
            (Readiness, "++--", Some(true)),
            (Readiness, "++---", Some(false)),
            (Readiness, "++---++", Some(true)),
            (Liveness, "", Some(true)),
            (Liveness, "--+--", Some(true)),
            (Liveness, "---", Some(false)),
            (Startup, "", None),
            (Startup, "--", None),
            (Startup, "--++", Some(true)),
            (Startup, "---", Some(false)),
        ] {
            let mut worker = worker(kind);
            for answer in answers.chars() {
                worker.record(&if answer == '+' { Answer::Success } else { failure() });
            }
            assert_eq!(worker.verdict(), verdict, "{kind} {answers}");
        }
    }

    #[test]
    fn it_is_quiet_when_it_has_no_say() {
        let starting = View { has_started: false, ..view() };
        let terminating = View { terminating: true, ..view() };
        for (kind, view, expected) in [
            (Kind::Readiness, starting, Next::Idle),
            (Kind::Liveness, starting, Next::Idle),
            (Kind::Startup, starting, Next::Probe),
            (Kind::Readiness, terminating, Next::Probe),
            (Kind::Liveness, terminating, Next::Idle),
            (Kind::Startup, terminating, Next::Idle),
        ] {
            assert_eq!(worker(kind).next(view, at(60)), expected, "{kind}");
        }
    }

    #[test]
    fn after_the_verdict_to_restart_it_asks_no_more() {
        let mut worker = worker(Kind::Liveness);
        for changes in [false, false, true] {
            assert_eq!(worker.record(&failure()), changes);
        }
        assert_eq!(worker.next(view(), at(60)), Next::Idle);
    }

    #[test]
    fn readiness_known_from_before_a_restart_holds() {
        let probe = Probe::default();
        assert_eq!(Worker::new(Kind::Readiness, &probe, true).verdict(), Some(true));
        assert_eq!(Worker::new(Kind::Startup, &probe, true).verdict(), Some(true));
    }
}
