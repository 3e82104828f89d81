//! `kubectl rollout`, on Deployments, DaemonSets and StatefulSets.

use super::{expect, with_each_kubectl};

const SETS: &str = "
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: agent, image: 'nginx:1'}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db}
spec:
  serviceName: db
  replicas: 1
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {terminationGracePeriodSeconds: 0, containers: [{name: db, image: 'mysql:8'}]}
";

#[test]
fn rollouts_are_followed_held_and_undone() {
    with_each_kubectl(|_, kubectl, namespace| {
        kubectl.run("create deployment web --image=nginx:1");
        kubectl.run("rollout status deployment/web --timeout=120s");
        expect(kubectl, namespace, &[("set image deployment/web nginx=nginx:2", "deployment.apps/web image updated")]);
        kubectl.run("rollout status deployment/web --timeout=120s");
        expect(kubectl, namespace, DEPLOYMENT);
        kubectl.run("rollout status deployment/web --timeout=120s");
        let images = "get deployment web -o jsonpath={.spec.template.spec.containers[0].image}";
        expect(
            kubectl,
            namespace,
            &[(images, "nginx:1"), ("rollout restart deployment/web", "deployment.apps/web restarted")],
        );
        kubectl.run("rollout status deployment/web --timeout=120s");
        let missing = "set image deployment/web nginx=nginx:missing";
        expect(kubectl, namespace, &[(missing, "deployment.apps/web image updated")]);
        let waits = kubectl.says("rollout status deployment/web --timeout=1s");
        assert!(
            waits.starts_with(
                "Waiting for deployment \"web\" rollout to finish: 1 old replicas are pending termination...\n"
            ) || waits.starts_with("Waiting for deployment spec update to be observed...\n")
                || waits.starts_with(
                    "Waiting for deployment \"web\" rollout to finish: 0 out of 1 new replicas have been updated"
                ),
            "{waits}"
        );
        assert!(waits.ends_with("error: timed out waiting for the condition\n"), "{waits}");

        kubectl.run_with("create -f -", SETS);
        for set in ["daemonset/agent", "statefulset/db"] {
            let said = kubectl.run(&format!("rollout status {set} --timeout=120s"));
            let name = set.split('/').next_back().unwrap();
            assert!(said.contains("successfully rolled out") || said.contains("rolling update complete"), "{said}");
            let restart = kubectl.run(&format!("rollout restart {set}"));
            assert_eq!(restart, format!("{}.apps/{name} restarted\n", set.split('/').next().unwrap()));
            kubectl.run(&format!("rollout status {set} --timeout=120s"));
            let history = kubectl.run(&format!("rollout history {set}"));
            let undone = kubectl.run(&format!("rollout undo {set}"));
            assert_eq!(history.trim_end().lines().count(), 4, "{history}");
            assert_eq!(undone, format!("{}.apps/{name} rolled back\n", set.split('/').next().unwrap()));
            kubectl.run(&format!("rollout status {set} --timeout=120s"));
        }
        kubectl.run("delete deployment,daemonset,statefulset --all --wait=false");
    });
}

const DEPLOYMENT: &[(&str, &str)] = &[
    ("rollout status deployment/web", "deployment \"web\" successfully rolled out"),
    ("annotate deployment web kubernetes.io/change-cause=second", "deployment.apps/web {annotated}"),
    (
        "rollout history deployment/web",
        "deployment.apps/web \nREVISION  CHANGE-CAUSE\n1         <none>\n2         second",
    ),
    ("rollout history deployment/web --revision=9", "error: unable to find the specified revision"),
    ("rollout history deployment/web --revision=1 -o jsonpath={.spec.template.spec.containers[0].image}", "nginx:1"),
    ("rollout pause deployment/web", "deployment.apps/web paused"),
    ("rollout pause deployment/web", "error: deployments.apps \"web\" is already paused"),
    (
        "rollout undo deployment/web",
        "error: you cannot rollback a paused deployment; resume it first with 'kubectl rollout resume' and try again",
    ),
    (
        "rollout restart deployment/web",
        "error: deployments.apps \"web\" can't restart paused deployment (run rollout resume first)",
    ),
    ("rollout resume deployment/web", "deployment.apps/web resumed"),
    ("rollout resume deployment/web", "error: deployments.apps \"web\" is not paused"),
    ("rollout undo deployment/web --to-revision=9", "error: unable to find specified revision 9 in history"),
    (
        "rollout undo deployment/web --to-revision=1 --dry-run=server",
        "deployment.apps/web rolled back (server dry run)",
    ),
    ("rollout undo deployment/web --to-revision=1", "deployment.apps/web rolled back"),
    (
        "rollout undo deployment/web --to-revision=3",
        "deployment.apps/web skipped rollback (current template already matches revision 3)",
    ),
    ("rollout status configmap/kube-root-ca.crt", "error: no status viewer has been implemented for ConfigMap"),
];
