//! Whether a container that ended is run again. Source: `ContainerShouldRestart` in `pkg/api/v1/pod` of Kubernetes,
//! KEP-5307 for policies and rules of single containers, and KEP-5532 for rules that concern all of a pod.

use k8s_openapi::api::core::v1::{Container, ContainerRestartRule, PodSpec};

/// Whether a container of a pod that exited with this code is run again.
pub fn restarts(spec: &PodSpec, container: &Container, code: i32) -> bool {
    if rule(container, code).is_some() {
        return true;
    }
    let of_pod = spec.restart_policy.as_deref().unwrap_or("Always");
    let is_init = spec.init_containers.iter().flatten().any(|init| init.name == container.name);
    match container.restart_policy.as_deref().unwrap_or(of_pod) {
        "Never" => false,
        "OnFailure" => code != 0,
        // An init container that has done its work is done with, unless it is a sidecar.
        _ if is_init && container.restart_policy.is_none() => code != 0,
        _ => true,
    }
}

/// Whether a container that exited with this code has all containers of its pod begin anew.
pub fn restarts_all(container: &Container, code: i32) -> bool {
    rule(container, code).is_some_and(|rule| rule.action == ALL)
}

/// Whether some container may have all of them begin anew.
pub fn may_restart_all(spec: &PodSpec) -> bool {
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    all.flat_map(|container| container.restart_policy_rules.iter().flatten()).any(|rule| rule.action == ALL)
}

const ALL: &str = "RestartAllContainers";

/// The first rule that speaks of this code.
fn rule(container: &Container, code: i32) -> Option<&ContainerRestartRule> {
    container.restart_policy_rules.iter().flatten().find(|rule| {
        matches!(rule.action.as_str(), "Restart" | ALL)
            && rule.exit_codes.as_ref().is_some_and(|codes| {
                let named = codes.values.iter().flatten().any(|value| *value == code);
                named == (codes.operator == "In")
            })
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_container_s_rules_come_before_its_policy_and_that_before_the_pod_s() {
        let rule = |operator: &str| json!([{"action": "Restart", "exitCodes": {"operator": operator, "values": [42]}}]);
        let list = |init: bool| if init { "initContainers" } else { "containers" };
        for (of_pod, init, own, rules, restarted) in [
            ("Always", false, Value::Null, json!([]), &[0, 1, 42][..]),
            ("OnFailure", false, Value::Null, json!([]), &[1, 42]),
            ("Never", false, Value::Null, json!([]), &[]),
            ("Never", false, json!("OnFailure"), json!([]), &[1, 42]),
            ("Always", false, json!("Never"), json!([]), &[]),
            ("Always", false, json!("Never"), rule("In"), &[42]),
            ("Always", false, json!("Never"), rule("NotIn"), &[0, 1]),
            ("Always", true, Value::Null, json!([]), &[1, 42]),
            ("Never", true, Value::Null, json!([]), &[]),
            ("Never", true, json!("Always"), json!([]), &[0, 1, 42]),
        ] {
            let container = json!({"name": "c", "restartPolicy": own, "restartPolicyRules": rules});
            let mut spec = json!({"restartPolicy": of_pod, "containers": []});
            spec[list(init)] = json!([container]);
            let spec: PodSpec = serde_json::from_value(spec).unwrap();
            let container: Container = serde_json::from_value(container).unwrap();
            let codes: Vec<i32> = [0, 1, 42].into_iter().filter(|code| restarts(&spec, &container, *code)).collect();
            assert_eq!(codes, restarted, "{of_pod} {init} {own} {rules}");
        }
    }
}
