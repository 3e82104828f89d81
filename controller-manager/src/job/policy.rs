//! What a failed pod means by the pod failure policy (KEP-3329), and when a success policy (KEP-3998) is met.

use k8s_openapi::api::{
    batch::v1::{
        PodFailurePolicyOnExitCodesRequirement as OnExitCodes, PodFailurePolicyOnPodConditionsPattern as OnCondition,
    },
    core::v1::{ContainerStatus, Pod, PodCondition},
};

use super::{indexes::Indexes, spec::Wants};

/// What a failed pod means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It counts against the limits.
    Count,
    /// It does not count.
    Ignore,
    /// Its index has failed for good.
    FailIndex,
    /// The whole job has, with this message.
    FailJob(String),
}

/// What a failed pod means: the first rule that matches it decides; it counts where none does.
pub fn effect(wants: Wants<'_>, pod: &Pod) -> Effect {
    let rules = wants.0.pod_failure_policy.iter().flat_map(|policy| &policy.rules);
    let matching = rules.enumerate().find_map(|(i, rule)| {
        let why = match (&rule.on_exit_codes, &rule.on_pod_conditions) {
            (Some(codes), _) => failed_container(pod, codes).map(|(container, code)| {
                format!("Container {container} for pod {} failed with exit code {code}", name(pod))
            }),
            (None, Some(patterns)) => {
                condition(pod, patterns).map(|condition| format!("Pod {} has condition {}", name(pod), condition.type_))
            }
            (None, None) => None,
        };
        why.map(|why| (i, rule, why))
    });
    match matching {
        Some((_, rule, _)) if rule.action == "Ignore" => Effect::Ignore,
        Some((_, rule, _)) if rule.action == "FailIndex" => Effect::FailIndex,
        Some((i, rule, why)) if rule.action == "FailJob" => {
            Effect::FailJob(format!("{why} matching {} rule at index {i}", rule.action))
        }
        _ => Effect::Count,
    }
}

fn name(pod: &Pod) -> String {
    kubelab_api::meta::key(&pod.metadata)
}

fn failed_container<'a>(pod: &'a Pod, wanted: &OnExitCodes) -> Option<(&'a str, i32)> {
    let matches = |status: &'a ContainerStatus| {
        let code = status.state.as_ref()?.terminated.as_ref()?.exit_code;
        let is_meant = wanted.container_name.as_ref().is_none_or(|name| *name == status.name);
        let is_listed = wanted.values.contains(&code);
        let is_wanted = match wanted.operator.as_str() {
            "In" => is_listed,
            "NotIn" => !is_listed,
            _ => false,
        };
        (code != 0 && is_meant && is_wanted).then_some((status.name.as_str(), code))
    };
    let status = pod.status.as_ref()?;
    let (main, init) = (status.container_statuses.iter().flatten(), status.init_container_statuses.iter().flatten());
    main.chain(init).find_map(matches)
}

fn condition<'a>(pod: &'a Pod, patterns: &[OnCondition]) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| {
        patterns.iter().any(|pattern| {
            let status = pattern.status.as_deref().unwrap_or("True");
            pattern.type_ == condition.type_ && status == condition.status
        })
    })
}

/// Which rule of the success policy these indexes meet, if any.
pub fn met_success_rule(wants: Wants<'_>, succeeded: &Indexes) -> Option<usize> {
    let completions = wants.completions()?;
    if succeeded.is_empty() {
        return None;
    }
    let rules = &wants.0.success_policy.as_ref()?.rules;
    rules.iter().position(|rule| match &rule.succeeded_indexes {
        Some(text) => {
            let required = Indexes::parse(text, completions);
            let there = required.shared(succeeded);
            !required.is_empty()
                && (there == required.total() || rule.succeeded_count.is_some_and(|count| there >= count))
        }
        None => rule.succeeded_count.is_some_and(|count| succeeded.total() >= count),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::batch::v1::JobSpec;
    use serde_json::{Value, json};

    use super::*;

    fn spec(value: Value) -> JobSpec {
        let mut spec = json!({"completions": 10, "template": {}});
        spec.as_object_mut().unwrap().extend(value.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    fn pod(codes: &[(&str, i32)], conditions: Value) -> Pod {
        let ended = |(name, code): &(&str, i32)| {
            json!({"name": name, "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": code}}})
        };
        serde_json::from_value(json!({
            "metadata": {"name": "p", "namespace": "ns"},
            "status": {"phase": "Failed", "conditions": conditions,
                "containerStatuses": codes.iter().map(ended).collect::<Vec<_>>()},
        }))
        .unwrap()
    }

    #[test]
    fn the_first_rule_that_matches_decides() {
        let rules = json!([
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {"action": "FailJob", "onExitCodes": {"containerName": "main", "operator": "In", "values": [42]}},
            {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [3]}},
            {"action": "Count", "onExitCodes": {"operator": "In", "values": [5]}},
            {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [1, 2]}},
            {"action": "FailJob", "onPodConditions": [{"type": "Broken", "status": "True"}]},
        ]);
        let spec = spec(json!({"podFailurePolicy": {"rules": rules}}));
        let target = |status: &str| json!([{"type": "DisruptionTarget", "status": status}]);
        let message = |text: &str| Effect::FailJob(text.to_owned());
        for (codes, conditions, expected) in [
            (&[("main", 1)][..], json!([]), Effect::Count),
            (&[("main", 42)], target("True"), Effect::Ignore),
            (
                &[("main", 42)],
                target("False"),
                message("Container main for pod ns/p failed with exit code 42 matching FailJob rule at index 1"),
            ),
            (&[("main", 0), ("side", 3)], json!([]), Effect::FailIndex),
            (&[("main", 5)], json!([]), Effect::Count),
            (
                &[("side", 42)],
                json!([]),
                message("Container side for pod ns/p failed with exit code 42 matching FailJob rule at index 4"),
            ),
            (
                &[("main", 2)],
                json!([{"type": "Broken", "status": "True"}]),
                message("Pod ns/p has condition Broken matching FailJob rule at index 5"),
            ),
        ] {
            assert_eq!(effect(Wants(&spec), &pod(codes, conditions.clone())), expected, "{codes:?} {conditions}");
        }
    }

    #[test]
    fn a_success_policy_is_met_by_indexes_or_by_their_number() {
        let rules = json!([
            {"succeededIndexes": "0,2-3"},
            {"succeededIndexes": "4-8", "succeededCount": 2},
            {"succeededCount": 5},
        ]);
        let spec = spec(json!({"successPolicy": {"rules": rules}}));
        for (succeeded, expected) in
            [("", None), ("0,2", None), ("0,2,3", Some(0)), ("4", None), ("1,4,7", Some(1)), ("0-2,4,9", Some(2))]
        {
            assert_eq!(met_success_rule(Wants(&spec), &Indexes::parse(succeeded, 10)), expected, "{succeeded}");
        }
    }
}
