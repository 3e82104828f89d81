//! Whole members over loopback gRPC, with logs on a real disk.

#![allow(clippy::disallowed_methods)] // see clippy.toml
#![allow(clippy::unwrap_used, missing_docs)]

mod group;

use std::time::{Duration, Instant};

use group::{Group, create, delete, put, scope};
use kubelab_store::{Change, Error, Key, Outcome, Precondition, Role, Write, members};

const IDLE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_member_serves_alone() {
    let mut group = Group::start(1).await;
    let store = group.member(1);
    assert_eq!(store.commit(create("pods", "a", "{}")).await.unwrap(), Outcome::Committed(1));
    let key = Key::new("pods", "a");
    let taken = store.commit(create("pods", "a", "{}")).await.unwrap();
    assert_eq!(taken, Outcome::Conflict(Precondition::Absent(key.clone()), Some(1)));
    assert_eq!(store.latest().await.unwrap().get(&key).unwrap().value, "1{}");
    group.stop(1).await;
    group.open(1).await;
    let state = group.member(1).latest().await.unwrap();
    assert_eq!((state.revision(), &state.get(&key).unwrap().value[..]), (1, &b"1{}"[..]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_member_takes_writes_and_serves_reads_and_watches() {
    let group = Group::start(3).await;
    let mut cursors: Vec<_> = (1..=3).map(|id| group.member(id).watch(scope("pods"), 0).unwrap()).collect();
    for round in 0..3 {
        for id in 1..=3 {
            let outcome = group.member(id).commit(put("pods", &format!("p{id}"), "{}")).await.unwrap();
            assert_eq!(outcome, Outcome::Committed(round * 3 + id));
            let other = group.member(id % 3 + 1);
            assert_eq!(other.latest().await.unwrap().revision(), round * 3 + id, "acknowledged, so seen everywhere");
        }
    }
    group.member(2).commit(delete("pods", "p1")).await.unwrap();
    for cursor in &mut cursors {
        let mut revisions = Vec::new();
        while revisions.len() < 10 {
            let batch = cursor.next(Duration::from_secs(5)).await.unwrap();
            revisions.extend(batch.events.iter().map(|event| event.revision));
            if let Some(Change::Delete { last, .. }) = batch.events.last().map(|event| &event.change) {
                assert_eq!(last.value, "10{}", "a removal carries its own revision");
            }
        }
        assert_eq!(revisions, (1..=10).collect::<Vec<_>>());
        let idle = cursor.next(IDLE).await.unwrap();
        assert!(idle.events.is_empty());
        assert_eq!(idle.revision, 10);
    }
    let record = group.member(3).journal().get(10).unwrap();
    assert_eq!(record.keys, [Key::new("pods", "p1")]);
    assert_eq!(group.member(3).journal().of_key(&Key::new("pods", "p1")).len(), 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_go_on_after_the_leader_stops() {
    let mut group = Group::start(3).await;
    group.member(1).commit(put("pods", "a", "{}")).await.unwrap();
    let leader = group.leader().await;
    group.stop(leader).await;
    let stopped = Instant::now();
    let rest = group.member(leader % 3 + 1);
    let outcome = rest.commit(put("pods", "a", "{}")).await.unwrap();
    assert_eq!(outcome, Outcome::Committed(2));
    assert!(stopped.elapsed() < Duration::from_secs(5), "{:?}", stopped.elapsed());
    group.open(leader).await;
    assert_eq!(group.member(leader).latest().await.unwrap().revision(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn watches_resume_without_a_gap_after_all_members_restart() {
    let mut group = Group::start(3).await;
    for name in ["a", "b", "c", "d"] {
        group.member(1).commit(put("pods", name, "{}")).await.unwrap();
    }
    for id in 1..=3 {
        group.member(id).at_least(4).await.unwrap();
    }
    for id in 1..=3 {
        group.stop(id).await;
    }
    for id in 1..=3 {
        group.open(id).await;
    }
    for id in 1..=3 {
        let store = group.member(id);
        store.at_least(4).await.unwrap();
        let mut cursor = store.watch(scope("pods"), 2).unwrap();
        let batch = cursor.next(Duration::from_secs(5)).await.unwrap();
        assert_eq!(batch.events.iter().map(|event| event.revision).collect::<Vec<_>>(), [3, 4]);
        assert_eq!(store.at(2).unwrap().len(), 2);
    }
    assert_eq!(group.member(2).commit(put("pods", "e", "{}")).await.unwrap(), Outcome::Committed(5));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_nothing_is_acknowledged() {
    let mut group = Group::start(3).await;
    group.member(1).commit(put("pods", "a", "{}")).await.unwrap();
    group.stop(2).await;
    group.stop(3).await;
    let store = group.member(1).clone();
    let mut member = store.member();
    member.wait_for(|member| member.role != Role::Leader).await.unwrap();
    let write = tokio::spawn({
        let store = store.clone();
        async move { store.commit(put("pods", "b", "{}")).await }
    });
    assert_eq!(store.local().len(), 1, "the past can still be read");
    assert!(matches!(store.watch(scope("pods"), 9), Err(Error::Future { asked: 9, .. })));
    group.open(2).await;
    assert_eq!(write.await.unwrap().unwrap(), Outcome::Committed(2), "it waits, and is done once there is a quorum");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_are_added_and_replaced_while_it_runs() {
    let mut group = Group::start(3).await;
    group.member(1).commit(put("pods", "a", "{}")).await.unwrap();
    group.join(4).await;
    let leader = group.leader().await;
    let other = leader % 3 + 1;
    group.member(other).change_members(members::Change::Remove { id: leader }).await.unwrap();
    group.stop(leader).await;
    let outcome = group.member(4).commit(put("pods", "b", "{}")).await.unwrap();
    assert_eq!(outcome, Outcome::Committed(2));
    let voters = group.member(4).member().borrow().voters.clone();
    assert_eq!(voters.len(), 3);
    assert!(voters.contains(&4) && !voters.contains(&leader));
    group.stop(4).await;
    group.open(4).await;
    assert_eq!(group.member(4).latest().await.unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_is_replaced_and_reads_nothing_stale() {
    let group = Group::start(3).await;
    group.member(1).commit(put("pods", "a", "{}")).await.unwrap();
    let old = group.leader().await;
    let store = group.member(old).clone();
    store.cut((1..=3).collect()).unwrap();
    let read = tokio::spawn(async move { store.latest().await });
    let other = group.member(old % 3 + 1);
    let mut member = other.member();
    member.wait_for(|member| member.leader != 0 && member.leader != old).await.unwrap();
    assert_eq!(other.commit(put("pods", "a", "{}")).await.unwrap(), Outcome::Committed(2));
    group.member(old).cut([].into()).unwrap();
    let state = read.await.unwrap().unwrap();
    assert!(state.revision() >= 1, "it waits for the new leader's word");
    assert_eq!(group.member(old).latest().await.unwrap().revision(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_expire_by_the_clock_that_is_given() {
    let mut group = Group::start(1).await;
    group.stop(1).await;
    group.open_with(1, |options| options.now_ms = || 1_000).await;
    let store = group.member(1);
    let mut events = store.watch(scope("events"), 0).unwrap();
    for (name, at) in [("old", 999), ("young", 1_001)] {
        let mut transaction = put("events", name, "{}");
        if let Write::Put { expires_ms, .. } = &mut transaction.writes[0] {
            *expires_ms = Some(at);
        }
        store.commit(transaction).await.unwrap();
    }
    let mut seen = Vec::new();
    while seen.len() < 3 {
        seen.extend(events.next(Duration::from_secs(5)).await.unwrap().events);
    }
    assert!(matches!(&seen[2].change, Change::Delete { last, .. } if last.value == "3{}"));
    assert_eq!((&*seen[2].key.name, &*seen[2].origin.note), ("old", "expired"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_was_away_for_long_is_sent_a_snapshot() {
    let mut group = Group::start(3).await;
    group.member(1).commit(put("pods", "first", "{}")).await.unwrap();
    group.member(3).at_least(1).await.unwrap();
    group.stop(3).await;
    let store = group.member(1);
    let writers = (0..64).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for round in 0..200 {
                store.commit(put("pods", &format!("p{writer}-{round}"), "{}")).await.unwrap();
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
    let newest = group.member(1).local().revision();
    assert_eq!(newest, 12_801);
    group.open(3).await;
    let state = group.member(3).latest().await.unwrap();
    assert_eq!((state.revision(), state.hash()), (newest, group.member(1).local().hash()));
    let behind = group.member(3).watch(scope("pods"), 1);
    let mut cursor = behind.expect("the snapshot brought the watch history along");
    let batch = cursor.next(Duration::from_secs(5)).await.unwrap();
    assert_eq!(batch.events[0].revision, 2);
    assert_eq!(group.member(3).journal().of_key(&Key::new("pods", "first")).len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_group_begins_with_what_another_saved() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("saved");
    let old = Group::start(1).await;
    for name in ["a", "b", "c"] {
        old.member(1).commit(put("pods", name, "{}")).await.unwrap();
    }
    assert_eq!(old.member(1).save(file.clone()).await.unwrap(), 3);
    assert!(matches!(old.member(1).save(file.clone()).await, Err(Error::Disk(_))), "nothing is overwritten");

    let mut new = Group::prepare(3);
    for id in 1..=3 {
        new.open_with(id, |options| options.restore = Some(file.clone())).await;
    }
    assert_eq!(new.member(2).commit(put("pods", "d", "{}")).await.unwrap(), Outcome::Committed(4));
    assert_eq!(new.member(1).at(3).unwrap().hash(), old.member(1).local().hash());
    new.stop(2).await;
    new.open_with(2, |options| options.restore = Some(file.clone())).await;
    assert_eq!(new.member(2).latest().await.unwrap().len(), 4, "the file counts only once");
}
