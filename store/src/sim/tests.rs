#![allow(clippy::unwrap_used)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use super::{Mutant, world::World};

/// Seeds of an ordinary run.
const SEEDS: u64 = 24;

fn members(seed: u64) -> u64 {
    [3, 3, 5, 3, 3, 5, 3, 1][seed as usize % 8]
}

fn run(seed: u64, mutant: Option<Mutant>) -> (u64, World) {
    let mut world = World::new(seed, members(seed), mutant);
    let trace = world.run();
    (trace, world)
}

fn seeds() -> Vec<u64> {
    match std::env::var("KUBELAB_SEED") {
        Ok(seed) => vec![seed.parse().unwrap()],
        Err(_) => {
            let seeds = std::env::var("KUBELAB_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
            (1..=seeds).collect()
        }
    }
}

#[test]
fn simulation() {
    let mut installed = 0;
    for seed in seeds() {
        let result = catch_unwind(|| run(seed, None));
        let Ok((_, world)) = result else { panic!("KUBELAB_SEED={seed} fails") };
        println!("seed {seed}: {:?}", world.tally);
        installed += world.tally.snapshots;
    }
    assert!(installed > 0 || seeds().len() == 1, "no snapshot was ever sent");
}

#[test]
fn a_seed_always_leads_to_the_same_run() {
    for seed in [3, 6] {
        assert_eq!(run(seed, None).0, run(seed, None).0);
    }
    assert_ne!(run(3, None).0, run(7, None).0);
}

/// Runs seeds until one fails.
fn is_caught(mutant: Mutant, seeds: u64) -> bool {
    let caught = (1..=seeds).find(|seed| catch_unwind(AssertUnwindSafe(|| run(*seed, Some(mutant)))).is_err());
    println!("{mutant:?}: {caught:?}");
    caught.is_some()
}

#[test]
fn a_skipped_fsync_is_caught() {
    assert!(is_caught(Mutant::SkipFsync, 60));
}

#[test]
fn a_request_applied_twice_is_caught() {
    assert!(is_caught(Mutant::ApplyTwice, 60));
}

#[test]
fn a_dropped_event_is_caught() {
    assert!(is_caught(Mutant::DropEvent, 60));
}

#[test]
fn a_watch_that_begins_late_is_caught() {
    assert!(is_caught(Mutant::WatchLate, 60));
}
