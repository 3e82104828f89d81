//! What the apiservers tell of themselves: discovery, OpenAPI, health, metrics, APIServices, priority and fairness.

use crate::harness::{KUBECTLS, Lab};

#[test]
fn kubectl_finds_out_what_is_served() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        for (kind, field) in [
            ("pods", "livenessProbe"),
            ("deployments.apps", "rollingUpdate"),
            ("cronjobs", "concurrencyPolicy"),
            ("services", "sessionAffinityConfig"),
            ("ingresses", "defaultBackend"),
            ("horizontalpodautoscalers", "scaleTargetRef"),
            ("flowschemas", "distinguisherMethod"),
            ("apiservices", "groupPriorityMinimum"),
            ("customresourcedefinitions", "openAPIV3Schema"),
        ] {
            let explained = kubectl.run(&format!("explain {kind} --recursive"));
            assert!(explained.contains(field), "kubectl {version} explain {kind}:\n{explained}");
        }
        let explained = kubectl.run("explain deployment.spec.replicas");
        assert!(explained.contains("Number of desired pods"), "kubectl {version}:\n{explained}");
        let services = kubectl.run("get apiservices");
        for line in ["v1.apps", "v2.autoscaling", "v1.rbac.authorization.k8s.io"] {
            let row = services.lines().find(|row| row.starts_with(&format!("{line} ")));
            let row = row.unwrap_or_else(|| panic!("{line} is missing in\n{services}"));
            assert!(row.contains("Local") && row.contains("True"), "{row}");
        }
        let schemas = kubectl.run("get flowschemas");
        let catch_all = schemas.lines().find(|row| row.starts_with("catch-all ")).unwrap_or_default();
        let cells: Vec<_> = catch_all.split_whitespace().collect();
        assert_eq!(cells.get(1..4), Some(&["catch-all", "10000", "ByUser"][..]), "{schemas}");
        assert!(kubectl.run("get prioritylevelconfigurations").contains("workload-low"));
        assert!(kubectl.run("api-resources").contains("prioritylevelconfigurations"));
        assert!(kubectl.run("api-versions").contains("apiregistration.k8s.io/v1"));
        let served = kubectl.json("version");
        assert!(served["serverVersion"]["gitVersion"].as_str().unwrap().starts_with("v1.37."), "{served}");
        let ready = kubectl.run("get --raw /readyz?verbose");
        assert!(ready.contains("[+]poststarthook/rbac/bootstrap-roles ok"), "{ready}");
        assert_eq!(kubectl.run("get --raw /livez/etcd"), "ok");
        let metrics = kubectl.run("get --raw /metrics");
        for name in
            ["apiserver_request_total{", "apiserver_flowcontrol_nominal_limit_seats{", "apiserver_storage_objects{"]
        {
            assert!(metrics.contains(name), "{name} is missing");
        }
        let missing = kubectl.fail("get --raw /nothing", "");
        assert!(missing.contains("the server could not find the requested resource"), "{missing}");
    }
}
