//! When a job is due, and how many were missed. Source: `pkg/controller/cronjob/utils.go` in Kubernetes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};
use k8s_openapi::api::batch::v1::CronJob;
use kubelab_api::cron::Schedule;

/// A job is looked for a little after it is due. Source: `nextScheduleDelta`.
const DELTA: SignedDuration = SignedDuration::from_millis(100);
/// More than so many missed times are told of. Source: `manyMissed`.
const MANY: i64 = 100;

/// A schedule, and where it is read.
#[derive(Debug)]
pub struct Zoned {
    schedule: Schedule,
    zone: TimeZone,
}

/// The schedule of a cron job. One without a time zone is read in UTC, as upstream's controller manager does in its
/// container; one whose time zone is unknown, too: whoever starts jobs refuses it before.
pub fn schedule(cron: &CronJob) -> Result<Zoned, String> {
    Ok(Zoned { schedule: Schedule::parse(&cron.spec.schedule)?, zone: zone(cron).unwrap_or(TimeZone::UTC) })
}

/// The time zone of a cron job; why it is none.
pub fn zone(cron: &CronJob) -> Result<TimeZone, String> {
    match cron.spec.time_zone.as_deref() {
        None | Some("") => Ok(TimeZone::UTC),
        Some(name) => TimeZone::get(name).map_err(|_| format!("unknown time zone {name}")),
    }
}

/// The time that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// The last time up to now.
    pub at: Timestamp,
    /// There were many more before it.
    pub missed_many: bool,
}

/// How the schedule and the present stand to each other.
enum Standing {
    /// Nothing was due yet since then.
    Early { since: Timestamp },
    /// Something was.
    Due(Due),
    /// Something was, but too long ago to say when.
    Lost,
}

/// The time that is due and for which no job was made yet. An error for a schedule that is never due.
pub fn due(cron: &CronJob, schedule: &Zoned, now: Timestamp) -> Result<Option<Due>, &'static str> {
    match standing(cron, schedule, now, true)? {
        Standing::Due(due) => Ok(Some(due)),
        Standing::Early { .. } | Standing::Lost => Ok(None),
    }
}

/// How long until the next time.
pub fn until_next(cron: &CronJob, schedule: &Zoned, now: Timestamp) -> Duration {
    let from = match standing(cron, schedule, now, false) {
        Ok(Standing::Early { since }) => since,
        Ok(Standing::Due(due)) => due.at,
        Ok(Standing::Lost) | Err(_) => now,
    };
    let next = schedule.schedule.next(from, &schedule.zone).unwrap_or(Timestamp::MAX);
    let wait = next.duration_since(now).saturating_add(DELTA);
    Duration::try_from(wait).unwrap_or_default()
}

fn standing(cron: &CronJob, schedule: &Zoned, now: Timestamp, with_deadline: bool) -> Result<Standing, &'static str> {
    const NEVER: &str = "time difference between two schedules is less than 1 second";
    let status = cron.status.as_ref();
    let last =
        status.and_then(|status| status.last_schedule_time.as_ref()).or(cron.metadata.creation_timestamp.as_ref());
    let mut since = last.map_or(now, |last| last.0);
    if let Some(seconds) = cron.spec.starting_deadline_seconds.filter(|_| with_deadline) {
        let deadline = now.checked_sub(SignedDuration::from_secs(seconds)).unwrap_or(Timestamp::MIN);
        since = since.max(deadline);
    }
    let next = |after: Timestamp| schedule.schedule.next(after, &schedule.zone);
    let first = next(since).ok_or(NEVER)?;
    if now < first {
        return Ok(Standing::Early { since });
    }
    let second = next(first).ok_or(NEVER)?;
    if now < second {
        return Ok(Standing::Due(Due { at: first, missed_many: false }));
    }
    // The times may lie far back, and be many: their number is a guess from the distance of the first two.
    let interval = second.duration_since(first).as_secs().max(1);
    let missed = now.duration_since(first).as_secs() / interval + 1;
    let back = SignedDuration::from_secs((missed - 2).saturating_mul(interval));
    let from = first.checked_add(back).unwrap_or(now);
    let latest = std::iter::successors(next(from), |at| next(*at)).take_while(|at| *at <= now).last();
    Ok(latest.map_or(Standing::Lost, |at| Standing::Due(Due { at, missed_many: missed > MANY })))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn cron(schedule: &str, last: Option<&str>, more: Value) -> CronJob {
        let mut spec = json!({"schedule": schedule, "jobTemplate": {}});
        spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(json!({
            "metadata": {"name": "c", "creationTimestamp": "2026-11-20T10:00:30Z"},
            "spec": spec, "status": {"lastScheduleTime": last},
        }))
        .unwrap()
    }

    #[test]
    fn the_last_time_that_was_missed_is_due() {
        let deadline = |seconds: i64| json!({"startingDeadlineSeconds": seconds});
        for (why, schedule, last, more, now, expected) in [
            ("new", "0 * * * *", None, json!({}), "2026-11-20T10:30:00Z", None),
            ("its first time", "0 * * * *", None, json!({}), "2026-11-20T11:00:00Z", Some(("11:00:00", false))),
            ("done already", "0 * * * *", Some("2026-11-20T11:00:00Z"), json!({}), "2026-11-20T11:30:00Z", None),
            ("some missed", "0 * * * *", None, json!({}), "2026-11-20T13:30:00Z", Some(("13:00:00", false))),
            ("many missed", "* * * * *", None, json!({}), "2026-11-20T13:30:10Z", Some(("13:30:00", true))),
            (
                "many missed, but long ago",
                "* * * * *",
                None,
                deadline(200),
                "2026-11-20T13:30:10Z",
                Some(("13:30:00", false)),
            ),
            ("past the deadline", "0 * * * *", None, deadline(10), "2026-11-20T13:30:00Z", None),
            (
                "uneven, and looked for too late, as upstream does",
                "30 6-16/4 * * 1-5",
                Some("2026-11-20T06:30:00Z"),
                json!({}),
                "2026-11-20T23:00:00Z",
                None,
            ),
            ("every", "@every 40m", None, json!({}), "2026-11-20T12:30:00Z", Some(("12:00:30", false))),
            (
                "elsewhere",
                "0 20 * * *",
                None,
                json!({"timeZone": "Asia/Seoul"}),
                "2026-11-20T11:00:00Z",
                Some(("11:00:00", false)),
            ),
        ] {
            let cron = cron(schedule, last, more);
            let due = due(&cron, &super::schedule(&cron).unwrap(), now.parse().unwrap()).unwrap();
            let expected =
                expected.map(|(at, missed_many)| Due { at: format!("2026-11-20T{at}Z").parse().unwrap(), missed_many });
            assert_eq!(due, expected, "{why}");
        }
    }

    #[test]
    fn a_schedule_that_is_never_due_is_refused() {
        let cron = cron("59 23 31 2 *", None, json!({}));
        let schedule = schedule(&cron).unwrap();
        let now = "2026-11-20T11:00:00Z".parse().unwrap();
        assert!(due(&cron, &schedule, now).unwrap_err().contains("less than 1 second"));
        assert!(until_next(&cron, &schedule, now) > Duration::from_secs(1 << 32));
    }

    #[test]
    fn the_next_look_is_a_little_after_the_next_time() {
        for (schedule, last, now, seconds) in [
            ("0 * * * *", None, "2026-11-20T10:59:50Z", 10.1),
            ("0 * * * *", Some("2026-11-20T11:00:00Z"), "2026-11-20T11:00:01Z", 3599.1),
            ("0 * * * *", None, "2026-11-20T15:30:00Z", 1800.1),
        ] {
            let cron = cron(schedule, last, json!({}));
            let wait = until_next(&cron, &super::schedule(&cron).unwrap(), now.parse().unwrap());
            assert_eq!(wait, Duration::from_secs_f64(seconds), "{now}");
        }
    }
}
