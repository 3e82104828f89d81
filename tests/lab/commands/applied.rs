//! `apply` and what belongs to it: `diff`, `--prune`, `--dry-run`, `--validate`, kustomizations, the last-applied annotation.

use std::fs;

use super::{expect, with_each_kubectl};
use crate::harness::Kubectl;

fn map(name: &str, value: &str) -> String {
    format!(
        "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: {name}\n  labels: {{set: pruned}}\ndata: {{a: '{value}'}}\n---\n"
    )
}

#[test]
fn manifests_are_applied_compared_and_pruned() {
    with_each_kubectl(|lab, kubectl, namespace| {
        assert_eq!(
            kubectl.run_with("apply --dry-run=client -f -", &map("one", "1")),
            "configmap/one created (dry run)\n"
        );
        assert_eq!(
            kubectl.run_with("apply --dry-run=server -f -", &map("one", "1")),
            "configmap/one created (server dry run)\n"
        );
        assert_eq!(kubectl.run_with("apply -f -", &map("one", "1")), "configmap/one created\n");
        assert_eq!(kubectl.run_with("apply -f -", &map("one", "1")), "configmap/one unchanged\n");
        assert_eq!(kubectl.run_with("diff -f -", &map("one", "1")), "");
        let differs = kubectl.fail_with_output("diff -f -", &map("one", "2"));
        assert!(differs.contains("\n-  a: \"1\"\n+  a: \"2\"\n"), "{differs}");
        let differs = kubectl
            .fail_with_output("diff --server-side --field-manager=kubectl-client-side-apply -f -", &map("one", "2"));
        assert!(differs.contains("\n-  a: \"1\"\n+  a: \"2\"\n"), "{differs}");
        assert_eq!(
            kubectl.run_with("apply --dry-run=server -f -", &map("one", "2")),
            "configmap/one configured (server dry run)\n"
        );
        assert_eq!(kubectl.run_with("apply -f -", &map("one", "2")), "configmap/one configured\n");
        let applied = kubectl.run("apply view-last-applied configmap/one");
        assert!(applied.starts_with("apiVersion: v1\ndata:\n  a: \"2\"\nkind: ConfigMap\n"), "{applied}");
        assert_eq!(kubectl.run_with("apply set-last-applied -f -", &map("one", "3")), "configmap/one configured\n");
        // `one` was last applied with `a`, so an apply without it takes it away.
        let bare = "{apiVersion: v1, kind: ConfigMap, metadata: {name: one, labels: {set: pruned}}}";
        assert_eq!(kubectl.run_with("apply -f -", bare), "configmap/one configured\n");
        assert_eq!(kubectl.run("get configmap one -o jsonpath={.data}"), "");

        server_side(kubectl);
        validation(kubectl);
        let two = map("one", "1") + &map("two", "2");
        let list = "apply -f - --prune -l set=pruned --prune-allowlist=core/v1/ConfigMap";
        assert_eq!(kubectl.run_with(list, &two), "configmap/one configured\nconfigmap/two created\n");
        assert_eq!(kubectl.run_with(list, &map("one", "1")), "configmap/one unchanged\nconfigmap/two pruned\n");
        expect(kubectl, namespace, &[("get configmaps -l set=pruned -o name", "configmap/one")]);

        let folder = lab.data_dir().join(format!("kustomized-{namespace}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("map.yaml"), map("three", "3")).unwrap();
        let text = "resources: [map.yaml]\nnamePrefix: my-\nconfigMapGenerator:\n- {name: made, literals: [x=y]}\n";
        fs::write(folder.join("kustomization.yaml"), text).unwrap();
        let folder = folder.display();
        let built = kubectl.run(&format!("kustomize {folder}"));
        assert!(built.contains("name: my-three") && built.contains("name: my-made-"), "{built}");
        let applied = kubectl.run(&format!("apply -k {folder}"));
        assert!(
            applied.starts_with("configmap/my-made-") && applied.ends_with("configmap/my-three created\n"),
            "{applied}"
        );
        assert!(kubectl.run(&format!("diff -k {folder}")).is_empty());
        let shown = kubectl.run(&format!("get -k {folder} -o name"));
        assert_eq!(shown.lines().count(), 2, "{shown}");
        let removed = kubectl.run(&format!("delete -k {folder}"));
        assert!(removed.ends_with("configmap \"my-three\" deleted\n"), "{removed}");
    });
}

fn server_side(kubectl: &Kubectl) {
    assert_eq!(kubectl.run_with("apply --server-side -f -", &map("ours", "1")), "configmap/ours serverside-applied\n");
    let conflict = kubectl.fail("apply --server-side --field-manager=other -f -", &map("ours", "2"));
    assert!(
        conflict.starts_with("error: Apply failed with 1 conflict: conflict with \"kubectl\": .data.a\n"),
        "{conflict}"
    );
    let forced = "apply --server-side --field-manager=other --force-conflicts -f -";
    assert_eq!(kubectl.run_with(forced, &map("ours", "2")), "configmap/ours serverside-applied\n");
    let dry = "apply --server-side --field-manager=other --dry-run=server -f -";
    assert_eq!(kubectl.run_with(dry, &map("ours", "3")), "configmap/ours serverside-applied (server dry run)\n");
    assert_eq!(kubectl.run("get configmap ours -o jsonpath={.data.a}"), "2");
    kubectl.run("delete configmap ours");
}

fn validation(kubectl: &Kubectl) {
    let wrong = "{apiVersion: v1, kind: ConfigMap, metadata: {name: odd}, dta: {a: b}}";
    let refused = kubectl.fail("apply -f -", wrong);
    assert_eq!(
        refused,
        "Error from server (BadRequest): error when creating \"STDIN\": ConfigMap in version \"v1\" cannot be handled as a ConfigMap: \
         strict decoding error: unknown field \"dta\"\n"
    );
    let (code, out, warning) = kubectl.exit("apply --validate=warn -f -", wrong);
    assert_eq!(
        (code, out.as_str(), warning.as_str()),
        (Some(0), "configmap/odd created\n", "Warning: unknown field \"dta\"\n")
    );
    let (code, out, warning) = kubectl.exit("apply --validate=ignore -f -", wrong);
    assert_eq!((code, out.as_str(), warning.as_str()), (Some(0), "configmap/odd unchanged\n", ""));
    kubectl.run("delete configmap odd");
    let unknown = kubectl.fail("apply -f -", "{apiVersion: example.com/v9, kind: Odd, metadata: {name: odd}}");
    assert_eq!(
        unknown,
        "error: resource mapping not found for name: \"odd\" namespace: \"\" from \"STDIN\": \
         no matches for kind \"Odd\" in version \"example.com/v9\"\nensure CRDs are installed first\n"
    );
}
