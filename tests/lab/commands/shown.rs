//! `kubectl get` in all its forms, `describe`, `explain`, `events`, and what tells of the API itself.

use std::fs;

use super::{expect, with_each_kubectl};
use crate::harness::{Kubectl, Seen, wait_for};

const THINGS: &str = "
apiVersion: v1
kind: ConfigMap
metadata: {name: one, labels: {tier: front, size: s}}
data: {a: '3'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: two, labels: {tier: back, size: m}}
data: {a: '1', b: x}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: three, labels: {tier: back}}
data: {a: '2'}
---
apiVersion: v1
kind: Pod
metadata: {name: pod, labels: {app: pod}}
spec: {containers: [{name: web, image: nginx}]}
---
apiVersion: v1
kind: Service
metadata: {name: svc}
spec: {clusterIP: None, selector: {app: pod}, ports: [{port: 80}]}
";

#[test]
fn objects_are_shown_in_every_form() {
    with_each_kubectl(|lab, kubectl, namespace| {
        kubectl.run_with("create -f -", THINGS);
        kubectl.run("wait --for=condition=Ready pod/pod --timeout=120s");
        let folder = lab.data_dir().display();
        fs::write(lab.data_dir().join("path"), "{.data.a}").unwrap();
        fs::write(lab.data_dir().join("template"), "{{.data.a}}").unwrap();
        fs::write(lab.data_dir().join("columns"), "NAME  A\n.metadata.name .data.a\n").unwrap();
        let files = [
            (format!("get configmap two -o jsonpath-file={folder}/path"), "1"),
            (format!("get configmap two -o go-template-file={folder}/template"), "1"),
            (format!("get configmap two -o custom-columns-file={folder}/columns"), "NAME   A\ntwo    1"),
        ];
        expect(kubectl, namespace, &files.each_ref().map(|(command, said)| (command.as_str(), *said)));
        expect(kubectl, namespace, FORMS);
        tables(kubectl, namespace);
        manifests(kubectl);
        watches(kubectl);
        let described = kubectl.run("describe pod pod");
        for line in [
            "Name:             pod\n",
            "Status:           Running\n",
            "Service Account:  default\n",
            "    Image:          nginx\n",
        ] {
            assert!(described.contains(line), "{line} in {described}");
        }
        let event = format!("Successfully assigned {namespace}/pod to node-");
        for told in [&*event, "Successfully pulled image \"nginx\"", "Container created", "Container started"] {
            assert!(described.contains(told), "{told} in {described}");
        }
        events(kubectl);
    });
}

const FORMS: &[(&str, &str)] = &[
    ("get configmap one two -o name", "configmap/one\nconfigmap/two"),
    ("get configmap/one svc/svc -o name", "configmap/one\nservice/svc"),
    ("get configmaps -l tier=back -o name", "configmap/three\nconfigmap/two"),
    ("get configmaps -l tier!=back,tier -o name", "configmap/one"),
    ("get configmaps -l 'size in (s,m)' -o name", "configmap/one\nconfigmap/two"),
    ("get configmaps -l '!size,tier' -o name", "configmap/three"),
    ("get configmaps -l size=xl", "No resources found in {ns} namespace."),
    (
        "get configmaps --field-selector metadata.name!=one,metadata.name!=kube-root-ca.crt -o name",
        "configmap/three\nconfigmap/two",
    ),
    (
        "get configmaps --field-selector data.a=1",
        "Error from server (BadRequest): Unable to find \"/v1, Resource=configmaps\" that match label selector \"\", field selector \"data.a=1\": \"data.a\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
    ),
    ("get pods --field-selector status.phase=Running,spec.nodeName=node-1 -o name", "pod/pod"),
    ("get configmaps -l tier --sort-by=.data.a -o name", "configmap/two\nconfigmap/three\nconfigmap/one"),
    ("get configmaps -l tier --sort-by={.metadata.name} -o name", "configmap/one\nconfigmap/three\nconfigmap/two"),
    (
        "get configmaps -l tier -o custom-columns=NAME:.metadata.name,B:.data.b",
        "NAME    B\none     <none>\nthree   <none>\ntwo     x",
    ),
    ("get configmaps -l tier --no-headers -o custom-columns=N:.metadata.name", "one\nthree\ntwo"),
    ("get configmaps -l tier -o jsonpath={.items[*].data.a}", "3 2 1"),
    ("get configmaps -l tier -o jsonpath={range.items[*]}{.metadata.name}={.data.a};{end}", "one=3;three=2;two=1;"),
    ("get configmaps -l tier -o jsonpath={.items[?(@.data.b==\"x\")].metadata.name}", "two"),
    ("get configmaps -l tier -o go-template={{range.items}}{{.metadata.name}},{{end}}", "one,three,two,"),
    ("get configmap one -o go-template={{.data.a}}", "3"),
    ("get configmaps -l tier --chunk-size=1 -o name", "configmap/one\nconfigmap/three\nconfigmap/two"),
    ("get configmap gone", "Error from server (NotFound): configmaps \"gone\" not found"),
    ("get configmap gone --ignore-not-found", ""),
    ("get nothing", "error: the server doesn't have a resource type \"nothing\""),
    (
        "get --raw /api/v1/namespaces/{ns}/configmaps/gone",
        "Error from server (NotFound): configmaps \"gone\" not found",
    ),
    ("get pod pod -o jsonpath={.status.phase},{.spec.nodeName}", "Running,node-1"),
    ("get pod pod --subresource=status -o jsonpath={.status.phase}", "Running"),
    (
        "get endpoints svc -o jsonpath={.subsets[0].ports[0].port}",
        "80Warning: v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    ),
];

fn tables(kubectl: &Kubectl, namespace: &str) {
    // The age's column is the last, and differs.
    for (command, first, row) in [
        ("get configmaps one", "NAME DATA AGE", "one 1"),
        ("get configmap two -o wide", "NAME DATA AGE", "two 2"),
        ("get configmaps -l tier=front -L size,color", "NAME DATA AGE SIZE COLOR", "one 1"),
        ("get configmaps -l tier=front --show-labels", "NAME DATA AGE LABELS", "one 1"),
        ("get configmaps -A -l tier=front", "NAMESPACE NAME DATA AGE", ""),
        ("get configmaps one --show-kind", "NAME DATA AGE", "configmap/one 1"),
        ("get configmaps one --server-print=false", "NAME AGE", "one"),
        ("get pod pod", "NAME READY STATUS RESTARTS AGE", "pod 1/1 Running 0"),
        (
            "get pod pod -o wide",
            "NAME READY STATUS RESTARTS AGE IP NODE NOMINATED NODE READINESS GATES",
            "pod 1/1 Running 0",
        ),
        ("get service svc", "NAME TYPE CLUSTER-IP EXTERNAL-IP PORT(S) AGE", "svc ClusterIP None <none> 80/TCP"),
        ("get node node-1", "NAME STATUS ROLES AGE VERSION", "node-1 Ready <none>"),
        ("get namespace kube-system", "NAME STATUS AGE", "kube-system Active"),
        ("get serviceaccount default", "NAME SECRETS AGE", "default 0"),
    ] {
        let table = kubectl.run(command);
        let squeezed: Vec<_> =
            table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        let row_is_there = squeezed.iter().skip(1).any(|line| line.starts_with(row));
        assert!(squeezed.first().is_some_and(|line| line == first) && row_is_there, "{command}: {table}");
    }
    let bare = kubectl.run("get configmaps one --no-headers");
    assert_eq!(bare.lines().count(), 1, "{bare}");
    let both = kubectl.run("get configmap/one service/svc");
    assert!(both.contains("configmap/one ") && both.contains("\n\nNAME") && both.contains("service/svc "), "{both}");
    let all = kubectl.run("get all");
    assert!(all.contains("pod/pod ") && all.contains("service/svc ") && !all.contains("configmap"), "{all}");
    let labels = kubectl.run("get configmaps -l tier=front --show-labels");
    assert!(labels.contains("size=s,tier=front"), "{labels}");
    let everywhere = kubectl.run("get configmaps -A");
    assert!(everywhere.contains(namespace) && everywhere.contains("kube-system"), "{everywhere}");
}

fn manifests(kubectl: &Kubectl) {
    let yaml = kubectl.run("get configmap one -o yaml");
    assert!(yaml.starts_with("apiVersion: v1\ndata:\n  a: \"3\"\nkind: ConfigMap\nmetadata:\n"), "{yaml}");
    assert!(!yaml.contains("managedFields"), "{yaml}");
    let managed = kubectl.run("get configmap one -o yaml --show-managed-fields");
    assert!(managed.contains("  managedFields:\n  - apiVersion: v1\n    fieldsType: FieldsV1\n"), "{managed}");
    assert!(managed.contains("manager: kubectl-create\n    operation: Update\n"), "{managed}");
    let list = kubectl.json("get configmaps -l tier=back");
    assert_eq!((list["kind"].as_str(), list["items"].as_array().unwrap().len()), (Some("List"), 2));
    let raw = kubectl.run("get --raw /api/v1/configmaps?labelSelector=tier%3Dfront&limit=1");
    assert!(raw.starts_with(r#"{"kind":"ConfigMapList","apiVersion":"v1""#), "{raw}");
}

const SEEN: &str = r#"{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"seen","labels":{"seen":"yes"}}}"#;

/// Every `-w` sees the object that is made and removed while it watches.
fn watches(kubectl: &Kubectl) {
    for (flags, wanted) in [
        ("-w", &["seen 0"][..]),
        ("--watch-only -o name", &["configmap/seen"]),
        ("-w --output-watch-events", &["ADDED seen 0", "DELETED seen 0"]),
        ("-w -o jsonpath={.metadata.name};", &["seen;"]),
    ] {
        let log = tempfile::NamedTempFile::new().unwrap();
        let mut watch = kubectl.command();
        watch.args(["get", "configmaps", "-l", "seen=yes"]).args(flags.split(' '));
        let mut watch = watch.stdout(log.reopen().unwrap()).spawn().unwrap();
        wait_for(&format!("get {flags}"), || {
            // It may begin to watch at any time: so the object comes and goes until it has been seen.
            kubectl.run_with("create -f -", SEEN);
            kubectl.run("delete configmap seen");
            let text = fs::read_to_string(log.path()).unwrap();
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            if wanted.iter().all(|part| text.contains(part)) { Ok(()) } else { Err(Seen(text)) }
        });
        watch.kill().unwrap();
        watch.wait().unwrap();
    }
}

fn events(kubectl: &Kubectl) {
    kubectl.wait_until("events --for pod/pod", |text| text.contains("Started"));
    let events = kubectl.run("events --for pod/pod");
    let first = events.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(first, "LAST SEEN TYPE REASON OBJECT MESSAGE");
    assert!(events.contains("Scheduled") && events.contains("Pod/pod"), "{events}");
    let warnings = kubectl.says("events --types=Warning");
    assert!(warnings.contains("No events found in"), "{warnings}");
    let names = kubectl.run("get events -A -o name");
    assert!(names.contains("event/pod."), "{names}");
    let got = kubectl.run("get events --field-selector involvedObject.name=pod,reason=Scheduled");
    let head = got.lines().next().unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(head, "LAST SEEN TYPE REASON OBJECT MESSAGE");
    assert_eq!(got.lines().count(), 2, "{got}");
}

#[test]
fn the_api_is_listed_and_explained() {
    with_each_kubectl(|lab, kubectl, namespace| {
        expect(kubectl, namespace, LISTED);
        let wide = kubectl.run("api-resources -o wide --api-group=apps");
        let row = wide.lines().find(|line| line.starts_with("deployments")).unwrap_or_default();
        let cells: Vec<_> = row.split_whitespace().collect();
        let wanted = ["deployments", "deploy", "apps/v1", "true", "Deployment"];
        assert_eq!(cells.get(..5), Some(&wanted[..]), "{wide}");
        assert_eq!(
            cells.get(5..),
            Some(&["create,delete,deletecollection,get,list,patch,update,watch", "all"][..]),
            "{wide}"
        );
        let cluster = kubectl.run("api-resources --namespaced=false --no-headers -o name");
        assert!(cluster.contains("nodes\n") && !cluster.contains("pods\n"), "{cluster}");
        let writable = kubectl.run("api-resources --verbs=list,create --sort-by=kind --no-headers");
        let kinds: Vec<_> = writable.lines().filter_map(|line| line.split_whitespace().last()).collect();
        assert!(kinds.is_sorted() && kinds.contains(&"Pod") && !kinds.contains(&"Binding"), "{writable}");
        assert!(kubectl.run("api-resources --categories=all -o name").starts_with("pods\n"));
        assert!(kubectl.run("api-resources --cached").starts_with("NAME "));

        let old = kubectl.run("explain horizontalpodautoscalers --api-version=autoscaling/v1 --recursive");
        assert!(old.contains("targetCPUUtilizationPercentage") && old.contains("VERSION:"), "{old}");
        let new = kubectl.run("explain horizontalpodautoscalers.spec");
        assert!(new.contains("GROUP:      autoscaling") && new.contains("behavior"), "{new}");
        let plain = kubectl.run("explain pod.spec.containers.livenessProbe --output=plaintext-openapiv2");
        assert!(plain.contains("periodSeconds") && plain.contains("<integer>"), "{plain}");
        let missing = kubectl.fail("explain pod.spec.nothing", "");
        assert!(missing.contains("field \"nothing\" does not exist"), "{missing}");

        let version = kubectl.run("version -o yaml");
        assert!(version.contains("serverVersion:\n") && version.contains("  minor: \"37\"\n"), "{version}");
        let info = kubectl.run("cluster-info");
        assert!(
            info.contains("Kubernetes control plane") && info.contains(&format!("https://127.0.0.1:{}", lab.port)),
            "{info}"
        );
        kubectl.run("run dumped --image=nginx");
        kubectl.run("wait --for=condition=Ready pod/dumped --timeout=120s");
        let dump = kubectl.run(&format!("cluster-info dump --namespaces={namespace}"));
        assert!(dump.contains("\"kind\": \"NodeList\"") && dump.contains("\"name\": \"dumped\""), "no pod in the dump");
        assert!(dump.contains("==== START logs for container dumped of pod "), "no logs in the dump");
        let folder = lab.data_dir().join(format!("dump-{namespace}"));
        kubectl.run(&format!("cluster-info dump --all-namespaces --output-directory={}", folder.display()));
        assert!(folder.join("nodes.json").exists() && folder.join(namespace).join("pods.json").exists());
    });
}

const LISTED: &[(&str, &str)] = &[
    ("api-resources --api-group=policy --no-headers -o name", "poddisruptionbudgets.policy"),
    (
        "api-resources --api-group=batch --namespaced=true",
        "NAME       SHORTNAMES   APIVERSION   NAMESPACED   KIND\ncronjobs   cj           batch/v1     true         CronJob\njobs                    batch/v1     true         Job",
    ),
    ("explain nothing", "the server doesn't have a resource type \"nothing\""),
];
