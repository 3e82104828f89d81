//! Which node is the best to make room on.

use std::{cmp::Reverse, sync::Arc};

use jiff::Timestamp;

use crate::framework::PodInfo;

/// A node on which room can be made.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The node's place in the snapshot.
    pub place: usize,
    /// The pods that must go, the most important first.
    pub victims: Vec<Arc<PodInfo>>,
    /// How many of them a disruption budget would keep.
    pub violations: usize,
}

/// When a pod began to run; one that does not say counts as just now.
pub fn started(pod: &PodInfo) -> Timestamp {
    let start = pod.pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    start.map_or(Timestamp::MAX, |start| start.0)
}

/// More important pods sort first: by priority, and among equals those that run longer. Source: `MoreImportantPod`.
pub fn importance(pod: &PodInfo) -> (Reverse<i32>, Timestamp) {
    (Reverse(pod.priority), started(pod))
}

/// The candidate with the fewest violated budgets; of those the one whose most important victim is least important; with
/// the lowest sum of priorities; with the fewest victims; whose most important victims have run for the shortest time; the
/// first. Source: `pickOneNodeForPreemption`.
pub fn best(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates.into_iter().min_by_key(cost)
}

fn cost(candidate: &Candidate) -> (usize, i64, i64, usize, Reverse<Timestamp>) {
    let victims = &candidate.victims;
    let priorities = || victims.iter().map(|victim| i64::from(victim.priority));
    let highest = priorities().max().unwrap_or(i64::MIN);
    // Shifted to be positive, so that more victims of a negative priority are not better than fewer.
    let sum = priorities().map(|priority| priority + i64::from(i32::MAX) + 1).sum();
    let longest = victims.iter().filter(|victim| i64::from(victim.priority) == highest).map(|victim| started(victim));
    (candidate.violations, highest, sum, victims.len(), Reverse(longest.min().unwrap_or(Timestamp::MAX)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::object;

    fn candidate(place: usize, violations: usize, victims: &[(i32, &str)]) -> Candidate {
        let victim = |(priority, minute): &(i32, &str)| {
            Arc::new(PodInfo::new(object(json!({
                "spec": { "priority": priority, "containers": [] },
                "status": { "startTime": format!("2026-01-01T00:{minute}:00Z") },
            }))))
        };
        Candidate { place, violations, victims: victims.iter().map(victim).collect() }
    }

    #[test]
    fn the_least_harm_is_chosen() {
        for (what, candidates, expected) in [
            ("budgets", vec![candidate(0, 1, &[(1, "00")]), candidate(1, 0, &[(9, "00"), (9, "00")])], 1),
            ("the highest priority", vec![candidate(0, 0, &[(9, "00")]), candidate(1, 0, &[(8, "00"), (8, "00")])], 1),
            ("the sum", vec![candidate(0, 0, &[(9, "00"), (5, "00")]), candidate(1, 0, &[(9, "00"), (1, "00")])], 1),
            ("the number", vec![candidate(0, 0, &[(0, "00"), (-5, "00")]), candidate(1, 0, &[(0, "00")])], 1),
            ("the shortest run", vec![candidate(0, 0, &[(0, "00")]), candidate(1, 0, &[(0, "30")])], 1),
            ("the first", vec![candidate(0, 0, &[(0, "00")]), candidate(1, 0, &[(0, "00")])], 0),
        ] {
            assert_eq!(best(candidates).unwrap().place, expected, "{what}");
        }
        assert!(best(Vec::new()).is_none());
    }
}
