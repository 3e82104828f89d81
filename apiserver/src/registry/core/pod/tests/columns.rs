//! What `kubectl get pods` shows.

use jiff::Timestamp;

use super::*;

#[test]
fn columns_tell_what_upstreams_tell() {
    let now: Timestamp = "2026-01-01T00:10:00Z".parse().unwrap();
    let running = json!({"running": {}});
    let backing_off = json!({"waiting": {"reason": "CrashLoopBackOff"}});
    let completed = json!({"terminated": {"exitCode": 0, "reason": "Completed"}});
    let status = |name: &str, ready: bool, restarts: i32, state: &Value| {
        json!({"name": name, "ready": ready, "restartCount": restarts, "image": "", "imageID": "", "state": state,
            "lastState": if restarts > 0 {
                json!({"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T00:05:00Z"}})
            } else { json!({}) }})
    };
    let two_inits = json!([{"name": "i1"}, {"name": "i2"}]);
    let sidecar = json!([{"name": "s", "restartPolicy": "Always"}]);
    // (patch, ready, status, restarts)
    let cases = [
        (json!({"status": {"phase": "Pending"}}), "0/1", "Pending", "0"),
        (
            json!({"status": {"phase": "Pending", "conditions": [
            {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}}),
            "0/1",
            "SchedulingGated",
            "0",
        ),
        (
            json!({"status": {"phase": "Running", "containerStatuses": [status("web", true, 0, &running)]}}),
            "1/1",
            "Running",
            "0",
        ),
        (
            json!({"status": {"phase": "Running", "containerStatuses": [status("web", false, 3, &backing_off)]}}),
            "0/1",
            "CrashLoopBackOff",
            "3 (5m ago)",
        ),
        (
            json!({"status": {"phase": "Pending", "containerStatuses": [
            status("web", false, 0, &json!({"waiting": {"reason": "ImagePullBackOff"}}))]}}),
            "0/1",
            "ImagePullBackOff",
            "0",
        ),
        (
            json!({"status": {"phase": "Succeeded", "containerStatuses": [status("web", false, 0, &completed)]}}),
            "0/1",
            "Completed",
            "0",
        ),
        (
            json!({"status": {"phase": "Failed", "containerStatuses": [
            status("web", false, 0, &json!({"terminated": {"exitCode": 3}}))]}}),
            "0/1",
            "ExitCode:3",
            "0",
        ),
        (
            json!({"status": {"phase": "Failed", "containerStatuses": [
            status("web", false, 0, &json!({"terminated": {"exitCode": 137, "signal": 9}}))]}}),
            "0/1",
            "Signal:9",
            "0",
        ),
        (json!({"status": {"phase": "Failed", "reason": "Evicted"}}), "0/1", "Evicted", "0"),
        (
            json!({"spec": {"initContainers": two_inits}, "status": {"phase": "Pending", "initContainerStatuses": [
            status("i1", false, 0, &completed), status("i2", false, 0, &running)]}}),
            "0/1",
            "Init:1/2",
            "0",
        ),
        (
            json!({"spec": {"initContainers": two_inits}, "status": {"phase": "Pending", "initContainerStatuses": [
            status("i1", false, 2, &json!({"terminated": {"exitCode": 1, "reason": "Error"}}))]}}),
            "0/1",
            "Init:Error",
            "2 (5m ago)",
        ),
        (
            json!({"spec": {"initContainers": two_inits}, "status": {"phase": "Pending", "initContainerStatuses": [
            status("i1", false, 2, &backing_off)]}}),
            "0/1",
            "Init:CrashLoopBackOff",
            "2 (5m ago)",
        ),
        (
            json!({"spec": {"initContainers": two_inits}, "status": {"phase": "Pending", "initContainerStatuses": [
            status("i1", true, 2, &completed), status("i2", true, 0, &completed)], "containerStatuses": [
            status("web", false, 0, &json!({"waiting": {"reason": "PodInitializing"}}))]}}),
            "0/1",
            "PodInitializing",
            "0",
        ),
        (
            json!({"spec": {"initContainers": sidecar}, "status": {"phase": "Running",
            "initContainerStatuses": [merged(&status("s", true, 1, &running), json!({"started": true}))],
            "containerStatuses": [status("web", true, 0, &running)]}}),
            "2/2",
            "Running",
            "1 (5m ago)",
        ),
        (
            json!({"spec": {"containers": [{"name": "a"}, {"name": "b"}]}, "status": {"phase": "Running",
            "containerStatuses": [status("a", false, 0, &completed), status("b", true, 0, &running)]}}),
            "1/2",
            "NotReady",
            "0",
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:09:00Z"}, "status": {"phase": "Running",
            "containerStatuses": [status("web", true, 0, &running)]}}),
            "1/1",
            "Terminating",
            "0",
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:09:00Z"}, "status": {"phase": "Succeeded",
            "containerStatuses": [status("web", false, 0, &completed)]}}),
            "0/1",
            "Completed",
            "0",
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:09:00Z"}, "status": {"phase": "Running",
            "reason": "NodeLost"}}),
            "0/1",
            "Unknown",
            "0",
        ),
    ];
    for (patch, ready, status, restarts) in cases {
        let base = merged(&minimal(), json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:00Z"}}));
        let pod: Pod = serde_json::from_value(merged(&base, patch.clone())).unwrap();
        let cells = PodKind::cells(&pod, now);
        assert_eq!(cells[..5], [json!("web"), json!(ready), json!(status), json!(restarts), json!("10m")], "{patch}");
        assert_eq!(cells.len(), PodKind::COLUMNS.len());
    }
    let placed = merged(
        &minimal(),
        json!({
            "spec": {"nodeName": "node-1", "readinessGates": [{"conditionType": "a"}, {"conditionType": "b"}]},
            "status": {"podIPs": [{"ip": "10.244.1.2"}], "conditions": [{"type": "a", "status": "True"}]},
        }),
    );
    let pod: Pod = serde_json::from_value(placed).unwrap();
    let cells = PodKind::cells(&pod, now);
    assert_eq!(cells[4..], [json!("<unknown>"), json!("10.244.1.2"), json!("node-1"), json!("<none>"), json!("1/2")]);
    assert_eq!(PodKind::index(&pod).as_deref(), Some("node-1"));
}
