//! How fast an autoscaler may go where its measurements lead. Source: `normalizeDesiredReplicas` and
//! `normalizeDesiredReplicasWithBehaviors` in Kubernetes' `horizontal.go` (KEP-853).

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::autoscaling::v2::{HPAScalingPolicy, HPAScalingRules, HorizontalPodAutoscalerBehavior};

/// So long the highest recommendation holds on the way down, where nothing else is asked for.
/// Source: `HorizontalPodAutoscalerDownscaleStabilizationWindow` in the controller manager's defaults.
const WINDOW: SignedDuration = SignedDuration::from_mins(5);
/// No recommendation is kept for longer. Source: `MaxStabilizationWindowSeconds`.
const MOST: SignedDuration = SignedDuration::from_hours(1);

/// What an autoscaler has recommended and done lately.
#[derive(Clone, Debug, Default)]
pub struct History {
    recommendations: Vec<(Timestamp, i32)>,
    added: Vec<(Timestamp, i32)>,
    removed: Vec<(Timestamp, i32)>,
}

impl History {
    /// Begins with what there is, so that a new process does not scale down at once.
    pub fn begin(&mut self, replicas: i32, now: Timestamp) {
        if self.recommendations.is_empty() {
            self.recommendations.push((now, replicas));
        }
    }

    /// Notes a change, for the policies of a behavior.
    pub fn note_change(&mut self, from: i32, to: i32, now: Timestamp) {
        let change = (now, (to - from).abs());
        if to > from {
            self.added.push(change)
        } else {
            self.removed.push(change)
        }
        let keep = |changes: &mut Vec<(Timestamp, i32)>| changes.retain(|(at, _)| now.duration_since(*at) <= MOST);
        keep(&mut self.added);
        keep(&mut self.removed);
    }

    fn recommend(&mut self, replicas: i32, keep: SignedDuration, now: Timestamp) {
        self.recommendations.retain(|(at, _)| now.duration_since(*at) <= keep);
        self.recommendations.push((now, replicas));
    }

    fn within(&self, window: SignedDuration, now: Timestamp) -> impl Iterator<Item = i32> + '_ {
        let is_recent = move |at: &Timestamp| now.duration_since(*at) < window;
        self.recommendations.iter().filter(move |(at, _)| is_recent(at)).map(|(_, replicas)| *replicas)
    }
}

/// The bounds of an autoscaler, and where it stands.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The fewest replicas.
    pub min: i32,
    /// The most.
    pub max: i32,
    /// How many there are to be at present.
    pub current: i32,
}

/// Why replicas are as they are: a condition's reason and message.
pub type Why = (&'static str, &'static str);

/// The number of replicas to have now, and what the conditions say of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// So many.
    pub replicas: i32,
    /// For AbleToScale.
    pub able: Why,
    /// For ScalingLimited: whether it is, and why.
    pub limited: (bool, Why),
}

const READY: Why = ("ReadyForNewScale", "recommended size matches current size");
const DOWN_STABILIZED: Why = (
    "ScaleDownStabilized",
    "recent recommendations were higher than current one, applying the highest recent recommendation",
);
const UP_STABILIZED: Why = (
    "ScaleUpStabilized",
    "recent recommendations were lower than current one, applying the lowest recent recommendation",
);
const WITHIN: Why = ("DesiredWithinRange", "the desired count is within the acceptable range");
const TOO_FEW: Why = ("TooFewReplicas", "the desired replica count is less than the minimum replica count");
const TOO_MANY: Why = ("TooManyReplicas", "the desired replica count is more than the maximum replica count");
const UP_LIMIT: Why = ("ScaleUpLimit", "the desired replica count is increasing faster than the maximum scale rate");
const DOWN_LIMIT: Why =
    ("ScaleDownLimit", "the desired replica count is decreasing faster than the maximum scale rate");

/// Where to go now, when the measurements call for `desired`.
pub fn step(
    bounds: Bounds,
    desired: i32,
    behavior: Option<&HorizontalPodAutoscalerBehavior>,
    history: &mut History,
    now: Timestamp,
) -> Step {
    let (stable, able) = match behavior {
        None => stabilize_down(desired, history, now),
        Some(behavior) => stabilize(bounds.current, desired, behavior, history, now),
    };
    let able = if stable == desired { READY } else { able };
    let (replicas, why) = match behavior {
        None => limit(bounds, stable),
        Some(behavior) => limit_by(bounds, stable, behavior, history, now),
    };
    Step { replicas, able, limited: (replicas != stable, why) }
}

fn stabilize_down(desired: i32, history: &mut History, now: Timestamp) -> (i32, Why) {
    let highest = history.within(WINDOW, now).max().unwrap_or(desired).max(desired);
    history.recommend(desired, WINDOW, now);
    (highest, DOWN_STABILIZED)
}

fn stabilize(
    current: i32,
    desired: i32,
    behavior: &HorizontalPodAutoscalerBehavior,
    history: &mut History,
    now: Timestamp,
) -> (i32, Why) {
    let window = |rules: &Option<HPAScalingRules>, default: SignedDuration| {
        let seconds = rules.as_ref().and_then(|rules| rules.stabilization_window_seconds);
        seconds.map_or(default, |seconds| SignedDuration::from_secs(seconds.into()))
    };
    let (up, down) = (window(&behavior.scale_up, SignedDuration::ZERO), window(&behavior.scale_down, WINDOW));
    let lowest = history.within(up, now).min().unwrap_or(desired).min(desired);
    let highest = history.within(down, now).max().unwrap_or(desired).max(desired);
    history.recommend(desired, up.max(down), now);
    let why = if desired >= current { UP_STABILIZED } else { DOWN_STABILIZED };
    // Not below what was always called for, nor above what was ever called for.
    (current.max(lowest).min(highest), why)
}

/// At most twice as many at once, or four.
fn limit(bounds: Bounds, desired: i32) -> (i32, Why) {
    let fast = bounds.current.saturating_mul(2).max(4);
    let (most, why) = if bounds.max > fast { (fast, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
    if desired < bounds.min {
        (bounds.min, TOO_FEW)
    } else if desired > most {
        (most, why)
    } else {
        (desired, WITHIN)
    }
}

fn limit_by(
    bounds: Bounds,
    desired: i32,
    behavior: &HorizontalPodAutoscalerBehavior,
    history: &History,
    now: Timestamp,
) -> (i32, Why) {
    let current = bounds.current;
    if desired > current {
        let fast = up_limit(current, behavior.scale_up.as_ref(), history, now).max(current);
        let (most, why) = if bounds.max > fast { (fast, UP_LIMIT) } else { (bounds.max, TOO_MANY) };
        if desired > most { (most, why) } else { (desired, WITHIN) }
    } else if desired < current {
        let fast = down_limit(current, behavior.scale_down.as_ref(), history, now).min(current);
        let (fewest, why) = if bounds.min < fast { (fast, DOWN_LIMIT) } else { (bounds.min, TOO_FEW) };
        if desired < fewest { (fewest, why) } else { (desired, WITHIN) }
    } else {
        (desired, WITHIN)
    }
}

fn up_limit(current: i32, rules: Option<&HPAScalingRules>, history: &History, now: Timestamp) -> i32 {
    // Rounded up, as a share of few would otherwise be no change for ever.
    let raised = |start: i32, percent: i32| (f64::from(start) * (1.0 + f64::from(percent) / 100.0)).ceil() as i32;
    let bound = |start: i32, policy: &HPAScalingPolicy| match policy.type_.as_str() {
        "Percent" => raised(start, policy.value),
        _ => start.saturating_add(policy.value),
    };
    let bounds = policies(current, rules, history, now, &bound);
    match select(rules) {
        "Disabled" => current,
        "Min" => bounds.into_iter().min().unwrap_or(i32::MAX),
        _ => bounds.into_iter().max().unwrap_or(i32::MIN),
    }
}

fn down_limit(current: i32, rules: Option<&HPAScalingRules>, history: &History, now: Timestamp) -> i32 {
    let lowered = |start: i32, percent: i32| (f64::from(start) * (1.0 - f64::from(percent) / 100.0)) as i32;
    let bound = |start: i32, policy: &HPAScalingPolicy| match policy.type_.as_str() {
        "Percent" => lowered(start, policy.value),
        _ => start.saturating_sub(policy.value),
    };
    let bounds = policies(current, rules, history, now, &bound);
    match select(rules) {
        "Disabled" => current,
        // The smallest change leaves the most.
        "Min" => bounds.into_iter().max().unwrap_or(i32::MIN),
        _ => bounds.into_iter().min().unwrap_or(i32::MAX),
    }
}

fn select(rules: Option<&HPAScalingRules>) -> &str {
    rules.and_then(|rules| rules.select_policy.as_deref()).unwrap_or("Max")
}

/// The bound that each policy gives, from the number at the start of its period.
fn policies(
    current: i32,
    rules: Option<&HPAScalingRules>,
    history: &History,
    now: Timestamp,
    bound: &dyn Fn(i32, &HPAScalingPolicy) -> i32,
) -> Vec<i32> {
    let of = |policy: &HPAScalingPolicy| {
        let period = SignedDuration::from_secs(policy.period_seconds.into());
        let changed = |changes: &[(Timestamp, i32)]| -> i32 {
            changes.iter().filter(|(at, _)| now.duration_since(*at) < period).map(|(_, change)| change).sum()
        };
        bound(current - changed(&history.added) + changed(&history.removed), policy)
    };
    rules.and_then(|rules| rules.policies.as_ref()).into_iter().flatten().map(of).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + second).unwrap()
    }

    fn behavior(value: Value) -> HorizontalPodAutoscalerBehavior {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn without_a_behavior_it_goes_up_at_once_and_down_late() {
        let bounds = |current| Bounds { min: 2, max: 20, current };
        for (why, current, desired, recent, replicas, able, limited) in [
            ("up", 3, 5, vec![], 5, READY, (false, WITHIN)),
            ("up, but not more than twice", 3, 15, vec![], 6, READY, (true, UP_LIMIT)),
            ("four are always allowed", 1, 9, vec![], 4, READY, (true, UP_LIMIT)),
            ("up to the most", 15, 40, vec![], 20, READY, (true, TOO_MANY)),
            ("down", 5, 3, vec![], 3, READY, (false, WITHIN)),
            ("down to the fewest", 5, 1, vec![], 2, READY, (true, TOO_FEW)),
            (
                "down, but more was called for lately",
                5,
                3,
                vec![(200, 5), (100, 4)],
                5,
                DOWN_STABILIZED,
                (false, WITHIN),
            ),
            ("that was long ago", 5, 3, vec![(301, 5), (100, 4)], 4, DOWN_STABILIZED, (false, WITHIN)),
        ] {
            let recommendations = recent.into_iter().map(|(ago, replicas)| (at(-ago), replicas)).collect();
            let mut history = History { recommendations, ..History::default() };
            let step = step(bounds(current), desired, None, &mut history, at(0));
            assert_eq!(step, Step { replicas, able, limited }, "{why}");
        }
    }

    #[test]
    fn a_behavior_sets_the_pace() {
        let pods = |value: i32, period: i32| json!({"type": "Pods", "value": value, "periodSeconds": period});
        let percent = |value: i32, period: i32| json!({"type": "Percent", "value": value, "periodSeconds": period});
        let rules = |select: &str, policies: Vec<Value>| json!({"stabilizationWindowSeconds": 0, "selectPolicy": select, "policies": policies});
        for (why, up, down, current, desired, changed, replicas, limited) in [
            ("two a minute", rules("Max", vec![pods(2, 60)]), json!(null), 5, 10, vec![], 7, (true, UP_LIMIT)),
            ("one was added", rules("Max", vec![pods(2, 60)]), json!(null), 6, 10, vec![(30, 1)], 7, (true, UP_LIMIT)),
            ("but earlier", rules("Max", vec![pods(2, 60)]), json!(null), 6, 10, vec![(61, 1)], 8, (true, UP_LIMIT)),
            (
                "the greater",
                rules("Max", vec![pods(2, 60), percent(100, 60)]),
                json!(null),
                5,
                20,
                vec![],
                10,
                (true, UP_LIMIT),
            ),
            (
                "the smaller",
                rules("Min", vec![pods(2, 60), percent(100, 60)]),
                json!(null),
                5,
                20,
                vec![],
                7,
                (true, UP_LIMIT),
            ),
            ("never", rules("Disabled", vec![pods(2, 60)]), json!(null), 5, 20, vec![], 5, (true, UP_LIMIT)),
            ("rounded up", rules("Max", vec![percent(10, 60)]), json!(null), 5, 20, vec![], 6, (true, UP_LIMIT)),
            ("the most", rules("Max", vec![pods(50, 60)]), json!(null), 28, 40, vec![], 30, (true, TOO_MANY)),
            ("down by share", json!(null), rules("Max", vec![percent(25, 60)]), 10, 2, vec![], 7, (true, DOWN_LIMIT)),
            (
                "some were removed",
                json!(null),
                rules("Max", vec![pods(4, 60)]),
                8,
                2,
                vec![(10, -2)],
                6,
                (true, DOWN_LIMIT),
            ),
            (
                "the smallest step down",
                json!(null),
                rules("Min", vec![pods(4, 60), pods(1, 60)]),
                8,
                2,
                vec![],
                7,
                (true, DOWN_LIMIT),
            ),
            ("never down", json!(null), rules("Disabled", vec![pods(4, 60)]), 8, 2, vec![], 8, (true, DOWN_LIMIT)),
            ("the fewest", json!(null), rules("Max", vec![pods(9, 60)]), 5, 0, vec![], 1, (true, TOO_FEW)),
            ("as wanted", json!(null), rules("Max", vec![pods(9, 60)]), 5, 4, vec![], 4, (false, WITHIN)),
        ] {
            let mut history = History::default();
            for (ago, change) in changed {
                history.note_change(0, change, at(-ago));
            }
            let behavior = behavior(json!({"scaleUp": up, "scaleDown": down}));
            let bounds = Bounds { min: 1, max: 30, current };
            let step = step(bounds, desired, Some(&behavior), &mut history, at(0));
            assert_eq!((step.replicas, step.limited), (replicas, limited), "{why}");
        }
    }

    #[test]
    fn windows_hold_both_directions() {
        let windows = |up: i32, down: i32| {
            let policies = json!([{"type": "Pods", "value": 100, "periodSeconds": 60}]);
            behavior(json!({"scaleUp": {"stabilizationWindowSeconds": up, "policies": policies},
                "scaleDown": {"stabilizationWindowSeconds": down, "policies": policies}}))
        };
        for (why, up, down, current, desired, recent, replicas, able) in [
            ("up waits", 60, 0, 5, 9, vec![(30, 6)], 6, UP_STABILIZED),
            ("up has waited", 60, 0, 5, 9, vec![(61, 6)], 9, READY),
            ("down waits", 0, 60, 5, 2, vec![(30, 4)], 4, DOWN_STABILIZED),
            ("neither", 60, 60, 5, 9, vec![(30, 3)], 5, UP_STABILIZED),
        ] {
            let recommendations = recent.into_iter().map(|(ago, replicas)| (at(-ago), replicas)).collect();
            let mut history = History { recommendations, ..History::default() };
            let bounds = Bounds { min: 1, max: 30, current };
            let step = step(bounds, desired, Some(&windows(up, down)), &mut history, at(0));
            assert_eq!((step.replicas, step.able), (replicas, able), "{why}");
        }
    }

    #[test]
    fn a_new_process_begins_with_what_there_is() {
        let mut history = History::default();
        history.begin(8, at(0));
        history.begin(1, at(5));
        let bounds = Bounds { min: 1, max: 10, current: 8 };
        assert_eq!(step(bounds, 2, None, &mut history, at(15)).replicas, 8);
        assert_eq!(step(bounds, 2, None, &mut history, at(301)).replicas, 2);
    }
}
