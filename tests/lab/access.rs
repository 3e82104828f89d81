//! Who may do what: tokens, certificates, roles, impersonation, the audit log.

use std::{fs, process::Command};

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use serde_json::Value;

use crate::harness::{KUBECTLS, Lab, Seen, wait_for};

fn small() -> Lab {
    Lab::with(&["--apiservers", "1", "--nodes", "1"])
}

#[test]
fn roles_decide_and_nobody_gives_away_what_he_lacks() {
    let lab = small();
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        let can = |question: &str| kubectl.says(&format!("auth can-i {question}"));
        assert_eq!(can("create deployments"), "yes\n");
        assert!(can("list pods --as jane").starts_with("no"), "jane is nobody yet");
        kubectl.run("create namespace dev");
        kubectl.run("create rolebinding jane --clusterrole=edit --user=jane -n dev");
        for (question, answer) in [
            ("list pods --as jane -n dev", "yes"),
            ("get secrets/tls --as jane -n dev", "yes"),
            ("list pods --as jane", "no"),
            ("create pods --subresource=eviction --as jane -n dev", "yes"),
            ("get pods --subresource=log --as jane -n dev", "yes"),
            ("create roles --as jane -n dev", "no"),
            ("get /version --as jane", "yes"),
            ("get /metrics --as jane", "no"),
            ("'*' '*' --as jane", "no"),
            ("'*' '*'", "yes"),
        ] {
            assert!(can(question).starts_with(answer), "{version} {question}: {}", can(question));
        }
        let list = kubectl.run("auth can-i --list --as jane -n dev");
        assert!(list.starts_with("Resources "), "{list}");
        for line in ["selfsubjectaccessreviews.authorization.k8s.io ", "pods ", "[/version/] "] {
            assert!(list.contains(line), "{line} in {list}");
        }

        let pods = kubectl.fail("get pods --as jane", "");
        assert_eq!(
            pods,
            "Error from server (Forbidden): pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \
             \"\" in the namespace \"default\"\n"
        );
        kubectl.run("create role maker --verb=create,get --resource=roles,rolebindings -n dev");
        kubectl.run("create rolebinding maker --role=maker --user=jane -n dev");
        let role = kubectl.fail("create role more --verb=delete --resource=nodes -n dev --as jane", "");
        assert!(
            role.contains(
                "roles.rbac.authorization.k8s.io \"more\" is forbidden: user \"jane\" (groups=[\"system:authenticated\"]) \
                 is attempting to grant RBAC permissions not currently held:\n{APIGroups:[\"\"], Resources:[\"nodes\"], \
                 Verbs:[\"delete\"]}"
            ),
            "{role}"
        );
        kubectl.run("create role less --verb=get --resource=pods -n dev --as jane");
        let binding =
            kubectl.fail("create rolebinding more --clusterrole=cluster-admin --user=joe -n dev --as jane", "");
        assert!(binding.contains("is attempting to grant RBAC permissions not currently held"), "{binding}");

        let other = kubectl.run("auth whoami -o json --as jane --as-group ops --as-uid 7");
        assert!(other.contains("\"jane\"") && other.contains("\"ops\"") && other.contains("\"7\""), "{other}");
        let token = kubectl.run("create token default -n dev");
        let refused = lab.kubectl_with_token(version, token.trim()).fail("get pods -n dev --as joe", "");
        assert!(
            refused.contains(
                "users \"joe\" is forbidden: User \"system:serviceaccount:dev:default\" cannot impersonate resource \"users\" in API group \"\" at the \
                 cluster scope"
            ),
            "{refused}"
        );
        // With its namespace in it: for this command kubectl asks no server which kinds have one, and so adds none.
        let manifest = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: rec, namespace: dev}\n\
                        rules:\n- {apiGroups: [''], resources: [pods], verbs: [get]}\n";
        assert!(kubectl.run_with("auth reconcile -f -", manifest).contains("reconciled"));
        kubectl.run("delete namespace dev --wait=true");
    }
}

#[test]
fn tokens_are_good_for_what_they_say() {
    let lab = small();
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        kubectl.run("create serviceaccount robot");
        kubectl.run("create clusterrolebinding robot --clusterrole=view --serviceaccount=default:robot");
        let with = |token: &str| lab.kubectl_with_token(version, token.trim());
        let robot = with(&kubectl.run("create token robot --duration=20m"));
        let whoami = robot.run("auth whoami -o json");
        let whoami: Value = serde_json::from_str(&whoami).unwrap();
        let user = &whoami["status"]["userInfo"];
        assert_eq!(user["username"], "system:serviceaccount:default:robot", "{version}");
        assert_eq!(
            user["groups"],
            serde_json::json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
        );
        let id = user["extra"]["authentication.kubernetes.io/credential-id"][0].as_str().unwrap();
        assert!(id.starts_with("JTI="), "{id}");
        robot.run("get pods");
        assert_eq!(robot.says("auth can-i get secrets"), "no\n");

        let vault = kubectl.run("create token robot --audience=vault");
        let refused = with(&vault).fail("get pods", "");
        assert!(refused.contains("You must be logged in to the server"), "{refused}");
        kubectl.run("create secret generic binding");
        let bound = kubectl.run("create token robot --bound-object-kind=Secret --bound-object-name=binding");
        with(&bound).run("get pods");
        kubectl.run("delete secret binding");
        let gone = with(&bound).fail("get pods", "");
        assert!(gone.contains("You must be logged in to the server"), "{gone}");

        let manifest = "apiVersion: v1\nkind: Secret\nmetadata:\n  name: kept\n  annotations:\n    \
                        kubernetes.io/service-account.name: robot\ntype: kubernetes.io/service-account-token\n";
        kubectl.run_with("apply -f -", manifest);
        let kept = kubectl.wait_until("get secret kept -o jsonpath={.data.token}", |text| !text.is_empty());
        let kept = String::from_utf8(base64(&kept)).unwrap();
        with(&kept).run("get pods");

        let about = kubectl.run("get --raw /.well-known/openid-configuration");
        let about: Value = serde_json::from_str(&about).unwrap();
        assert_eq!(about["issuer"], "https://kubernetes.default.svc.cluster.local");
        let keys: Value = serde_json::from_str(&kubectl.run("get --raw /openid/v1/jwks")).unwrap();
        assert_eq!(keys["keys"][0]["alg"], "ES256");
        assert!(robot.run("get --raw /openid/v1/jwks").contains("keys"));

        // The Secret goes with its account, and a loop may be faster.
        kubectl.run("delete secret/kept");
        kubectl.run("delete serviceaccount/robot clusterrolebinding/robot");
        let gone = robot.fail("get pods", "");
        assert!(gone.contains("You must be logged in to the server"), "{gone}");
    }
    machines_join(&lab);
}

/// A bootstrap token is enough to get a node's certificate, without anybody's approval.
pub fn machines_join(lab: &Lab) {
    let kubectl = lab.kubectl();
    kubectl.run_with(
        "apply -f -",
        "apiVersion: v1\nkind: Secret\nmetadata: {name: bootstrap-token-abcdef, namespace: kube-system}\n\
         type: bootstrap.kubernetes.io/token\nstringData:\n  token-id: abcdef\n  token-secret: 0123456789abcdef\n  \
         usage-bootstrap-authentication: 'true'\n  usage-bootstrap-signing: 'true'\n  \
         auth-extra-groups: system:bootstrappers:kubeadm:default-node-token\n",
    );
    let signed = kubectl.wait_until("get configmap cluster-info -n kube-public -o yaml", |text| {
        text.contains("jws-kubeconfig-abcdef: eyJ")
    });
    assert!(signed.contains(&format!("https://127.0.0.1:{}", lab.port)), "{signed}");
    let anyone = "--as system:anonymous --as-group system:unauthenticated";
    let read = kubectl.run(&format!("get configmap cluster-info -n kube-public -o name {anyone}"));
    assert_eq!(read, "configmap/cluster-info\n", "whoever wants to join reads it before he has a name");
    kubectl.fail(&format!("get configmaps -n kube-public {anyone}"), "");
    let machine = lab.kubectl_with_token("1.33", "abcdef.0123456789abcdef");
    let whoami = machine.run("auth whoami -o jsonpath={.status.userInfo.username}");
    assert_eq!(whoami, "system:bootstrap:abcdef");
    let (csr, _) = request("system:node:joiner", &["system:nodes"]);
    let manifest = signing_request("joiner", &csr, "kubernetes.io/kube-apiserver-client-kubelet");
    machine.run_with("create -f -", &manifest);
    kubectl.wait_until("get csr joiner", |text| text.contains("Approved,Issued"));
    assert!(kubectl.run("get csr joiner").contains("system:bootstrap:abcdef"));
}

#[test]
fn a_person_gets_a_certificate_and_logs_in_with_it() {
    let lab = small();
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        let user = format!("user-{}", version.replace('.', "-"));
        let (csr, key) = request(&user, &["dev", "ops"]);
        let manifest = signing_request(&user, &csr, "kubernetes.io/kube-apiserver-client");
        kubectl.run_with("create -f -", &manifest);
        let table = kubectl.run(&format!("get csr {user}"));
        assert!(table.contains("kubernetes-admin") && table.contains("Pending"), "{table}");
        let approved = kubectl.run(&format!("certificate approve {user}"));
        assert_eq!(approved, format!("certificatesigningrequest.certificates.k8s.io/{user} approved\n"));
        kubectl.wait_until(&format!("get csr {user}"), |text| text.contains("Approved,Issued"));
        let pem = base64(&kubectl.run(&format!("get csr {user} -o jsonpath={{.status.certificate}}")));
        let whoami = lab.kubectl_with_certificate(version, &pem, key.as_bytes()).run("auth whoami -o json");
        let whoami: Value = serde_json::from_str(&whoami).unwrap();
        assert_eq!(whoami["status"]["userInfo"]["username"], *user);
        assert_eq!(
            whoami["status"]["userInfo"]["groups"],
            serde_json::json!(["dev", "ops", "system:authenticated"]),
            "every organization is a group"
        );

        let (csr, _) = request("joe", &["dev"]);
        let denied = format!("denied-{user}");
        kubectl.run_with("create -f -", &signing_request(&denied, &csr, "kubernetes.io/kube-apiserver-client"));
        kubectl.run(&format!("certificate deny {denied}"));
        assert!(kubectl.run(&format!("get csr {denied}")).contains("Denied"));
        let failed = format!("failed-{user}");
        let serving = signing_request(&failed, &csr, "kubernetes.io/kubelet-serving");
        kubectl.run_with("create -f -", &serving.replace("client auth", "server auth"));
        kubectl.run(&format!("certificate approve {failed}"));
        let status = kubectl.wait_until(&format!("get csr {failed} -o yaml"), |text| text.contains("type: Failed"));
        assert!(status.contains("subject organization is not system:nodes"), "{status}");
        assert!(status.contains("reason: SignerValidationFailure"), "{status}");
    }
}

#[test]
fn what_was_asked_is_in_the_audit_log() {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    let text = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules:\n\
                - {level: None, userGroups: ['system:nodes']}\n\
                - {level: RequestResponse, resources: [{group: '', resources: [configmaps]}], namespaces: [default]}\n\
                - {level: Metadata, users: [kubernetes-admin, 'system:anonymous']}\n\
                - {level: Metadata, resources: [{group: '', resources: [serviceaccounts]}]}\n";
    fs::write(&policy, text).unwrap();
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1", "--audit-policy", policy.to_str().unwrap()]);
    let kubectl = lab.kubectl();
    kubectl.run("create configmap seen --from-literal=a=b");
    kubectl.run("get configmap seen --as kubernetes-admin --as-group system:masters");
    kubectl.fail("get configmap seen --as jane", "");
    kubectl.run("delete configmap seen");
    kubectl.run("get nodes");
    let log = lab.data_dir().join("logs/apiserver-1-audit.log");
    let lines = || -> Vec<Value> {
        let text = fs::read_to_string(&log).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    };
    let find = |what: &str, wanted: &dyn Fn(&Value) -> bool| {
        wait_for(what, || {
            let lines = lines();
            let last = lines.last().map(ToString::to_string).unwrap_or_default();
            lines.into_iter().find(|line| wanted(line)).ok_or(Seen(last))
        })
    };
    let about = |line: &Value, verb: &str, name: &str| line["verb"] == verb && line["objectRef"]["name"] == name;
    let created = find("the creation", &|line| about(line, "create", "seen"));
    assert_eq!((&created["kind"], &created["apiVersion"]), (&"Event".into(), &"audit.k8s.io/v1".into()));
    assert_eq!((&created["level"], &created["stage"]), (&"RequestResponse".into(), &"ResponseComplete".into()));
    assert_eq!(created["user"]["username"], "kubernetes-admin");
    assert_eq!(created["requestObject"]["data"]["a"], "b");
    assert!(created["responseObject"]["metadata"]["uid"].is_string(), "{created}");
    assert_eq!(created["responseStatus"]["code"], 201);
    assert_eq!(created["annotations"]["authorization.k8s.io/decision"], "allow");
    assert_eq!(created["sourceIPs"], serde_json::json!(["127.0.0.1"]));
    assert!(created["userAgent"].as_str().unwrap().starts_with("kubectl"), "{created}");
    assert!(created["requestURI"].as_str().unwrap().starts_with("/api/v1/namespaces/default/configmaps?"), "{created}");
    let other = find("the other identity", &|line| {
        about(line, "get", "seen") && line["impersonatedUser"]["username"] == "kubernetes-admin"
    });
    assert_eq!(other["user"]["username"], "kubernetes-admin");
    let refused = find("the refusal", &|line| about(line, "get", "seen") && line["responseStatus"]["code"] == 403);
    assert_eq!(refused["impersonatedUser"]["username"], "jane");
    assert_eq!(refused["annotations"]["authorization.k8s.io/decision"], "forbid");
    assert_eq!(refused["responseStatus"]["reason"], "Forbidden");
    let listed = find("the list", &|line| line["verb"] == "list" && line["objectRef"]["resource"] == "nodes");
    assert_eq!(listed["level"], "Metadata");
    assert!(listed.get("responseObject").is_none());
    let loops = find("a loop's write", &|line| {
        line["verb"] == "create" && line["user"]["username"] == "system:kube-controller-manager"
    });
    assert!(
        loops["annotations"]["authorization.k8s.io/reason"].as_str().unwrap().contains("RBAC: allowed by"),
        "{loops}"
    );
    assert!(lines().iter().all(|line| line["user"]["groups"].to_string().find("system:nodes").is_none()));
    let wrong = folder.path().join("wrong.yaml");
    fs::write(&wrong, "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Everything}]\n").unwrap();
    let output = Command::new(crate::harness::KUBELAB)
        .args(["up", "--detach", "--audit-policy", wrong.to_str().unwrap(), "--data-dir"])
        .arg(folder.path().join("other"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("rules[0].level: Unsupported value: \"Everything\""), "{said}");
}

/// A certificate request in PEM, and its key.
fn request(user: &str, groups: &[&str]) -> (String, String) {
    let pair = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, user);
    // rcgen keeps one value of a type, so the second organization goes under the type's number.
    let types = [DnType::OrganizationName, DnType::CustomDnType(vec![2, 5, 4, 10])];
    for (group, dn_type) in groups.iter().zip(types) {
        params.distinguished_name.push(dn_type, *group);
    }
    (params.serialize_request(&pair).unwrap().pem().unwrap(), pair.serialize_pem())
}

fn signing_request(name: &str, csr: &str, signer: &str) -> String {
    use ::base64::{Engine, engine::general_purpose::STANDARD};
    format!(
        "apiVersion: certificates.k8s.io/v1\nkind: CertificateSigningRequest\nmetadata: {{name: {name}}}\nspec:\n  \
         request: {}\n  signerName: {signer}\n  usages: [digital signature, client auth]\n",
        STANDARD.encode(csr)
    )
}

fn base64(text: &str) -> Vec<u8> {
    use ::base64::{Engine, engine::general_purpose::STANDARD};
    STANDARD.decode(text.trim()).unwrap()
}
