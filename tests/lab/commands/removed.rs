//! `delete` in all its forms, and `wait`.

use super::{expect, with_each_kubectl};

#[test]
fn objects_are_removed_as_asked() {
    with_each_kubectl(|_, kubectl, namespace| {
        let maps: String = ["a", "b", "c", "d", "e", "f"]
            .map(|name| {
                format!("{{apiVersion: v1, kind: ConfigMap, metadata: {{name: {name}, labels: {{n: {name}}}}}}}\n---\n")
            })
            .concat();
        kubectl.run_with("create -f -", &maps);
        expect(kubectl, namespace, MAPS);
        assert_eq!(
            kubectl.run_with("delete -f - --ignore-not-found", &maps),
            "configmap \"e\" deleted\nconfigmap \"f\" deleted\n"
        );

        for (cascade, pods_stay) in [("orphan", true), ("foreground", false), ("background", false)] {
            kubectl.run(&format!("create deployment {cascade} --image=nginx"));
            kubectl.run(&format!("rollout status deployment/{cascade} --timeout=120s"));
            let removed = kubectl.run(&format!("delete deployment {cascade} --cascade={cascade}"));
            assert_eq!(removed, format!("deployment.apps \"{cascade}\" deleted\n"));
            let left = format!("get replicasets,pods -l app={cascade} -o name");
            if pods_stay {
                assert_eq!(kubectl.run(&left).lines().count(), 2);
                let owners = "-o jsonpath={.items[*].metadata.ownerReferences}";
                assert_eq!(kubectl.run(&format!("get replicasets -l app={cascade} {owners}")), "");
                kubectl.run(&format!("delete replicasets -l app={cascade}"));
            } else if cascade == "foreground" {
                assert_eq!(kubectl.run(&format!("get replicasets -l app={cascade} -o name")), "");
            }
            kubectl.wait_until(&left, str::is_empty);
        }

        for (name, flags) in [("slow", "--wait=false"), ("now", "--now"), ("forced", "--force --grace-period=0")] {
            kubectl.run(&format!("run {name} --image=busybox --restart=Never -- sleep 3600"));
            kubectl.run(&format!("wait pod/{name} --for=condition=Ready --timeout=120s"));
            let (code, said, warned) = kubectl.exit(&format!("delete pod {name} {flags}"), "");
            let (deleted, warning) = if name == "forced" { ("force deleted", IMMEDIATE) } else { ("deleted", "") };
            assert_eq!((code, said, warned.as_str()), (Some(0), format!("pod \"{name}\" {deleted}\n"), warning));
        }
        let slow = kubectl.run("get pod slow -o jsonpath={.metadata.deletionGracePeriodSeconds}");
        assert_eq!(slow, "30", "a pod that sleeps is given its time");
        assert!(kubectl.run("get pod slow").contains("Terminating"));
        kubectl.run("delete pod slow --grace-period=1");
        expect(kubectl, namespace, &[("get pods", "No resources found in {ns} namespace.")]);
    });
}

const IMMEDIATE: &str = "Warning: Immediate deletion does not wait for confirmation that the running resource has been terminated. The resource may continue to run on the cluster indefinitely.\n";

const MAPS: &[(&str, &str)] = &[
    ("delete configmap a --dry-run=server", "configmap \"a\" deleted (server dry run)"),
    ("delete configmap a", "configmap \"a\" deleted"),
    ("delete configmap a", "Error from server (NotFound): configmaps \"a\" not found"),
    ("delete configmap a --ignore-not-found", ""),
    ("delete configmaps -l 'n in (b)'", "configmap \"b\" deleted"),
    ("delete configmaps --field-selector metadata.name=c", "configmap \"c\" deleted"),
    ("delete configmap/d -o name", "configmap/d"),
    ("delete configmaps -l n=none", "No resources found"),
    ("delete configmaps", "error: resource(s) were provided, but no name was specified"),
    ("create secret generic s", "secret/s created"),
    ("create secret generic t", "secret/t created"),
    ("delete secrets --all", "secret \"s\" deleted\nsecret \"t\" deleted"),
    ("delete --raw /api/v1/namespaces/{ns}/secrets/none", "Error from server (NotFound): secrets \"none\" not found"),
];

#[test]
fn conditions_are_waited_for() {
    with_each_kubectl(|lab, kubectl, namespace| {
        kubectl.run("create deployment web --image=nginx");
        kubectl.run("run one --image=busybox --restart=Never -- sleep 2");
        expect(kubectl, namespace, WAITED);
        let mut waits = kubectl.command();
        let mut waits = waits.args(["wait", "--for=delete", "deployment/web", "--timeout=120s"]).spawn().unwrap();
        kubectl.run("delete deployment web");
        assert!(waits.wait().unwrap().success());
        if namespace == "v1-33" {
            // New in 1.31: wait until there is something.
            let mut waits = kubectl.command();
            let mut waits = waits.args(["wait", "--for=create", "configmap/late", "--timeout=120s"]).spawn().unwrap();
            lab.kubectl().run(&format!("create configmap late -n {namespace}"));
            assert!(waits.wait().unwrap().success());
        }
    });
}

const WAITED: &[(&str, &str)] = &[
    ("wait deployment/web --for=condition=Available --timeout=120s", "deployment.apps/web condition met"),
    (
        "wait deployment/web --for=jsonpath={.status.readyReplicas}=1 --timeout=120s",
        "deployment.apps/web condition met",
    ),
    ("wait pod/one --for=jsonpath={.status.phase}=Succeeded --timeout=120s", "pod/one condition met"),
    ("wait pod/one --for=delete --timeout=1s", "error: timed out waiting for the condition on pods/one"),
    ("wait pod/one --for=condition=Ready --timeout=1s", "error: timed out waiting for the condition on pods/one"),
    ("wait pod/none --for=delete", ""),
    ("wait pod/none --for=condition=Ready", "Error from server (NotFound): pods \"none\" not found"),
    ("wait pod -l app=none --for=condition=Ready", "error: no matching resources found"),
];
