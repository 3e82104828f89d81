//! How far a rollout may stray from the wanted number of pods.

use k8s_openapi::{api::apps::v1::Deployment, apimachinery::pkg::util::intstr::IntOrString};
use kubelab_api::intstr::{Round, scaled};

/// How many pods there may and must be while a deployment rolls out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The wanted number.
    pub replicas: i32,
    /// How many more there may be meanwhile.
    pub max_surge: i32,
    /// How many of the wanted ones may be missing meanwhile.
    pub max_unavailable: i32,
}

impl Limits {
    /// A deployment's limits. Percentages are of the wanted number; surge rounds up and unavailability down, and when both
    /// come to nothing one pod may be missing, as otherwise nothing could ever move.
    /// Source: `ResolveFenceposts` in Kubernetes' `deployment_util.go`.
    pub fn of(deployment: &Deployment) -> Self {
        let replicas = replicas(deployment);
        let strategy = deployment.spec.strategy.as_ref();
        if strategy.is_some_and(|strategy| strategy.type_.as_deref() == Some("Recreate")) {
            return Self { replicas, max_surge: 0, max_unavailable: 0 };
        }
        let rolling = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let share = |value: Option<&IntOrString>, round| {
            let default = IntOrString::String("25%".to_owned());
            // Validation lets nothing else into the store than what scales.
            scaled(value.unwrap_or(&default), replicas, round).unwrap_or(0).max(0)
        };
        let max_surge = share(rolling.and_then(|rolling| rolling.max_surge.as_ref()), Round::Up);
        let unavailable = share(rolling.and_then(|rolling| rolling.max_unavailable.as_ref()), Round::Down);
        let max_unavailable = if max_surge == 0 && unavailable == 0 { 1 } else { unavailable };
        Self { replicas, max_surge, max_unavailable: max_unavailable.min(replicas) }
    }

    /// The most pods there may be.
    pub fn most(self) -> i32 {
        self.replicas.saturating_add(self.max_surge)
    }

    /// The fewest available pods there may be.
    pub fn fewest(self) -> i32 {
        self.replicas - self.max_unavailable
    }
}

/// The number of pods that a deployment wants.
pub fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.replicas.unwrap_or(1)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_and_percentages_resolve() {
        for (replicas, strategy, expected) in [
            (3, json!({}), (1, 0)),
            (4, json!({"type": "RollingUpdate"}), (1, 1)),
            (10, json!({"rollingUpdate": {"maxSurge": 2, "maxUnavailable": 3}}), (2, 3)),
            (10, json!({"rollingUpdate": {"maxSurge": "30%", "maxUnavailable": "15%"}}), (3, 1)),
            (3, json!({"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "10%"}}), (0, 1)),
            (3, json!({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 9}}), (1, 3)),
            (0, json!({}), (0, 0)),
            (5, json!({"type": "Recreate"}), (0, 0)),
        ] {
            let deployment: Deployment = serde_json::from_value(json!({
                "metadata": {}, "spec": {"replicas": replicas, "strategy": strategy, "selector": {}, "template": {}},
            }))
            .unwrap();
            let limits = Limits::of(&deployment);
            assert_eq!((limits.max_surge, limits.max_unavailable), expected, "{replicas} {strategy}");
        }
    }
}
