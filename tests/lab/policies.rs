//! Admission policies and webhooks, as kubectl meets them. (The apiserver's own tests call real webhooks.)

use crate::harness::{KUBECTLS, Lab};

const POLICIES: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: few}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}]}
  validations:
  - {expression: "object.spec.replicas <= 3", messageExpression: "'at most 3 replicas, not ' + string(object.spec.replicas)"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: few}
spec:
  policyName: few
  validationActions: [Deny]
  matchResources: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}}
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: owned}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [apps], apiVersions: [v1], operations: [CREATE], resources: [deployments]}]}
  validations: [{expression: "has(object.metadata.labels) && 'owner' in object.metadata.labels", message: nobody owns it}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: owned}
spec: {policyName: owned, validationActions: [Warn, Audit]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: team}
spec:
  matchConstraints: {resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]}
  reinvocationPolicy: Never
  mutations:
  - patchType: ApplyConfiguration
    applyConfiguration: {expression: "Object{metadata: Object.metadata{labels: {'team': 'a'}}}"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: team}
spec: {policyName: team}
"#;

const WEBHOOK: &str = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: absent}
webhooks:
- name: absent.example.com
  clientConfig: {url: "https://127.0.0.1:1/judge"}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: default}}
  sideEffects: None
  admissionReviewVersions: [v1]
  failurePolicy: Fail
"#;

#[test]
fn policies_deny_warn_and_change() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("apply -f -", POLICIES);
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        let error = kubectl.fail("create deployment big --image=nginx --replicas=4", "");
        assert!(
            error.contains(
                "deployments.apps \"big\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few' denied request: \
                 at most 3 replicas, not 4"
            ),
            "{error}"
        );
    }
    kubectl.run("create deployment web --image=nginx --replicas=2");
    let error = kubectl.fail("scale deployment web --replicas=0 --current-replicas=1", "");
    assert!(error.contains("replicas"), "{error}");
    // Every pod of the Deployment went through the policy, whoever made it.
    kubectl.wait_until("get pods -l team=a -o name", |names| names.lines().count() == 2);
    let output = kubectl.command().args(["create", "deployment", "free", "--image=nginx"]).output().unwrap();
    let warning = String::from_utf8_lossy(&output.stderr);
    assert!(
        warning.contains(
            "Warning: Validation failed for ValidatingAdmissionPolicy 'owned' with binding 'owned': nobody owns it"
        ),
        "{warning}"
    );

    kubectl.run_with("apply -f -", WEBHOOK);
    let error = kubectl.fail("create configmap a", "");
    assert!(
        error.contains(
            "Internal error occurred: failed calling webhook \"absent.example.com\": failed to call webhook: Post \
             \"https://127.0.0.1:1/judge?timeout=10s\": dial tcp 127.0.0.1:1: connect: connection refused"
        ),
        "{error}"
    );
    kubectl.run("delete validatingwebhookconfiguration absent");
    kubectl.run("create configmap a");
    let wrong = POLICIES.replace("object.spec.replicas <= 3", "objct.spec.replicas <= 3");
    let error = kubectl.fail("apply -f -", &wrong);
    assert!(error.contains("undeclared reference to 'objct' (in container '')"), "{error}");
}
