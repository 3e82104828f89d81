//! The steps of a rolling update, as sums. Source: `pkg/controller/deployment/rolling.go` in Kubernetes.

use super::limits::Limits;

/// What a step needs to know of a replica set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Size {
    /// How many pods it is told to have.
    pub wanted: i32,
    /// How many of them are available.
    pub available: i32,
}

/// How large the new replica set may be now. `all` counts the pods that all replica sets want, the new one too.
pub fn grow_new(limits: Limits, new: i32, all: i32) -> i32 {
    if new >= limits.replicas {
        return limits.replicas;
    }
    let room = (limits.most() - all).max(0);
    new + room.min(limits.replicas - new)
}

/// How large the old replica sets, oldest first, may be now. First those pods go that are not available, as that costs
/// nothing; then as many others as can be missed. `None` when nothing may change.
pub fn shrink_old(limits: Limits, new: Size, old: &[Size]) -> Option<Vec<i32>> {
    let all: i32 = new.wanted + old.iter().map(|size| size.wanted).sum::<i32>();
    // The new set's unavailable pods count against the limit too: else a rollout that never becomes ready would take all.
    let can_go = all - limits.fewest() - (new.wanted - new.available);
    if can_go <= 0 {
        return None;
    }
    let mut left: Vec<i32> = old.iter().map(|size| size.wanted).collect();
    take(&mut left, can_go, |index, wanted| (wanted - old[index].available).max(0));
    let available: i32 = new.available + old.iter().map(|size| size.available).sum::<i32>();
    take(&mut left, available - limits.fewest(), |_, wanted| wanted);
    let changed = left.iter().zip(old).any(|(left, size)| *left != size.wanted);
    changed.then_some(left)
}

fn take(sizes: &mut [i32], mut budget: i32, at_most: impl Fn(usize, i32) -> i32) {
    for (index, size) in sizes.iter_mut().enumerate() {
        if budget <= 0 {
            return;
        }
        let taken = at_most(index, *size).min(budget);
        *size -= taken;
        budget -= taken;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(replicas: i32, max_surge: i32, max_unavailable: i32) -> Limits {
        Limits { replicas, max_surge, max_unavailable }
    }

    fn size(wanted: i32, available: i32) -> Size {
        Size { wanted, available }
    }

    #[test]
    fn the_new_set_grows_into_the_room_there_is() {
        for (limits, new, all, expected, why) in [
            (limits(3, 1, 0), 0, 0, 3, "a first rollout takes all at once"),
            (limits(3, 1, 0), 0, 3, 1, "one surge"),
            (limits(3, 1, 0), 1, 4, 1, "no room"),
            (limits(10, 0, 2), 0, 10, 0, "old ones must go first"),
            (limits(10, 0, 2), 0, 8, 2, "they went"),
            (limits(10, 5, 0), 8, 12, 10, "never more than wanted"),
            (limits(3, 1, 0), 5, 5, 3, "too large: scaled down"),
            (limits(3, 1, 0), 0, 9, 0, "far too many"),
        ] {
            assert_eq!(grow_new(limits, new, all), expected, "{why}");
        }
    }

    #[test]
    fn old_sets_shrink_as_the_new_one_becomes_available() {
        for (limits, new, old, expected, why) in [
            (limits(3, 1, 0), size(1, 0), vec![size(3, 3)], None, "the new pod is not there yet"),
            (limits(3, 1, 0), size(1, 1), vec![size(3, 3)], Some(vec![2]), "it is"),
            (limits(10, 0, 2), size(0, 0), vec![size(10, 10)], Some(vec![8]), "two may be missing"),
            (limits(10, 0, 2), size(2, 0), vec![size(8, 8)], None, "two are missing"),
            (limits(10, 2, 2), size(4, 4), vec![size(8, 8)], Some(vec![4]), "down to the fewest"),
            (limits(3, 1, 0), size(1, 0), vec![size(2, 0), size(1, 1)], None, "nothing to miss"),
            (limits(10, 2, 2), size(4, 0), vec![size(8, 2)], None, "an unready rollout takes nothing that must stay"),
            (limits(10, 2, 2), size(2, 2), vec![size(5, 2), size(5, 5)], Some(vec![1, 5]), "unavailable pods go first"),
            (limits(0, 0, 0), size(0, 0), vec![size(3, 3)], Some(vec![0]), "scaled to nothing"),
            (limits(3, 1, 0), size(3, 3), vec![size(0, 0)], None, "done"),
        ] {
            assert_eq!(shrink_old(limits, new, &old), expected, "{why}");
        }
    }

    #[test]
    fn every_rollout_ends_and_never_breaks_its_limits() {
        for (replicas, max_surge, max_unavailable) in
            [(3, 1, 0), (10, 0, 1), (10, 3, 2), (1, 1, 0), (7, 7, 7), (5, 0, 5)]
        {
            let limits = limits(replicas, max_surge, max_unavailable);
            let (mut new, mut old) = (size(0, 0), vec![size(replicas, replicas)]);
            for _ in 0..200 {
                new.wanted = grow_new(limits, new.wanted, new.wanted + old[0].wanted);
                assert!(new.wanted + old[0].wanted <= limits.most());
                if let Some(left) = shrink_old(limits, new, &old) {
                    old[0] = size(left[0], old[0].available.min(left[0]));
                }
                assert!(new.available + old[0].available >= limits.fewest(), "{limits:?}");
                // One more pod becomes ready.
                new.available = (new.available + 1).min(new.wanted);
            }
            assert_eq!((new, old[0]), (size(replicas, replicas), size(0, 0)), "{limits:?}");
        }
    }
}
