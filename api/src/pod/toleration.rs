//! Taints and what tolerates them. Source: `Toleration.ToleratesTaint` in `k8s.io/api/core/v1`.

use k8s_openapi::api::core::v1::{Taint, Toleration};

/// One of these tolerates the taint.
pub fn any_tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| tolerates(toleration, taint))
}

/// It tolerates the taint: what it says nothing about may be anything.
pub fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    let any_or = |value: &Option<String>, expected: &str| {
        value.as_deref().is_none_or(|value| value.is_empty() || value == expected)
    };
    any_or(&toleration.effect, &taint.effect)
        && any_or(&toleration.key, &taint.key)
        && match toleration.operator.as_deref() {
            Some("Exists") => true,
            None | Some("" | "Equal") => {
                toleration.value.as_deref().unwrap_or_default() == taint.value.as_deref().unwrap_or_default()
            }
            Some(_) => false,
        }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn tolerations_match_taints() {
        let taint: Taint = serde_json::from_value(json!({"key": "gpu", "value": "a", "effect": "NoSchedule"})).unwrap();
        for (toleration, expected) in [
            (json!({"operator": "Exists"}), true),
            (json!({"key": "gpu", "operator": "Exists"}), true),
            (json!({"key": "gpu", "value": "a"}), true),
            (json!({"key": "gpu", "value": "a", "effect": "NoSchedule"}), true),
            (json!({"key": "gpu", "value": "a", "effect": "NoExecute"}), false),
            (json!({"key": "gpu", "value": "b"}), false),
            (json!({"key": "cpu", "operator": "Exists"}), false),
            (json!({"key": "gpu", "operator": "Like"}), false),
        ] {
            let typed: Toleration = serde_json::from_value(toleration.clone()).unwrap();
            assert_eq!(any_tolerates(&[typed], &taint), expected, "{toleration}");
        }
    }
}
