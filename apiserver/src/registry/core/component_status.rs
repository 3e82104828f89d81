//! ComponentStatus: how the control plane is, made up for each reader. Source: `pkg/registry/core/componentstatus`,
//! `printComponentStatus`.
//!
//! Upstream asks the health ports of the scheduler and the controller-manager on its own machine. Here they may run
//! anywhere, and several of each: that one of them holds the Lease and renews it says the same.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        coordination::v1::Lease,
        core::v1::{ComponentCondition, ComponentStatus},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_store::{Key, State};
use serde_json::Value;

use crate::registry::{
    cells::{self, NAME, cells, list, text},
    kind::{Column, Kind, column},
};

/// ComponentStatus.
pub struct ComponentStatusKind;

/// The components that hold a Lease, and the port on which upstream asks them.
const ELECTED: [(&str, &str, u16); 2] =
    [("controller-manager", "kube-controller-manager", 10257), ("scheduler", "kube-scheduler", 10259)];

/// What is not said to last longer lasts so long. Source: the components' `--leader-elect-lease-duration`.
const LEASE: i32 = 15;

/// All statuses, by name. That there is a state says that the store is well.
pub fn all(state: &State, now: Timestamp) -> Vec<ComponentStatus> {
    let mut all = vec![status("etcd-0", Ok(()))];
    for (name, lease, port) in ELECTED {
        let key = Key::new("coordination.k8s.io/leases", format!("kube-system/{lease}"));
        let lease = state.get(&key).and_then(|entry| serde_json::from_slice::<Lease>(&entry.value).ok());
        let refused =
            format!("Get \"https://127.0.0.1:{port}/healthz\": dial tcp 127.0.0.1:{port}: connect: connection refused");
        all.push(status(name, if lease.is_some_and(|lease| is_held(&lease, now)) { Ok(()) } else { Err(refused) }));
    }
    all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
    all
}

/// Somebody holds the Lease at this time.
fn is_held(lease: &Lease, now: Timestamp) -> bool {
    let spec = lease.spec.clone().unwrap_or_default();
    let lasts = SignedDuration::from_secs(spec.lease_duration_seconds.unwrap_or(LEASE).into());
    let held = !text(&spec.holder_identity).is_empty();
    held && spec.renew_time.is_some_and(|renewed| now.duration_since(renewed.0) <= lasts)
}

fn status(name: &str, health: Result<(), String>) -> ComponentStatus {
    let condition = match health {
        Ok(()) => {
            ComponentCondition { status: "True".into(), message: Some("ok".into()), ..ComponentCondition::default() }
        }
        Err(message) => ComponentCondition { status: "False".into(), message: Some(message), ..Default::default() },
    };
    ComponentStatus {
        metadata: ObjectMeta { name: Some(name.into()), ..ObjectMeta::default() },
        conditions: Some(vec![ComponentCondition { type_: "Healthy".into(), ..condition }]),
    }
}

impl Kind for ComponentStatusKind {
    type Object = ComponentStatus;

    const COLUMNS: &'static [Column] =
        &[NAME, column("Status", "string"), column("Message", "string"), column("Error", "string")];

    fn cells(component: &ComponentStatus, _now: Timestamp) -> Vec<Value> {
        let healthy = list(&component.conditions).iter().find(|condition| condition.type_ == "Healthy");
        let state = match healthy.map(|condition| condition.status.as_str()) {
            None => "Unknown",
            Some("True") => "Healthy",
            Some(_) => "Unhealthy",
        };
        let say = |part: fn(&ComponentCondition) -> &Option<String>| healthy.map_or("", |healthy| text(part(healthy)));
        cells![
            cells::name(&component.metadata),
            state,
            say(|condition| &condition.message),
            say(|condition| &condition.error),
        ]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn a_lease_is_held_while_it_is_renewed() {
        let lease = |holder: &str, renewed: &str| -> Lease {
            serde_json::from_value(json!({"spec": {"holderIdentity": holder, "renewTime": renewed}})).unwrap()
        };
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert!(is_held(&lease("a", "2026-01-01T00:00:45.000000Z"), now));
        assert!(!is_held(&lease("a", "2026-01-01T00:00:44.000000Z"), now), "it ran out");
        assert!(!is_held(&lease("", "2026-01-01T00:01:00.000000Z"), now), "it was given back");
        assert!(!is_held(&Lease::default(), now));
    }
}
