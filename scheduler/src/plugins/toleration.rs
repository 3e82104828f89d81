//! Taints and what tolerates them. Source: `k8s.io/component-helpers/scheduling/corev1`.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::framework::PodInfo;

/// A pod's tolerations.
pub fn of(pod: &PodInfo) -> &[Toleration] {
    pod.spec().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
}

/// One of these tolerates the taint.
pub fn any_tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let says = |text: &Option<String>, other: &str| text.as_deref().is_none_or(|text| text.is_empty() || text == other);
    if !says(&toleration.effect, &taint.effect) || !says(&toleration.key, &taint.key) {
        return false;
    }
    match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => value(&toleration.value) == value(&taint.value),
        Some(_) => false,
    }
}

fn value(text: &Option<String>) -> &str {
    text.as_deref().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tolerations_match_taints() {
        let taint: Taint =
            serde_json::from_value(json!({ "key": "gpu", "value": "a", "effect": "NoSchedule" })).unwrap();
        for (toleration, expected) in [
            (json!({ "operator": "Exists" }), true),
            (json!({ "key": "gpu", "operator": "Exists" }), true),
            (json!({ "key": "gpu", "value": "a" }), true),
            (json!({ "key": "gpu", "value": "a", "effect": "NoSchedule" }), true),
            (json!({ "key": "gpu", "value": "b" }), false),
            (json!({ "key": "gpu", "value": "a", "effect": "NoExecute" }), false),
            (json!({ "key": "cpu", "operator": "Exists" }), false),
            (json!({ "key": "gpu", "operator": "Gt", "value": "1" }), false),
        ] {
            let typed: Toleration = serde_json::from_value(toleration.clone()).unwrap();
            assert_eq!(any_tolerates(&[typed], &taint), expected, "{toleration}");
        }
    }
}
