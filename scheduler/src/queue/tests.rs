use kubelab_client::clock;
use serde_json::json;

use super::*;
use crate::testing::{asking, pod};

const SECOND: Duration = Duration::from_secs(1);

fn queue() -> Queue {
    Queue::new(Arc::new(Profiles::default()), Backoff::default())
}

fn named(name: &str, priority: i32) -> Arc<PodInfo> {
    Arc::new(pod(json!({ "name": name, "priority": priority })))
}

fn put(queue: &mut Queue, info: Arc<PodInfo>, now: Instant) {
    queue.put(info, Cause::default(), now);
}

fn popped(queue: &mut Queue, now: Instant) -> Option<String> {
    queue.pop(now).map(|pod| pod.info.name().to_owned())
}

fn fit() -> BTreeSet<&'static str> {
    BTreeSet::from(["NodeResourcesFit"])
}

fn room() -> ClusterEvent {
    ClusterEvent::PodRemoved(Arc::new(asking(json!({ "cpu": "1" }))))
}

#[test]
fn important_pods_come_first_then_older_ones() {
    let (mut queue, now) = (queue(), clock::instant());
    for (at, (name, priority)) in [("a", 0), ("b", 0), ("c", 9), ("d", -1)].into_iter().enumerate() {
        put(&mut queue, named(name, priority), now + at as u32 * SECOND);
    }
    let order: Vec<String> = std::iter::from_fn(|| popped(&mut queue, now)).collect();
    assert_eq!(order, ["c", "a", "b", "d"]);
}

#[test]
fn a_pod_waits_once_with_its_first_cause() {
    let (mut queue, now) = (queue(), clock::instant());
    for revision in [4, 5] {
        queue.put(named("a", 0), Cause { revision, trace_id: String::new() }, now);
    }
    assert_eq!(queue.counts().active, 1);
    assert_eq!(queue.pop(now).unwrap().cause.revision, 4);
    put(&mut queue, named("a", 0), now);
    assert_eq!(queue.pop(now).map(|pod| pod.ticket), None, "in flight, it does not wait");
}

#[test]
fn an_event_that_helps_wakes_after_the_back_off() {
    let (mut queue, now) = (queue(), clock::instant());
    put(&mut queue, named("a", 0), now);
    let pod = queue.pop(now).unwrap();
    queue.unschedulable(pod, fit(), now);
    assert_eq!(queue.counts(), Counts { unschedulable: 1, ..Counts::default() });

    queue.on_event(ClusterEvent::PodAssigned(named("b", 0)), now);
    assert_eq!(queue.counts().unschedulable, 1, "that does not help");
    queue.on_event(room(), now + 2 * SECOND);
    assert_eq!(queue.counts().active, 1, "its back-off of 1 s is over");
    assert_eq!(popped(&mut queue, now + 2 * SECOND).as_deref(), Some("a"));
}

#[test]
fn back_off_doubles_up_to_ten_seconds_and_is_cut_short_only_after_not_fitting() {
    let (mut queue, mut now) = (queue(), clock::instant());
    put(&mut queue, named("a", 0), now);
    for seconds in [1, 2, 4, 8, 10, 10] {
        let pod = queue.pop(now).unwrap();
        queue.failed(pod, now);
        assert_eq!(queue.next_due(), Some(now + seconds * SECOND));
        assert!(popped(&mut queue, now).is_none(), "an error is waited out");
        now += seconds * SECOND;
    }
    let pod = queue.pop(now).unwrap();
    queue.unschedulable(pod, fit(), now);
    queue.on_event(room(), now);
    assert_eq!(queue.counts().backoff, 1);
    put(&mut queue, named("b", 0), now);
    assert_eq!(popped(&mut queue, now).as_deref(), Some("b"));
    assert_eq!(popped(&mut queue, now).as_deref(), Some("a"), "when nothing else waits");
}

#[test]
fn what_happens_during_an_attempt_is_not_missed() {
    let (mut queue, now) = (queue(), clock::instant());
    put(&mut queue, named("a", 0), now);
    put(&mut queue, named("b", 0), now);
    let first = queue.pop(now).unwrap();
    queue.on_event(room(), now);
    let second = queue.pop(now).unwrap();
    queue.unschedulable(second, fit(), now);
    queue.unschedulable(first, fit(), now);
    let counts = queue.counts();
    assert_eq!((counts.backoff, counts.unschedulable), (1, 1), "only the first attempt began before the event");
}

#[test]
fn more_events_than_are_remembered_count_as_help() {
    let (mut queue, now) = (queue(), clock::instant());
    put(&mut queue, named("a", 0), now);
    let pod = queue.pop(now).unwrap();
    for _ in 0..=REMEMBERED {
        queue.on_event(ClusterEvent::PodAssigned(named("x", 0)), now);
    }
    assert!(queue.events.len() <= REMEMBERED);
    queue.unschedulable(pod, fit(), now);
    assert_eq!(queue.counts().backoff, 1);
    assert!(queue.events.is_empty(), "nothing is in flight");
}

#[test]
fn gates_hold_until_removed() {
    let (mut queue, now) = (queue(), clock::instant());
    put(&mut queue, Arc::new(pod(json!({ "name": "a", "schedulingGates": [{ "name": "g" }] }))), now);
    assert_eq!(queue.counts().gated, 1);
    assert!(popped(&mut queue, now).is_none());
    put(&mut queue, named("a", 0), now);
    assert_eq!(popped(&mut queue, now).as_deref(), Some("a"));
}

#[test]
fn a_changed_pod_is_tried_again_but_not_for_its_status() {
    let (mut queue, now) = (queue(), clock::instant());
    put(&mut queue, named("a", 0), now);
    let popped_pod = queue.pop(now).unwrap();
    queue.unschedulable(popped_pod, BTreeSet::from(["NodeAffinity"]), now);
    put(&mut queue, named("a", 0), now + 2 * SECOND);
    assert_eq!(queue.counts().unschedulable, 1);
    put(
        &mut queue,
        Arc::new(pod(json!({ "name": "a", "priority": 0, "nodeSelector": { "a": "b" } }))),
        now + 2 * SECOND,
    );
    assert_eq!(queue.counts().active, 1);
}

#[test]
fn removed_pods_do_not_come_back() {
    let (mut queue, now) = (queue(), clock::instant());
    for name in ["a", "b", "c"] {
        put(&mut queue, named(name, 0), now);
    }
    let (a, b) = (queue.pop(now).unwrap(), queue.pop(now).unwrap());
    for uid in ["a", "b", "c"] {
        queue.remove(uid);
    }
    queue.unschedulable(a, fit(), now);
    queue.failed(b, now);
    assert_eq!(queue.counts(), Counts::default());
    assert_eq!(queue.next_due(), None);
}

#[test]
fn what_is_left_over_is_tried_after_five_minutes() {
    let (mut queue, now) = (queue(), clock::instant());
    put(&mut queue, named("a", 0), now);
    let pod = queue.pop(now).unwrap();
    queue.unschedulable(pod, fit(), now);
    assert_eq!(queue.next_due(), Some(now + LOOK_EVERY));
    assert!(popped(&mut queue, now + LEFT_OVER - SECOND).is_none());
    assert_eq!(popped(&mut queue, now + LEFT_OVER + LOOK_EVERY).as_deref(), Some("a"));
}
