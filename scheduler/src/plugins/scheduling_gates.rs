//! A pod with scheduling gates waits until they are removed (KEP-3521).

use crate::framework::{Plugin, PodInfo, PreEnqueue};

/// Upstream: `SchedulingGates`.
pub struct SchedulingGates;

impl Plugin for SchedulingGates {
    fn name(&self) -> &'static str {
        "SchedulingGates"
    }
}

impl PreEnqueue for SchedulingGates {
    fn pre_enqueue(&self, pod: &PodInfo) -> Result<(), String> {
        let gates = pod.spec().and_then(|spec| spec.scheduling_gates.as_deref()).unwrap_or_default();
        if gates.is_empty() {
            return Ok(());
        }
        let names: Vec<&str> = gates.iter().map(|gate| gate.name.as_str()).collect();
        Err(format!("waiting for scheduling gates: [{}]", names.join(" ")))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::testing::pod;

    #[test]
    fn gates_hold_a_pod_back() {
        for (gates, expected) in [
            (json!(null), Ok(())),
            (json!([]), Ok(())),
            (json!([{ "name": "a" }, { "name": "b" }]), Err("waiting for scheduling gates: [a b]".to_owned())),
        ] {
            assert_eq!(SchedulingGates.pre_enqueue(&pod(json!({ "schedulingGates": gates }))), expected);
        }
    }
}
