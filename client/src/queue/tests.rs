use std::collections::HashSet;

use tokio::time::{advance, timeout};

use super::*;

const MS: Duration = Duration::from_millis(1);

fn queue() -> Queue<&'static str> {
    Queue::new("test")
}

fn because(revision: u64) -> Cause {
    Cause { revision, trace_id: String::new() }
}

async fn nothing_waits(queue: &Queue<&'static str>) -> bool {
    timeout(Duration::ZERO, queue.next()).await.is_err()
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_once_with_its_first_cause() {
    let queue = queue();
    because(1).sync_scope(|| queue.add("a"));
    because(2).sync_scope(|| queue.add("a"));
    queue.add("b");
    assert_eq!(queue.len(), 2);
    assert_eq!(queue.next().await, ("a", because(1)));
    assert_eq!(queue.next().await.0, "b");
    assert!(nothing_waits(&queue).await);
}

#[tokio::test(start_paused = true)]
async fn a_key_is_not_worked_on_twice_at_once() {
    let queue = queue();
    queue.add("a");
    queue.next().await;
    because(7).sync_scope(|| queue.add("a"));
    assert!(nothing_waits(&queue).await, "its worker is not done");
    queue.done(&"a");
    assert_eq!(queue.next().await, ("a", because(7)));
    queue.done(&"a");
    assert!(nothing_waits(&queue).await);
}

#[tokio::test(start_paused = true)]
async fn delayed_keys_come_when_due_and_the_earlier_delay_holds() {
    let queue = queue();
    queue.add_after("late", 50 * MS);
    queue.add_after("early", 10 * MS);
    queue.add_after("late", 20 * MS);
    queue.add_after("early", 90 * MS);
    let start = clock::instant();
    assert_eq!((queue.next().await.0, clock::instant() - start), ("early", 10 * MS));
    assert_eq!((queue.next().await.0, clock::instant() - start), ("late", 20 * MS));
    queue.done(&"early");
    queue.done(&"late");
    assert!(timeout(200 * MS, queue.next()).await.is_err(), "outdated delays do not count");
}

#[tokio::test(start_paused = true)]
async fn an_earlier_key_wakes_a_worker_that_waits_for_a_later_one() {
    let queue = queue();
    queue.add_after("late", 1000 * MS);
    let worker = tokio::spawn({
        let queue = queue.clone();
        async move { queue.next().await.0 }
    });
    tokio::task::yield_now().await;
    queue.add_after("early", 10 * MS);
    let start = clock::instant();
    assert_eq!(worker.await.unwrap(), "early");
    assert_eq!(clock::instant() - start, 10 * MS);
}

#[tokio::test(start_paused = true)]
async fn failures_lengthen_the_wait_until_forgotten() {
    let queue = queue();
    for (failures, wait) in [(1, 5), (2, 10), (3, 20), (4, 40)] {
        queue.add_failed("a");
        assert_eq!(queue.failures(&"a"), failures);
        let start = clock::instant();
        queue.next().await;
        assert_eq!(clock::instant() - start, wait * MS);
        queue.done(&"a");
    }
    queue.forget(&"a");
    queue.add_failed("a");
    assert_eq!(queue.failures(&"a"), 1);
    for _ in 0..70 {
        queue.add_failed("b");
    }
    advance(LAST_BACKOFF).await;
    queue.next().await;
    queue.next().await;
}

#[tokio::test(start_paused = true)]
async fn two_keys_added_at_once_wake_two_workers() {
    let queue = queue();
    let worker = || {
        let queue = queue.clone();
        tokio::spawn(async move { queue.next().await.0 })
    };
    let (one, two) = (worker(), worker());
    queue.add("a");
    queue.add("b");
    let both = async { HashSet::from([one.await.unwrap(), two.await.unwrap()]) };
    assert_eq!(timeout(MS, both).await.unwrap(), HashSet::from(["a", "b"]));
}
