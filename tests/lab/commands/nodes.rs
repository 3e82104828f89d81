//! What administrators do: `taint`, `cordon`, `drain`, `certificate`, `auth`.

use serde_json::json;

use super::{expect, with_each_kubectl};
use crate::harness::Kubectl;

#[test]
fn nodes_are_tainted_cordoned_and_drained() {
    with_each_kubectl(|_, kubectl, namespace| {
        expect(kubectl, namespace, NODE);
        kubectl.run("create deployment web --image=nginx");
        kubectl.run("rollout status deployment/web --timeout=120s");
        kubectl.run("run bare --image=nginx");
        kubectl.run("wait --for=condition=Ready pod/bare --timeout=120s");
        kubectl.run("create poddisruptionbudget web --selector=app=web --min-available=1");
        let bare = kubectl.says("drain node-1");
        assert!(bare.contains("cannot delete") && bare.contains(&format!("{namespace}/bare")), "{bare}");
        let held = kubectl.says("drain node-1 --force --timeout=3s --grace-period=1");
        assert!(held.contains("Cannot evict pod as it would violate the pod's disruption budget."), "{held}");
        kubectl.run("delete pdb web");
        let drained = kubectl.run("drain node-1 --force --ignore-daemonsets --delete-emptydir-data --timeout=120s");
        assert!(
            drained.contains(&format!("evicting pod {namespace}/web-")) || drained.contains("evicted"),
            "{drained}"
        );
        assert!(drained.ends_with("node/node-1 drained\n"), "{drained}");
        kubectl.wait_until("get pods -o jsonpath={.items[*].status.phase}", |text| text == "Pending");
        kubectl.wait_until("events", |text| text.contains("1 node(s) were unschedulable"));
        expect(kubectl, namespace, &[("uncordon node-1", "node/node-1 uncordoned")]);
        kubectl.run("rollout status deployment/web --timeout=120s");
        kubectl.run("delete deployment web");
    });
}

const NODE: &[(&str, &str)] = &[
    ("taint nodes node-1 dedicated=db:NoSchedule", "node/node-1 tainted"),
    (
        "taint nodes node-1 dedicated=web:NoSchedule",
        "error: node node-1 already has dedicated taint(s) with same effect(s) and --overwrite is false",
    ),
    ("taint nodes node-1 dedicated=web:NoSchedule --overwrite", "node/node-1 modified"),
    ("get node node-1 -o jsonpath={.spec.taints}", r#"[{"effect":"NoSchedule","key":"dedicated","value":"web"}]"#),
    ("taint nodes --all dedicated:NoSchedule-", "node/node-1 untainted"),
    ("taint nodes node-1 dedicated-", "error: taint \"dedicated\" not found"),
    (
        "taint nodes node-1 x=y:Sometimes",
        "error: invalid taint effect: Sometimes, unsupported taint effect\nSee 'kubectl taint -h' for help and examples",
    ),
    ("cordon node-1", "node/node-1 cordoned"),
    ("cordon node-1", "node/node-1 already cordoned"),
    (
        "get node node-1 -o jsonpath={.spec.unschedulable}:{.spec.taints[0].key}",
        "true:node.kubernetes.io/unschedulable",
    ),
    ("uncordon node-1", "node/node-1 uncordoned"),
    ("uncordon node-1", "node/node-1 already uncordoned"),
    ("cordon node-7", "Error from server (NotFound): nodes \"node-7\" not found"),
];

fn asks(kubectl: &Kubectl, name: &str) {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::default();
    parameters.distinguished_name.push(rcgen::DnType::CommonName, "ann");
    let request = STANDARD.encode(parameters.serialize_request(&key).unwrap().pem().unwrap());
    let spec =
        json!({"signerName": "kubernetes.io/kube-apiserver-client", "usages": ["client auth"], "request": request});
    let object = json!({
        "apiVersion": "certificates.k8s.io/v1",
        "kind": "CertificateSigningRequest",
        "metadata": {"name": name},
        "spec": spec,
    });
    kubectl.run_with("create -f -", &object.to_string());
}

#[test]
fn access_is_asked_for_and_told() {
    with_each_kubectl(|_, kubectl, namespace| {
        for name in ["yes", "no"] {
            asks(kubectl, &format!("{namespace}-{name}"));
        }
        expect(kubectl, namespace, CERTIFICATES);
        let issued = format!("get csr {namespace}-yes -o jsonpath={{.status.certificate}}");
        kubectl.wait_until(&issued, |text| text.starts_with("LS0tLS1CRUdJTi"));
        kubectl.wait_until(&format!("get csr {namespace}-yes"), |text| text.contains("Approved,Issued"));

        kubectl.run("create serviceaccount robot");
        let rules = "
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: pods, namespace: NS}
rules: [{apiGroups: [''], resources: [pods], verbs: [get, list]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: pods, namespace: NS}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: pods}
subjects: [{kind: ServiceAccount, name: robot, namespace: NS}]
"
        .replace("NS", namespace);
        let reconciled = kubectl.run_with("auth reconcile -f -", &rules);
        assert!(reconciled.starts_with("role.rbac.authorization.k8s.io/pods reconciled\n"), "{reconciled}");
        assert!(reconciled.contains("rolebinding.rbac.authorization.k8s.io/pods reconciled\n"), "{reconciled}");
        expect(kubectl, namespace, RIGHTS);
        let (code, said, _) =
            kubectl.exit(&format!("auth can-i delete pods --as=system:serviceaccount:{namespace}:robot"), "");
        assert_eq!((code, said.as_str()), (Some(1), "no\n"));
        let list = kubectl.run(&format!("auth can-i --list --as=system:serviceaccount:{namespace}:robot"));
        let squeezed: Vec<_> = list.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(squeezed[0], "Resources Non-Resource URLs Resource Names Verbs");
        assert!(squeezed.contains(&"pods [] [] [get list]".to_owned()), "{list}");
        assert!(squeezed.contains(&"[/healthz] [] [get]".to_owned()), "{list}");
        let who = kubectl.run("auth whoami");
        assert!(
            who.contains("Username") && who.contains("kubernetes-admin") && who.contains("system:masters"),
            "{who}"
        );
    });
}

const CERTIFICATES: &[(&str, &str)] = &[
    ("certificate approve {ns}-yes", "certificatesigningrequest.certificates.k8s.io/{ns}-yes approved"),
    ("certificate deny {ns}-no", "certificatesigningrequest.certificates.k8s.io/{ns}-no denied"),
    ("get csr {ns}-no -o jsonpath={.status.conditions[*].type}:{.status.conditions[0].reason}", "Denied:KubectlDeny"),
    ("get csr {ns}-yes -o jsonpath={.spec.username},{.status.conditions[0].reason}", "kubernetes-admin,KubectlApprove"),
    (
        "certificate approve {ns}-none",
        "Error from server (NotFound): certificatesigningrequests.certificates.k8s.io \"{ns}-none\" not found",
    ),
];

const RIGHTS: &[(&str, &str)] = &[
    ("auth can-i create pods", "yes"),
    ("auth can-i create pods/exec", "yes"),
    ("auth can-i get pods --as=system:serviceaccount:{ns}:robot", "yes"),
    ("auth can-i get pods -n default --as=system:serviceaccount:{ns}:robot", "no"),
    ("auth can-i get /version --as=somebody --as-group=system:authenticated", "yes"),
    ("auth can-i list secrets --as=ann", "no"),
    ("auth can-i '*' '*'", "yes"),
    (
        "get secrets --as=ann",
        "Error from server (Forbidden): secrets is forbidden: User \"ann\" cannot list resource \"secrets\" in API group \"\" in the namespace \"{ns}\"",
    ),
];
