//! Scaling while several replica sets have pods: each grows or shrinks by its share, so that a rollout half-way stays
//! half-way. Source: `scale` in `pkg/controller/deployment/sync.go` and `getReplicaSetFraction` in Kubernetes.

use std::cmp::Reverse;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::limits::Limits;

/// What the sum needs to know of a replica set that wants pods.
#[derive(Clone, Debug)]
pub struct Share {
    /// How many pods it wants.
    pub wanted: i32,
    /// How many its deployment might have had at most when it was scaled last, from an annotation.
    pub most_before: Option<i32>,
    /// When it was made.
    pub created: Option<Time>,
    /// Its name, to tell apart those made in the same second.
    pub name: String,
}

/// How many pods each replica set is to want. `present` is how many pods the deployment's status counts.
pub fn sizes(limits: Limits, present: i32, shares: &[Share]) -> Vec<i32> {
    let all: i32 = shares.iter().map(|share| share.wanted).sum();
    let allowed = if limits.replicas > 0 { limits.most() } else { 0 };
    let to_add = allowed - all;

    // The largest takes the rounding's rest. Of equals, the newest when there is something to add, else the oldest.
    let mut order: Vec<usize> = (0..shares.len()).collect();
    let age = |index: &usize| (shares[*index].created.clone(), shares[*index].name.clone());
    if to_add > 0 {
        order.sort_by_key(|index| (Reverse(shares[*index].wanted), Reverse(age(index))));
    } else {
        order.sort_by_key(|index| (Reverse(shares[*index].wanted), age(index)));
    }

    let mut sizes: Vec<i32> = shares.iter().map(|share| share.wanted).collect();
    let mut added = 0;
    for &index in &order {
        let part = part(limits, present, &shares[index], to_add - added);
        sizes[index] += part;
        added += part;
    }
    if let Some(&largest) = order.first() {
        sizes[largest] = (sizes[largest] + to_add - added).max(0);
    }
    sizes
}

fn part(limits: Limits, present: i32, share: &Share, left_to_add: i32) -> i32 {
    if share.wanted == 0 || left_to_add == 0 {
        return 0;
    }
    let fraction = fraction(limits, present, share);
    if left_to_add > 0 { fraction.min(left_to_add) } else { fraction.max(left_to_add) }
}

fn fraction(limits: Limits, present: i32, share: &Share) -> i32 {
    if limits.replicas == 0 {
        return -share.wanted;
    }
    let before = share.most_before.filter(|most| *most != 0).unwrap_or(present);
    if before == 0 {
        return 0;
    }
    let grown = f64::from(share.wanted) * f64::from(limits.most()) / f64::from(before);
    grown.round() as i32 - share.wanted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_takes_its_share() {
        let limits = |replicas, max_surge| Limits { replicas, max_surge, max_unavailable: 0 };
        for (limits, most_before, wanted, expected, why) in [
            (limits(30, 3), Some(13), vec![8, 5], vec![20, 13], "upstream's example: 10 with surge 3 to 30"),
            (limits(10, 0), Some(5), vec![3, 2], vec![6, 4], "doubled"),
            (limits(5, 0), Some(10), vec![6, 4], vec![3, 2], "halved"),
            (limits(0, 0), Some(10), vec![6, 4], vec![0, 0], "to nothing"),
            (limits(10, 0), Some(10), vec![6, 4], vec![6, 4], "nothing to do"),
            (limits(6, 0), Some(5), vec![3, 2], vec![4, 2], "the largest takes the rest"),
            (limits(20, 0), None, vec![5, 5], vec![10, 10], "without the annotation: by what is present"),
        ] {
            let shares: Vec<Share> = wanted
                .iter()
                .enumerate()
                .map(|(index, wanted)| Share { wanted: *wanted, most_before, created: None, name: index.to_string() })
                .collect();
            assert_eq!(sizes(limits, 10, &shares), expected, "{why}");
        }
    }
}
