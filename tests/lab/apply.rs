//! Server-side apply with real clients.

use k8s_openapi::api::apps::v1::Deployment;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;

use crate::harness::{KUBECTLS, Lab};

fn deployment(name: &str, replicas: u32, more: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: {name}\nspec:\n  replicas: {replicas}\n  paused: true\n\
         {more}  selector:\n    matchLabels: {{app: {name}}}\n  template:\n    metadata:\n      labels: {{app: {name}}}\n    \
         spec:\n      containers:\n      - name: c\n        image: nginx\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_have_managers() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        let name = format!("web-{}", version.replace('.', "-"));
        let two = deployment(&name, 2, "");
        let created = kubectl.run_with("apply --server-side -f -", &two);
        assert_eq!(created, format!("deployment.apps/{name} serverside-applied\n"));
        assert!(!kubectl.run(&format!("get deployment {name} -o yaml")).contains("managedFields"));
        assert!(kubectl.run(&format!("get deployment {name} -o yaml --show-managed-fields")).contains("f:replicas"));

        kubectl.run(&format!("scale deployment {name} --replicas 5"));
        let refused = kubectl.fail("apply --server-side -f -", &two);
        // `kubectl scale` names no manager, so it is the program, which is called by its version here.
        let conflict = format!(
            "Apply failed with 1 conflict: conflict with \"kubectl.{version}\" with subresource \"scale\" using apps/v1: \
             .spec.replicas"
        );
        assert!(refused.contains(&conflict), "{refused}");
        assert!(refused.contains("--force-conflicts"), "{refused}");
        let diff = kubectl.fail_with_output("diff --server-side --force-conflicts -f -", &two);
        assert!(diff.contains("-  replicas: 5") && diff.contains("+  replicas: 2"), "{diff}");
        kubectl.run_with("apply --server-side --force-conflicts -f -", &two);
        assert_eq!(kubectl.json(&format!("get deployment {name}"))["spec"]["replicas"], 2);
        assert_eq!(kubectl.run_with("diff --server-side -f -", &two), "");

        // Another manager shares a field, and keeps it when the first gives it up.
        let slow = deployment(&name, 2, "  minReadySeconds: 7\n");
        kubectl.run_with("apply --server-side --field-manager other -f -", &slow);
        kubectl.run_with("apply --server-side -f -", &slow);
        kubectl.run_with("apply --server-side -f -", &two);
        assert_eq!(kubectl.json(&format!("get deployment {name}"))["spec"]["minReadySeconds"], 7);
        kubectl.run_with("apply --server-side --field-manager other -f -", &two);
        assert_eq!(kubectl.json(&format!("get deployment {name}"))["spec"]["minReadySeconds"], json!(null));

        // From client-side apply to server-side apply, without a conflict.
        let moved = format!("{name}-moved");
        kubectl.run_with("apply -f -", &deployment(&moved, 1, "  minReadySeconds: 7\n"));
        assert!(kubectl.fail_with_output("diff -f -", &deployment(&moved, 3, "")).contains("+  replicas: 3"));
        kubectl.run_with("apply --server-side -f -", &deployment(&moved, 3, ""));
        let object = kubectl.json(&format!("get deployment {moved} --show-managed-fields"));
        assert_eq!(object["spec"]["replicas"], 3);
        let last = &object["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
        assert!(last.as_str().unwrap().contains("\"replicas\":3"), "{last}");

        let refused = kubectl.fail("apply --server-side -f -", &deployment(&name, 2, "  replica: 3\n"));
        assert!(refused.contains(".spec.replica: field not declared in schema"), "{refused}");
    }

    let deployments: Api<Deployment> = Api::default_namespaced(lab.client().await);
    let config = |replicas: u32| {
        Patch::Apply(json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": replicas}}))
    };
    let refused = deployments.patch("web-1-33", &PatchParams::apply("rust"), &config(4)).await.unwrap_err();
    assert!(
        matches!(&refused, kube::Error::Api(status) if status.code == 409 && status.reason == "Conflict"),
        "{refused}"
    );
    let forced = deployments.patch("web-1-33", &PatchParams::apply("rust").force(), &config(4)).await.unwrap();
    assert_eq!(forced.spec.replicas, Some(4));
    let status = Patch::Apply(json!({"apiVersion": "apps/v1", "kind": "Deployment", "status": {"collisionCount": 2}}));
    let applied = deployments.patch_status("web-1-33", &PatchParams::apply("rust"), &status).await.unwrap();
    assert_eq!(applied.status.unwrap().collision_count, Some(2));
    let entries = applied.metadata.managed_fields.unwrap();
    let of_rust = entries.iter().filter(|entry| entry.manager.as_deref() == Some("rust"));
    assert_eq!(of_rust.map(|entry| entry.subresource.as_deref()).collect::<Vec<_>>(), [None, Some("status")]);
}
