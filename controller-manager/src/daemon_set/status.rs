//! What a DaemonSet's status says. Source: `updateDaemonSetStatus` in `pkg/controller/daemon/daemon_controller.go`.

use k8s_openapi::api::apps::v1::DaemonSetStatus;
use kubelab_api::pod::is_ready;

use super::nodes::View;

/// The status that follows from the pods. Only a step that acted on the set's present generation may say that it observed it.
pub fn calculate(view: &View<'_>, observed: bool) -> DaemonSetStatus {
    let before = view.set.status.clone().unwrap_or_default();
    let (mut desired, mut current, mut misplaced, mut ready, mut available, mut updated) = (0, 0, 0, 0, 0, 0);
    for (node, placement) in &view.placements {
        let first = view.on(node).first();
        if !placement.run {
            misplaced += i32::from(first.is_some());
            continue;
        }
        desired += 1;
        let Some(pod) = first else { continue };
        current += 1;
        ready += i32::from(is_ready(pod));
        available += i32::from(view.is_available(pod));
        updated += i32::from(view.is_updated(pod));
    }
    let some = |count: i32| (count != 0).then_some(count);
    DaemonSetStatus {
        desired_number_scheduled: desired,
        current_number_scheduled: current,
        number_misscheduled: misplaced,
        number_ready: ready,
        number_available: some(available),
        number_unavailable: some(desired - available),
        updated_number_scheduled: some(updated),
        observed_generation: if observed { view.set.metadata.generation } else { before.observed_generation },
        collision_count: before.collision_count,
        conditions: before.conditions,
    }
}
