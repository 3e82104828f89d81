//! Deletion in all its forms, and what keeps a namespace within bounds, as kubectl meets it.

use futures::StreamExt;
use k8s_openapi::api::core::v1::Namespace;
use kube::{
    Api,
    runtime::watcher::{self, Event, watcher},
};

use crate::harness::{Kubectl, Lab, PATIENCE};

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
spec:
  replicas: 2
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: nginx
";

/// What kubectl prints and says, on success.
fn all_output(kubectl: &Kubectl, arguments: &[&str]) -> String {
    let output = kubectl.command().args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "kubectl {arguments:?}: {text}");
    text
}

#[test]
fn deletion_cascades_as_it_is_told_to() {
    let lab = Lab::start();
    let kubectl = lab.kubectl();
    kubectl.run_with("apply -f -", WEB);
    kubectl.run("rollout status deployment/web --timeout=120s");
    assert!(kubectl.run("delete deployment web --cascade=orphan").starts_with("deployment.apps \"web\" deleted"));
    assert_eq!(kubectl.run("get replicasets -o name").lines().count(), 1, "the replica set outlives its owner");
    assert_eq!(kubectl.run("get replicasets -o jsonpath={.items[0].metadata.ownerReferences}"), "");

    // A new deployment adopts it; in the foreground, the deployment goes last.
    kubectl.run_with("apply -f -", WEB);
    kubectl.run("rollout status deployment/web --timeout=120s");
    assert_eq!(kubectl.run("get replicasets -o name").lines().count(), 1);
    kubectl.run("delete deployment web --cascade=foreground --timeout=120s");
    assert_eq!(kubectl.run("get deployments,replicasets,pods -o name"), "");

    kubectl.run("run sleeper --image=busybox -- sleep 1000");
    kubectl.run("wait --for=condition=Ready pod/sleeper --timeout=120s");
    let forced = all_output(&kubectl, &["delete", "pod", "sleeper", "--grace-period=0", "--force"]);
    assert!(forced.contains("Immediate deletion does not wait") && forced.contains("force deleted"), "{forced}");
    kubectl.wait_until("get pods -o name", str::is_empty);

    kubectl.run("create configmap held");
    kubectl.run(r#"patch configmap held --type=merge -p '{"metadata":{"finalizers":["example.com/hold"]}}'"#);
    kubectl.run("delete configmap held --wait=false");
    assert!(!kubectl.run("get configmap held -o jsonpath={.metadata.deletionTimestamp}").is_empty());
    kubectl.run(r#"patch configmap held --type=merge -p '{"metadata":{"finalizers":null}}'"#);
    kubectl.fail("get configmap held", "");
}

#[test]
fn a_namespace_ends_and_tells_what_holds_it() {
    let lab = Lab::start();
    let kubectl = lab.kubectl();
    kubectl.run("create namespace team");
    kubectl.run("create -n team configmap held");
    kubectl.run("create -n team secret generic gone");
    kubectl.run(r#"patch -n team configmap held --type=merge -p '{"metadata":{"finalizers":["example.com/hold"]}}'"#);
    kubectl.run("delete namespace team --wait=false");
    let conditions = "get namespace team -o jsonpath={.status.conditions[*].message}";
    let told = kubectl.wait_until(conditions, |text| text.contains("configmaps. has 1 resource instances"));
    assert!(
        told.contains(
            "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
        ),
        "{told}"
    );
    let types = kubectl.run("get namespace team -o jsonpath={.status.conditions[*].type}");
    assert_eq!(
        types,
        "NamespaceDeletionDiscoveryFailure NamespaceDeletionGroupVersionParsingFailure NamespaceDeletionContentFailure \
         NamespaceContentRemaining NamespaceFinalizersRemaining"
    );
    let refused = kubectl.fail("create -n team configmap late", "");
    assert!(refused.contains("because it is being terminated"), "{refused}");
    kubectl.run(r#"patch -n team configmap held --type=merge -p '{"metadata":{"finalizers":null}}'"#);
    kubectl.run("wait --for=delete namespace/team --timeout=120s");
}

#[test]
fn quotas_and_security_standards_bound_a_namespace() {
    let lab = Lab::start();
    let kubectl = lab.kubectl();
    kubectl.run("create quota few --hard=pods=1,configmaps=5");
    kubectl.wait_until("get quota few -o jsonpath={.status.used.pods}", |text| text == "0");
    kubectl.run("run one --image=nginx");
    let refused = kubectl.fail("run two --image=nginx", "");
    assert!(
        refused.contains(
            "pods \"two\" is forbidden: exceeded quota: few, requested: pods=1, used: pods=1, limited: pods=1"
        ),
        "{refused}"
    );
    kubectl.run("delete pod one --timeout=120s");
    kubectl.wait_until("get quota few -o jsonpath={.status.used.pods}", |text| text == "0");
    kubectl.run("run two --image=nginx");
    let described = kubectl.run("describe quota few");
    assert!(described.contains("pods        1     1"), "{described}");
    kubectl.run("delete pod/two quota/few --timeout=120s");

    let enforce = "label namespace default pod-security.kubernetes.io/enforce=baseline pod-security.kubernetes.io/warn=restricted";
    kubectl.run(enforce);
    let privileged = r#"{"spec":{"containers":[{"name":"p","image":"nginx","securityContext":{"privileged":true}}]}}"#;
    let mut command = kubectl.command();
    command.args(["run", "p", "--image=nginx", "--overrides", privileged]);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains(
            "pods \"p\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"p\" must not set \
             securityContext.privileged=true)"
        ),
        "{said}"
    );
    let warned = all_output(&kubectl, &["create", "deployment", "web", "--image=nginx"]);
    assert!(
        warned.contains("Warning: would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false"),
        "{warned}"
    );
}

#[test]
fn a_claim_that_is_used_outlives_its_deletion() {
    let lab = Lab::start();
    let kubectl = lab.kubectl();
    let claim = "\
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
";
    kubectl.run_with("create -f -", claim);
    let finalizers = kubectl.run("get pvc data -o jsonpath={.metadata.finalizers}");
    assert_eq!(finalizers, "[\"kubernetes.io/pvc-protection\"]");
    kubectl.run("delete pvc data --timeout=60s");
    assert_eq!(kubectl.run("get pvc -o name"), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_namespace_is_active_then_terminating_then_gone() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let (kubectl, client) = (lab.kubectl(), lab.client().await);
    let only = watcher::Config::default().fields("metadata.name=development");
    let mut events = std::pin::pin!(watcher(Api::<Namespace>::all(client), only));
    kubectl.run("create namespace development");
    kubectl.run("create deployment web --image=nginx -n development");
    kubectl.run("rollout status deployment/web -n development --timeout=120s");
    kubectl.run("delete namespace development --wait=false");
    let mut phases: Vec<String> = Vec::new();
    let follow = async {
        while phases.last().map(String::as_str) != Some("gone") {
            let phase = match events.next().await {
                Some(Ok(Event::Apply(namespace) | Event::InitApply(namespace))) => {
                    namespace.status.and_then(|status| status.phase).unwrap_or_default()
                }
                Some(Ok(Event::Delete(_))) => "gone".to_owned(),
                _ => continue,
            };
            if phases.last() != Some(&phase) {
                phases.push(phase);
            }
        }
    };
    let ended = tokio::time::timeout(PATIENCE, follow).await;
    assert!(ended.is_ok(), "waited too long; the phases were {phases:?}");
    assert_eq!(phases.iter().rev().take(2).rev().collect::<Vec<_>>(), ["Terminating", "gone"], "{phases:?}");
    assert_eq!(kubectl.run("get pods,deployments,replicasets -A -o name"), "");
}
