//! What an autoscaler's conditions say. Source: `setCondition` in Kubernetes' `horizontal.go`.

use k8s_openapi::{
    api::autoscaling::v2::{HorizontalPodAutoscalerCondition, HorizontalPodAutoscalerStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};

/// It can find out and change how many replicas there are.
pub const ABLE: &str = "AbleToScale";
/// Its metrics can be used.
pub const ACTIVE: &str = "ScalingActive";
/// It is not allowed to do what the metrics call for.
pub const LIMITED: &str = "ScalingLimited";

/// Puts a condition; its transition time stays when its status does.
pub fn set(
    status: &mut HorizontalPodAutoscalerStatus,
    kind: &str,
    is_true: bool,
    reason: &str,
    message: &str,
    now: &Time,
) {
    let conditions = status.conditions.get_or_insert_default();
    let value = if is_true { "True" } else { "False" };
    let old = conditions.iter().position(|condition| condition.type_ == kind);
    let since = old.map(|i| &conditions[i]).filter(|old| old.status == value);
    let new = HorizontalPodAutoscalerCondition {
        type_: kind.to_owned(),
        status: value.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: since.map_or_else(|| Some(now.clone()), |old| old.last_transition_time.clone()),
        observed_generation: None,
    };
    match old {
        Some(i) => conditions[i] = new,
        None => conditions.push(new),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_condition_keeps_its_time_while_its_status_stays() {
        let time = |second| Time(jiff::Timestamp::from_second(second).unwrap());
        let mut status = HorizontalPodAutoscalerStatus::default();
        set(&mut status, ABLE, true, "SucceededGetScale", "a", &time(1));
        set(&mut status, ABLE, true, "ReadyForNewScale", "b", &time(2));
        set(&mut status, ACTIVE, false, "ScalingDisabled", "c", &time(3));
        set(&mut status, ACTIVE, true, "ValidMetricFound", "d", &time(4));
        let found: Vec<_> = status
            .conditions
            .iter()
            .flatten()
            .map(|condition| {
                let since = condition.last_transition_time.as_ref().unwrap().0.as_second();
                (condition.type_.as_str(), condition.reason.as_deref().unwrap(), since)
            })
            .collect();
        assert_eq!(found, [(ABLE, "ReadyForNewScale", 1), (ACTIVE, "ValidMetricFound", 4)]);
    }
}
