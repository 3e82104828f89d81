//! Taints keep pods away that do not tolerate them; `PreferNoSchedule` only as far as possible.

use k8s_openapi::api::core::v1::{Node, Taint, Toleration};
use kubelab_api::{
    pod::any_tolerates,
    well_known::taint::{NO_EXECUTE, NO_SCHEDULE, PREFER_NO_SCHEDULE},
};

use crate::framework::{
    ClusterEvent, CycleState, Events, Filter, NodeInfo, Plugin, PodInfo, PreScore, Rejection, Score, Snapshot, Verdict,
    normalize,
};

/// Upstream: `TaintToleration`.
pub struct TaintToleration;

/// The tolerations that count for scoring.
struct Preferring(Vec<Toleration>);

/// A taint keeps pods away that have these tolerations.
pub fn any_keeps_away(taints: &[Taint], tolerations: &[Toleration]) -> bool {
    taints
        .iter()
        .any(|taint| matches!(taint.effect.as_str(), NO_SCHEDULE | NO_EXECUTE) && !any_tolerates(tolerations, taint))
}

fn keeps_away(taints: &[Taint], pod: &PodInfo) -> bool {
    any_keeps_away(taints, pod.tolerations())
}

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn events(&self) -> Events {
        Events::NODE_ADDED | Events::NODE_TAINTS
    }

    fn wakes(&self, pod: &PodInfo, event: &ClusterEvent) -> bool {
        let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
        match event {
            ClusterEvent::NodeAdded(node) => !keeps_away(&taints(node), pod),
            ClusterEvent::NodeUpdated { old, new } => keeps_away(&taints(old), pod) && !keeps_away(&taints(new), pod),
            _ => false,
        }
    }
}

impl Filter for TaintToleration {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Verdict {
        if keeps_away(node.taints(), pod) {
            return Err(Rejection::unresolvable(self.name(), "node(s) had untolerated taint(s)"));
        }
        Ok(())
    }
}

impl PreScore for TaintToleration {
    fn pre_score(&self, state: &mut CycleState, pod: &PodInfo, _: &[&NodeInfo], _: &Snapshot) -> bool {
        let counts = |toleration: &&Toleration| {
            matches!(toleration.effect.as_deref().unwrap_or_default(), "" | PREFER_NO_SCHEDULE)
        };
        state.put(Preferring(pod.tolerations().iter().filter(counts).cloned().collect()));
        true
    }
}

impl Score for TaintToleration {
    /// How many taints the pod would rather avoid.
    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> i64 {
        let tolerations = state.get::<Preferring>().map_or(&[][..], |preferring| &preferring.0);
        let avoided = node
            .taints()
            .iter()
            .filter(|taint| taint.effect == PREFER_NO_SCHEDULE && !any_tolerates(tolerations, taint));
        avoided.count() as i64
    }

    fn normalize(&self, _: &CycleState, _: &[&NodeInfo], scores: &mut [i64]) {
        normalize(scores, true);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::testing::{node, pod, said};

    fn tainted(taints: Value) -> NodeInfo {
        node("node-1", json!({}), json!({ "taints": taints }), json!({}))
    }

    #[test]
    fn untolerated_taints_keep_pods_away() {
        let gpu = json!([{ "key": "gpu", "operator": "Exists" }]);
        for (taints, tolerations, expected) in [
            (json!([]), json!([]), "fits"),
            (json!([{ "key": "gpu", "effect": "NoSchedule" }]), json!([]), "node(s) had untolerated taint(s)!"),
            (json!([{ "key": "gpu", "effect": "NoExecute" }]), json!([]), "node(s) had untolerated taint(s)!"),
            (json!([{ "key": "gpu", "effect": "PreferNoSchedule" }]), json!([]), "fits"),
            (json!([{ "key": "gpu", "effect": "NoSchedule" }]), gpu, "fits"),
        ] {
            let pod = pod(json!({ "tolerations": tolerations }));
            assert_eq!(said(TaintToleration.filter(&CycleState::default(), &pod, &tainted(taints))), expected);
        }
    }

    #[test]
    fn avoided_taints_cost_score() {
        let prefer = |key: &str| json!({ "key": key, "effect": "PreferNoSchedule" });
        let nodes = [tainted(json!([])), tainted(json!([prefer("a")])), tainted(json!([prefer("a"), prefer("b")]))];
        let pod = pod(json!({ "tolerations": [{ "key": "b", "operator": "Exists", "effect": "NoSchedule" }] }));
        let mut state = CycleState::default();
        TaintToleration.pre_score(&mut state, &pod, &[], &Snapshot::default());
        let mut scores: Vec<i64> = nodes.iter().map(|node| TaintToleration.score(&state, &pod, node)).collect();
        TaintToleration.normalize(&state, &[], &mut scores);
        assert_eq!(scores, [100, 50, 0]);
    }

    #[test]
    fn a_removed_taint_wakes() {
        let node = |taints: Value| tainted(taints).node.unwrap();
        let (bad, good) = (node(json!([{ "key": "gpu", "effect": "NoSchedule" }])), node(json!([])));
        let pod = pod(json!({}));
        for (old, new, expected) in [(&bad, &good, true), (&good, &bad, false), (&good, &good, false)] {
            let event = ClusterEvent::NodeUpdated { old: old.clone(), new: new.clone() };
            assert_eq!(TaintToleration.wakes(&pod, &event), expected);
        }
    }
}
