//! What upstream calls deprecated works, and warns: `get componentstatuses`, `get endpoints`.

use super::with_each_kubectl;

#[test]
fn deprecated_kinds_are_shown_with_a_warning() {
    with_each_kubectl(|lab, kubectl, _| {
        let (code, table, said) = kubectl.exit("get componentstatuses", "");
        assert_eq!((code, said.as_str()), (Some(0), "Warning: v1 ComponentStatus is deprecated in v1.19+\n"));
        let rows: Vec<_> = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let healthy = ["controller-manager Healthy ok", "etcd-0 Healthy ok", "scheduler Healthy ok"];
        assert_eq!(rows.first().map(String::as_str), Some("NAME STATUS MESSAGE ERROR"));
        assert_eq!(rows[1..], healthy);
        let one = kubectl.json("get cs etcd-0");
        assert_eq!(one["conditions"][0]["type"], "Healthy");
        let refused = kubectl.fail("delete cs etcd-0", "");
        assert!(refused.contains("the server does not allow this method on the requested resource"), "{refused}");
        kubectl.run("describe cs scheduler");

        let (_, _, said) = kubectl.exit("get endpoints -n default", "");
        let words = "Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice\n";
        assert_eq!(said, words);
        let counted = kubectl.run("get --raw /metrics");
        let metric = r#"apiserver_requested_deprecated_apis{group="",version="v1",resource="endpoints""#;
        assert!(counted.contains(metric), "{metric} is missing");

        lab.kubelab(&["kill", "scheduler-1"]);
        let told = kubectl.wait_until("get cs scheduler", |text| text.contains("Unhealthy"));
        assert!(told.contains("dial tcp 127.0.0.1:10259: connect: connection refused"), "{told}");
        lab.kubelab(&["restart", "scheduler-1"]);
        kubectl.wait_until("get cs scheduler", |text| text.contains(" Healthy "));
    });
}
