#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use serde_json::json;

use super::{seats::Refused, *};
use crate::corridor::User;

fn user(name: &str, groups: &[&str]) -> User {
    User { name: name.into(), groups: groups.iter().map(|group| (*group).to_owned()).collect(), ..User::default() }
}

fn digest<'a>(user: &'a User, verb: &'a str, resource: &'a str, namespace: &'a str) -> Digest<'a> {
    let group = if resource == "leases" { "coordination.k8s.io" } else { "" };
    Digest { user, verb, group, resource, subresource: "", namespace, path: "" }
}

#[test]
fn requests_fall_under_upstreams_schemas() {
    let fairness = Fairness::default();
    let known = ["system:authenticated"];
    let cases = [
        (user("kubernetes-admin", &["system:masters", known[0]]), "list", "pods", "", "exempt", "exempt", ""),
        (user("alice", &known), "list", "pods", "a", "global-default", "global-default", "alice"),
        (
            user("system:node:n", &["system:nodes", known[0]]),
            "update",
            "leases",
            "b",
            "system-node-high",
            "node-high",
            "system:node:n",
        ),
        (
            user("system:node:n", &["system:nodes", known[0]]),
            "get",
            "secrets",
            "b",
            "system-nodes",
            "system",
            "system:node:n",
        ),
        (
            user("system:kube-scheduler", &known),
            "update",
            "leases",
            "b",
            "system-leader-election",
            "leader-election",
            "system:kube-scheduler",
        ),
        (user("system:kube-scheduler", &known), "list", "pods", "b", "kube-scheduler", "workload-high", "b"),
        (
            user("system:serviceaccount:kube-system:x", &["system:serviceaccounts", known[0]]),
            "list",
            "pods",
            "c",
            "kube-system-service-accounts",
            "workload-high",
            "c",
        ),
        (
            user("system:serviceaccount:a:x", &["system:serviceaccounts", known[0]]),
            "list",
            "pods",
            "c",
            "service-accounts",
            "workload-low",
            "system:serviceaccount:a:x",
        ),
        (user("nobody", &[]), "list", "pods", "c", "catch-all", "catch-all", "nobody"),
    ];
    for (user, verb, resource, namespace, schema, level, distinguisher) in cases {
        let flow = fairness.classify(&digest(&user, verb, resource, namespace)).unwrap();
        let found = (&*flow.schema.name, &*flow.schema.level, &*flow.distinguisher);
        assert_eq!(found, (schema, level, distinguisher), "{} {verb} {resource}", user.name);
    }
    let anonymous = user("system:anonymous", &["system:unauthenticated"]);
    let probe = Digest { path: "/readyz", ..digest(&anonymous, "get", "", "") };
    assert_eq!(fairness.classify(&probe).unwrap().schema.name, "probes");
    let other = Digest { path: "/version", ..probe };
    assert_eq!(fairness.classify(&other).unwrap().schema.name, "global-default");
}

#[test]
fn levels_have_upstreams_seats() {
    let seats = Fairness::default().levels.standing();
    let nominal: Vec<_> = seats.iter().map(|level| (&*level.level, level.nominal)).collect();
    // Shares of 245: `ceil(600 * shares / 245)`.
    assert_eq!(
        nominal,
        [
            ("catch-all", 13),
            ("exempt", 0),
            ("global-default", 49),
            ("leader-election", 25),
            ("node-high", 98),
            ("system", 74),
            ("workload-high", 98),
            ("workload-low", 245),
        ]
    );
}

#[tokio::test]
async fn a_level_without_queues_refuses_and_an_exempt_one_never_does() {
    let levels = Fairness::default().levels;
    let mut seats = Vec::new();
    let refused = loop {
        match levels.enter_as("catch-all", ("catch-all", "x"), Width::ONE, Duration::ZERO).await {
            Ok(seat) => seats.push(seat),
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, Refused::ConcurrencyLimit);
    assert!(seats.len() >= 13 && seats.len() < SEATS, "{} seats", seats.len());
    for _ in 0..2 * SEATS {
        seats.push(levels.enter_as("exempt", ("exempt", ""), Width::ONE, Duration::ZERO).await.unwrap());
    }
    // What others never lend is theirs at once, however much was borrowed.
    for _ in 0..25 {
        seats.push(levels.enter_as("leader-election", ("e", ""), Width::ONE, Duration::ZERO).await.unwrap());
    }
    drop(seats);
    assert!(levels.standing().iter().all(|level| level.executing == 0), "{:?}", levels.standing());
}

#[tokio::test]
async fn who_waits_is_served_in_turn_or_gives_up() {
    let levels = Levels::new(2);
    let level: k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration = serde_json::from_value(json!({
        "metadata": { "name": "l" },
        "spec": { "type": "Limited", "limited": {
            "nominalConcurrencyShares": 1,
            "limitResponse": { "type": "Queue", "queuing": { "queues": 8, "handSize": 1, "queueLengthLimit": 3 } },
        } },
    }))
    .unwrap();
    levels.configure(&[level]);
    let enter = async |flow: &str, patience| levels.enter_as("l", ("s", flow), Width::ONE, patience).await;
    let first = enter("greedy", Duration::ZERO).await.unwrap();
    let second = enter("greedy", Duration::ZERO).await.unwrap();
    assert_eq!(enter("greedy", Duration::from_millis(5)).await.err(), Some(Refused::TimeOut));
    assert_eq!(levels.standing()[0].waiting, 0, "who gave up does not wait");

    let wait = |flow: &str| {
        let (levels, flow) = (levels.clone(), flow.to_owned());
        tokio::spawn(async move { levels.enter_as("l", ("s", &flow), Width::ONE, Duration::from_secs(20)).await })
    };
    let greedy: Vec<_> = (0..3).map(|_| wait("greedy")).collect();
    let settled = async |count| {
        while levels.standing()[0].waiting != count {
            tokio::task::yield_now().await;
        }
    };
    settled(3).await;
    assert_eq!(enter("greedy", Duration::from_secs(20)).await.err(), Some(Refused::QueueFull));
    // A flow in another queue gets its turn before the greedy one has had all of its own.
    let mut other = None;
    for number in 0..100 {
        let name = format!("modest-{number}");
        if enter(&name, Duration::ZERO).await.err() == Some(Refused::TimeOut) {
            other = Some(name);
            break;
        }
    }
    let modest = wait(&other.expect("a hundred flows share one queue"));
    settled(4).await;
    drop(first);
    drop(second);
    let modest = tokio::time::timeout(Duration::from_secs(20), modest).await.unwrap().unwrap().unwrap();
    assert_eq!(levels.standing()[0].executing, 2);
    drop(modest);
    for seat in greedy {
        drop(seat.await.unwrap().unwrap());
    }
    assert_eq!((levels.standing()[0].executing, levels.standing()[0].waiting), (0, 0));
}

/// One level with queues, and so many seats.
fn one_level(seats: usize) -> Levels {
    let levels = Levels::new(seats);
    let level: k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration = serde_json::from_value(json!({
        "metadata": { "name": "l" },
        "spec": { "type": "Limited", "limited": {
            "nominalConcurrencyShares": 1,
            "limitResponse": { "type": "Queue", "queuing": { "queues": 1, "handSize": 1, "queueLengthLimit": 9 } },
        } },
    }))
    .unwrap();
    levels.configure(&[level]);
    levels
}

#[tokio::test]
async fn who_wants_many_seats_waits_until_they_are_free_and_is_not_overtaken() {
    let levels = one_level(4);
    let wide = |seats| Width { seats, ..Width::ONE };
    let one = levels.enter_as("l", ("s", "a"), wide(2), Duration::ZERO).await.unwrap();
    let wait = |seats| {
        let levels = levels.clone();
        tokio::spawn(async move { levels.enter_as("l", ("s", "b"), wide(seats), Duration::from_secs(20)).await })
    };
    let settled = async |executing, waiting| loop {
        let now = levels.standing().remove(0);
        if (now.executing, now.waiting) == (executing, waiting) {
            break;
        }
        tokio::task::yield_now().await;
    };
    let three = wait(3);
    settled(2, 1).await;
    let small = wait(1);
    settled(2, 2).await;
    drop(one);
    settled(4, 0).await;
    drop((three.await.unwrap().unwrap(), small.await.unwrap().unwrap()));
    settled(0, 0).await;
}

#[tokio::test]
async fn a_write_that_many_watch_keeps_its_seats_for_a_while() {
    let levels = one_level(4);
    let width = width::of_write(20, 4);
    assert_eq!(width, Width { seats: 2, after: Duration::from_millis(5) });
    drop(levels.enter_as("l", ("s", "a"), width, Duration::ZERO).await.unwrap());
    // Nothing else runs before this test waits.
    assert_eq!(levels.standing()[0].executing, 2);
    while levels.standing()[0].executing > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn it_costs_next_to_nothing() {
    let fairness = Fairness::default();
    let alice = user("alice", &["developers", "system:authenticated"]);
    let begin = Instant::now();
    let rounds = 10_000;
    for _ in 0..rounds {
        let flow = fairness.classify(&digest(&alice, "list", "pods", "a")).unwrap();
        drop(fairness.enter(&flow, Width::ONE).await.unwrap());
    }
    let each = begin.elapsed() / rounds;
    // Not optimized, and on a busy machine; optimized it is below a microsecond.
    assert!(each < Duration::from_micros(200), "{each:?} a request");
}
