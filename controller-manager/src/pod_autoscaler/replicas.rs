//! How many replicas measurements call for. Source: `replica_calculator.go` in Kubernetes, and
//! <https://kubernetes.io/docs/tasks/run-application/horizontal-pod-autoscale/#algorithm-details>.

use std::collections::BTreeMap;

use super::pods::{Groups, Samples};

/// Values in thousandths, by the names of pods.
pub type Values = BTreeMap<String, i64>;

/// How far from the target a measurement may be without any change.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// Above it.
    pub up: f64,
    /// Below it.
    pub down: f64,
}

impl Tolerance {
    fn covers(self, ratio: f64) -> bool {
        (1.0 - self.down..=1.0 + self.up).contains(&ratio)
    }
}

/// What measurements call for.
#[derive(Clone, Debug, PartialEq)]
pub struct Proposal {
    /// So many replicas.
    pub replicas: i32,
    /// The measured value in thousandths, as the status shows it.
    pub usage: i64,
    /// The percentage of what was requested, where that is the target.
    pub utilization: Option<i32>,
}

impl Proposal {
    fn of(replicas: i32, usage: i64) -> Self {
        Self { replicas, usage, utilization: None }
    }
}

const NO_METRICS: &str = "did not receive metrics for targeted pods (pods might be unready)";
const NO_MATCH: &str = "no metrics returned matched known pods";

/// To a percentage of what the pods request. `requests` are in thousandths.
pub fn by_utilization(
    current: i32,
    target: i32,
    samples: &Samples,
    groups: &Groups,
    requests: &Values,
    tolerance: Tolerance,
) -> Result<Proposal, String> {
    let values = counted(samples, groups)?;
    let utilization = |values: &Values| -> Result<(i32, i64), &'static str> {
        let known = values.iter().filter_map(|(name, value)| Some((value, requests.get(name)?)));
        let (used, requested, count) = known.fold((0i64, 0i64, 0), |(used, requested, count), (value, request)| {
            (used.saturating_add(*value), requested.saturating_add(*request), count + 1)
        });
        let percent = used.saturating_mul(100).checked_div(requested).ok_or(NO_MATCH)?;
        Ok((i32::try_from(percent).unwrap_or(i32::MAX), used / count))
    };
    let ratio = |values: &Values| utilization(values).map(|(percent, _)| f64::from(percent) / f64::from(target));
    let (percent, usage) = utilization(&values)?;
    // On the way down a pod that was not measured counts as if it used all it requests, or its target if that is more.
    let missing = |ratio: f64, name: &str| {
        let request = requests.get(name).copied().unwrap_or(0);
        match ratio {
            ratio if ratio < 1.0 => Some(request.saturating_mul(i64::from(target.max(100))) / 100),
            ratio if ratio > 1.0 => Some(0),
            _ => None,
        }
    };
    let replicas = settle(current, values, groups, tolerance, &ratio, &missing)?;
    Ok(Proposal { replicas, usage, utilization: Some(percent) })
}

/// To an average value of a pod.
pub fn by_average(
    current: i32,
    target: i64,
    samples: &Samples,
    groups: &Groups,
    tolerance: Tolerance,
) -> Result<Proposal, String> {
    let values = counted(samples, groups)?;
    let average = |values: &Values| values.values().sum::<i64>() / values.len().max(1) as i64;
    let usage = average(&values);
    let ratio = |values: &Values| -> Result<f64, &'static str> { Ok(average(values) as f64 / target as f64) };
    let missing = |ratio: f64, _: &str| Some(if ratio < 1.0 { target } else { 0 });
    let replicas = settle(current, values, groups, tolerance, &ratio, &missing)?;
    Ok(Proposal::of(replicas, usage))
}

/// The values that count at first: not those of pods that start or end.
fn counted(samples: &Samples, groups: &Groups) -> Result<Values, String> {
    let counts = |name: &String| !groups.ignored.contains(name) && !groups.unready.contains(name);
    let values: Values =
        samples.iter().filter(|(name, _)| counts(name)).map(|(name, sample)| (name.clone(), sample.value)).collect();
    if values.is_empty() { Err(NO_METRICS.to_owned()) } else { Ok(values) }
}

/// The number of replicas, carefully: what was not measured is taken for what makes the change smaller, and the change
/// never turns around by that.
fn settle(
    current: i32,
    mut values: Values,
    groups: &Groups,
    tolerance: Tolerance,
    ratio: &dyn Fn(&Values) -> Result<f64, &'static str>,
    missing: &dyn Fn(f64, &str) -> Option<i64>,
) -> Result<i32, String> {
    let first = ratio(&values)?;
    let up_with_unready = !groups.unready.is_empty() && first > 1.0;
    if !up_with_unready && groups.missing.is_empty() {
        return Ok(if tolerance.covers(first) { current } else { ceil(first * groups.ready as f64) });
    }
    for name in &groups.missing {
        if let Some(value) = missing(first, name) {
            values.insert(name.clone(), value);
        }
    }
    if up_with_unready {
        values.extend(groups.unready.iter().map(|name| (name.clone(), 0)));
    }
    let second = ratio(&values)?;
    let turns = (first < 1.0 && second > 1.0) || (first > 1.0 && second < 1.0);
    let replicas = ceil(second * values.len() as f64);
    let runs_away = (second < 1.0 && replicas > current) || (second > 1.0 && replicas < current);
    Ok(if tolerance.covers(second) || turns || runs_away { current } else { replicas })
}

/// To a value of something else than pods, which so many ready pods bring about.
pub fn by_value(current: i32, target: i64, usage: i64, ready: Option<usize>, tolerance: Tolerance) -> Proposal {
    let ratio = usage as f64 / target as f64;
    let replicas = match ready {
        _ if current == 0 => ceil(ratio),
        _ if tolerance.covers(ratio) => current,
        ready => ceil(ratio * ready.unwrap_or(0) as f64),
    };
    Proposal::of(replicas, usage)
}

/// To a value of something else than pods, shared among them.
pub fn by_share(observed: i32, target: i64, usage: i64, tolerance: Tolerance) -> Proposal {
    let ratio = usage as f64 / (target as f64 * f64::from(observed));
    let replicas = if tolerance.covers(ratio) { observed } else { ceil(usage as f64 / target as f64) };
    // As in Go: what is shared among nobody is beyond all numbers.
    let share = (usage as f64 / f64::from(observed)).ceil();
    Proposal::of(replicas, share as i64)
}

fn ceil(replicas: f64) -> i32 {
    // A conversion from a float stays within the bounds of the integer.
    replicas.ceil() as i32
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use jiff::{SignedDuration, Timestamp};

    use super::{super::pods::Sample, *};

    const TOLERANCE: Tolerance = Tolerance { up: 0.1, down: 0.1 };

    fn samples(values: &[i64]) -> Samples {
        let sample = |value| Sample { value, at: Timestamp::UNIX_EPOCH, window: SignedDuration::ZERO };
        values.iter().enumerate().map(|(i, value)| (format!("p{i}"), sample(*value))).collect()
    }

    fn names(prefix: &str, count: usize) -> Vec<String> {
        (0..count).map(|i| format!("{prefix}{i}")).collect()
    }

    /// Of pods that are measured, not ready, and not measured.
    fn groups(ready: usize, unready: usize, missing: usize) -> Groups {
        Groups { ready, unready: names("u", unready), missing: names("m", missing), ignored: Vec::new() }
    }

    fn requests(request: i64) -> Values {
        ["p", "u", "m"].iter().flat_map(|prefix| names(prefix, 10)).map(|name| (name, request)).collect()
    }

    /// The tables of upstream's `replica_calculator_test.go`, in other words.
    #[test]
    fn utilization_decides_as_documented() {
        for (why, current, target, values, groups, expected, percent) in [
            ("up", 3, 30, &[300, 500, 700][..], groups(3, 0, 0), 5, 50),
            ("down", 5, 50, &[100, 300, 500, 250, 250], groups(5, 0, 0), 3, 28),
            ("within the tolerance", 3, 100, &[1010, 1030, 1020], groups(3, 0, 0), 3, 102),
            ("up, two are not ready", 3, 30, &[400], groups(1, 2, 0), 3, 40),
            ("up, one is not ready", 3, 30, &[300, 500, 700], groups(3, 1, 0), 5, 50),
            ("down: who is not ready does not matter", 5, 50, &[100, 300, 500], groups(3, 2, 0), 2, 30),
            ("down, missing ones count fully", 4, 50, &[100, 100, 100], groups(3, 0, 1), 3, 10),
            ("up, missing ones count as idle", 4, 50, &[1000, 1000], groups(2, 0, 2), 4, 100),
            ("missing ones would turn it around", 2, 50, &[450], groups(1, 0, 1), 2, 45),
        ] {
            let found = by_utilization(current, target, &samples(values), &groups, &requests(1000), TOLERANCE).unwrap();
            assert_eq!((found.replicas, found.utilization), (expected, Some(percent)), "{why}");
        }
    }

    #[test]
    fn an_average_decides_in_the_same_way() {
        for (why, current, target, values, groups, expected, usage) in [
            ("up", 3, 15_000, &[20_000, 10_000, 30_000][..], groups(3, 0, 0), 4, 20_000),
            ("down", 5, 20_000, &[12_000; 5], groups(5, 0, 0), 3, 12_000),
            ("within the tolerance", 3, 20_000, &[19_000, 21_000, 20_000], groups(3, 0, 0), 3, 20_000),
            ("up, one is not ready", 3, 15_000, &[50_000, 30_000], groups(2, 1, 0), 6, 40_000),
            ("down, one is missing", 3, 20_000, &[5_000, 5_000], groups(2, 0, 1), 2, 5_000),
        ] {
            let found = by_average(current, target, &samples(values), &groups, TOLERANCE).unwrap();
            assert_eq!((found.replicas, found.usage), (expected, usage), "{why}");
        }
    }

    #[test]
    fn without_measurements_nothing_is_decided() {
        let none = groups(0, 2, 0);
        assert_eq!(by_average(2, 1, &Samples::new(), &none, TOLERANCE).unwrap_err(), NO_METRICS);
        let strangers = by_utilization(2, 50, &samples(&[100]), &groups(1, 0, 0), &Values::new(), TOLERANCE);
        assert_eq!(strangers.unwrap_err(), NO_MATCH);
    }

    #[test]
    fn other_values_are_for_the_ready_pods_or_shared_among_all() {
        for (current, target, usage, ready, expected) in [
            (3, 15_000, 20_000, Some(3), 4),
            (3, 15_000, 15_500, Some(3), 3),
            (0, 10_000, 25_000, None, 3),
            (2, 10_000, 0, Some(2), 0),
        ] {
            assert_eq!(by_value(current, target, usage, ready, TOLERANCE).replicas, expected, "{usage} of {target}");
        }
        for (observed, target, usage, expected, share) in
            [(3, 2_149, 8_600, 5, 2_867), (4, 2_000, 8_600, 4, 2_150), (5, 2_000, 4_000, 2, 800)]
        {
            let found = by_share(observed, target, usage, TOLERANCE);
            assert_eq!((found.replicas, found.usage), (expected, share), "{usage} at {target} each");
        }
    }

    #[test]
    fn each_direction_has_a_tolerance_of_its_own() {
        let eager = Tolerance { up: 0.0, down: 0.5 };
        let decide = |values: &[i64]| by_average(2, 1000, &samples(values), &groups(2, 0, 0), eager).unwrap().replicas;
        assert_eq!((decide(&[1001, 1001]), decide(&[600, 600]), decide(&[400, 400])), (3, 2, 1));
    }
}
