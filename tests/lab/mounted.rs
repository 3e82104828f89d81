//! Volumes as the programs in containers see them: files.

use std::fs;

use serde_json::{Value, json};

use crate::harness::{Kubectl, Lab, Seen, wait_for};

fn pod(name: &str, node: &str, containers: Value, volumes: Value) -> String {
    let meta = json!({"name": name, "labels": {"app": name}});
    let mut spec = json!({"terminationGracePeriodSeconds": 1, "containers": containers, "volumes": volumes});
    if !node.is_empty() {
        spec["nodeName"] = node.into();
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": meta, "spec": spec}).to_string()
}

/// A container that only waits.
fn waiting(mounts: Value) -> Value {
    json!({"name": "c", "image": "busybox", "command": ["sleep", "infinity"], "volumeMounts": mounts})
}

fn ready(kubectl: &Kubectl, pod: &str) {
    kubectl.run(&format!("wait pod/{pod} --for=condition=Ready --timeout=120s"));
}

/// What a script prints in a pod's container.
fn sh(kubectl: &Kubectl, pod: &str, script: &str) -> String {
    kubectl.run(&format!("exec {pod} -c c -- sh -c '{script}'"))
}

fn event(kubectl: &Kubectl, pod: &str, wanted: &str) {
    let events = format!("get events --field-selector involvedObject.name={pod} -o jsonpath={{.items[*].message}}");
    kubectl.wait_until(&events, |text| text.contains(wanted));
}

fn config_map(name: &str, color: &str) -> String {
    let meta = json!({"name": name});
    let data = json!({"color": color, "app.conf": "a=1\nb=2\n"});
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": data}).to_string()
}

#[test]
fn configuration_shows_as_files_and_follows_its_source() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    let volumes = json!([
        {"name": "config", "configMap": {"name": "config"}},
        {"name": "secret", "secret": {"secretName": "secret", "defaultMode": 0o400}},
        {"name": "about", "downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
        {"name": "all", "projected": {"sources": [
            {"configMap": {"name": "config", "items": [{"key": "color", "path": "colors/first", "mode": 0o600}]}},
            {"secret": {"name": "secret"}},
            {"configMap": {"name": "later", "optional": true}}]}},
    ]);
    let mounts = json!([
        {"name": "config", "mountPath": "/etc/config"},
        {"name": "config", "mountPath": "/app/app.conf", "subPath": "app.conf"},
        {"name": "config", "mountPath": "/app/color", "subPath": "color"},
        {"name": "secret", "mountPath": "/etc/secret"},
        {"name": "about", "mountPath": "/etc/about"},
        {"name": "all", "mountPath": "/all"},
    ]);
    kubectl.run_with("create -f -", &pod("web", "", json!([waiting(mounts)]), volumes));
    event(&kubectl, "web", r#"MountVolume.SetUp failed for volume "config" : configmap "config" not found"#);
    event(&kubectl, "web", r#"MountVolume.SetUp failed for volume "secret" : secret "secret" not found"#);
    let waits = "get pod web -o jsonpath={.status.containerStatuses[0].state.waiting.reason}";
    kubectl.wait_until(waits, |text| text == "ContainerCreating");
    kubectl.run_with("create -f -", &config_map("config", "red"));
    kubectl.run("create secret generic secret --from-literal=password=s3cret");
    ready(&kubectl, "web");

    assert_eq!(sh(&kubectl, "web", "cat /etc/config/color /app/color /all/colors/first"), "redredred");
    assert_eq!(sh(&kubectl, "web", "ls /etc/config /all"), "/etc/config:\napp.conf\ncolor\n/all:\ncolors\npassword\n");
    assert_eq!(
        sh(&kubectl, "web", "stat -L -c %a /etc/secret/password /all/colors/first /app/color"),
        "400\n600\n644\n"
    );
    let listed = sh(&kubectl, "web", "ls -l /etc/secret; ls -lL /etc/secret");
    assert!(listed.contains(" password -> ..data/password\n") && listed.contains("-r--------    1 root"), "{listed}");
    assert_eq!(sh(&kubectl, "web", "wc -l < /app/app.conf"), "2\n");
    for refused in ["echo x > /etc/config/color", "rm /etc/secret/password", "echo x > /app/color"] {
        let said = kubectl.fail(&format!("exec web -- sh -c '{refused}'"), "");
        assert!(said.contains("Read-only file system"), "{refused}: {said}");
    }

    // What changes in the API changes in the files; a part that was mounted alone stays as it was.
    kubectl.run_with("replace -f -", &config_map("config", "blue"));
    kubectl.run_with("create -f -", &config_map("later", "green"));
    kubectl.run("label pod web tier=front");
    kubectl.wait_until("exec web -- cat /etc/config/color", |text| text == "blue");
    kubectl.wait_until("exec web -- cat /all/colors/first", |text| text == "blue");
    kubectl.wait_until("exec web -- cat /all/color", |text| text == "green");
    kubectl.wait_until("exec web -- cat /etc/about/labels", |text| text == "app=\"web\"\ntier=\"front\"");
    assert_eq!(sh(&kubectl, "web", "cat /app/color"), "red");
    // What was there stays when its source goes.
    kubectl.run("delete configmap config");
    assert_eq!(sh(&kubectl, "web", "cat /etc/config/color"), "blue");

    // The files of a container can be copied out.
    let copy = lab.data_dir().join("copied");
    kubectl.run(&format!("cp web:/app/app.conf {}", copy.display()));
    assert_eq!(fs::read_to_string(copy).unwrap(), "a=1\nb=2\n");
}

#[test]
fn a_token_is_there_for_who_looks_and_costs_nothing_before() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    kubectl.run("create serviceaccount robot");
    let mut web: Value =
        serde_json::from_str(&pod("web", "", json!([waiting(json!([])), {"name": "n", "image": "nginx"}]), json!([])))
            .unwrap();
    web["spec"]["serviceAccountName"] = "robot".into();
    kubectl.run_with("create -f -", &web.to_string());
    ready(&kubectl, "web");
    let uid = kubectl.run("get pod web -o jsonpath={.metadata.uid}");
    let files = lab.data_dir().join("node-1/files").join(uid);
    let written = || fs::read_dir(files.join("volumes")).into_iter().flatten().count();
    assert_eq!(written(), 0, "nobody has looked");

    let folder = "/var/run/secrets/kubernetes.io/serviceaccount";
    assert_eq!(sh(&kubectl, "web", &format!("ls {folder}")), "ca.crt\nnamespace\ntoken\n");
    assert_eq!(written(), 1);
    assert_eq!(sh(&kubectl, "web", &format!("cat {folder}/namespace")), "default");
    let authority = fs::read_to_string(lab.data_dir().join("pki/ca.crt")).unwrap();
    assert_eq!(sh(&kubectl, "web", &format!("cat {folder}/ca.crt")).trim(), authority.trim());
    let token = sh(&kubectl, "web", &format!("cat {folder}/token"));
    let robot = lab.kubectl_with_token("1.33", &token);
    let who = robot.json("auth whoami")["status"]["userInfo"].clone();
    assert_eq!(who["username"], "system:serviceaccount:default:robot");
    assert_eq!(who["extra"]["authentication.kubernetes.io/pod-name"], json!(["web"]));

    kubectl.run("delete pod web --timeout=60s");
    wait_for("the pod's files to be gone", || if files.exists() { Err(Seen("still there".into())) } else { Ok(()) });
}

#[test]
fn containers_share_what_their_pod_mounts() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    // A sidecar writes what the web server serves.
    let script = "while true; do echo \"$(date): Hello from sidecar\" > /shared/index.html; sleep 1; done";
    let site = json!([
        {"name": "web-server", "image": "nginx:1.21", "ports": [{"containerPort": 80}],
            "volumeMounts": [{"name": "shared-data", "mountPath": "/usr/share/nginx/html"}]},
        {"name": "content-updater", "image": "busybox", "command": ["sh", "-c"], "args": [script],
            "volumeMounts": [{"name": "shared-data", "mountPath": "/shared"}]},
    ]);
    kubectl.run_with("create -f -", &pod("site", "", site, json!([{"name": "shared-data", "emptyDir": {}}])));
    ready(&kubectl, "site");
    let page = "get --raw /api/v1/namespaces/default/pods/site:80/proxy/";
    let first = kubectl.wait_until(page, |text| text.contains("UTC") && text.contains(": Hello from sidecar"));
    kubectl.wait_until(page, |text| text.contains("Hello from sidecar") && text != first);

    // What an init container has written is there for the others, as a file and as variables; it outlives a restart.
    let volumes = json!([
        {"name": "work", "emptyDir": {}},
        {"name": "host", "hostPath": {"path": "/mnt/data", "type": "DirectoryOrCreate"}},
        {"name": "logs", "hostPath": {"path": "/var/log"}},
    ]);
    let mounts = json!([
        {"name": "work", "mountPath": "/work"},
        {"name": "work", "mountPath": "/mine", "subPathExpr": "$(POD)/data"},
        {"name": "work", "mountPath": "/view", "readOnly": true},
        {"name": "host", "mountPath": "/host"},
        {"name": "logs", "mountPath": "/logs"},
    ]);
    let mut main = waiting(mounts);
    main["env"] = json!([
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "MODE", "valueFrom": {"fileKeyRef": {"volumeName": "work", "path": "app.env", "key": "MODE"}}},
        {"name": "CPU", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}}},
    ]);
    main["resources"] = json!({"limits": {"cpu": "500m"}});
    let init = "echo MODE=fast > /work/app.env; echo first > /work/file; mkdir -p /work/app/data";
    let mut app: Value = serde_json::from_str(&pod("app", "", json!([main]), volumes.clone())).unwrap();
    app["spec"]["initContainers"] = json!([{"name": "init", "image": "busybox", "command": ["sh", "-c", init],
        "volumeMounts": [{"name": "work", "mountPath": "/work"}]}]);
    kubectl.run("create service clusterip db-main --tcp=3306:3306");
    kubectl.run_with("create -f -", &app.to_string());
    ready(&kubectl, "app");
    let variables = "echo $MODE $CPU $KUBERNETES_SERVICE_PORT_HTTPS $DB_MAIN_SERVICE_PORT; cat /work/file";
    assert_eq!(sh(&kubectl, "app", variables), "fast 500 443 3306\nfirst\n");
    assert_eq!(sh(&kubectl, "app", "echo 1 > /mine/x; cat /work/app/data/x; stat -c %a /work"), "1\n777\n");
    let said = kubectl.fail("exec app -- touch /view/x", "");
    assert!(said.contains("touch: /view/x: Read-only file system"), "{said}");
    sh(&kubectl, "app", "echo shared > /host/file");
    assert!(sh(&kubectl, "app", "ls /logs/pods").contains("default_site_"), "the logs of the node's pods");
    let mut other = waiting(json!([{"name": "host", "mountPath": "/host"}]));
    other["name"] = "c".into();
    kubectl.run_with("create -f -", &pod("other", "", json!([other]), volumes));
    ready(&kubectl, "other");
    assert_eq!(sh(&kubectl, "other", "cat /host/file"), "shared\n");
    let bad = json!([{"name": "host", "hostPath": {"path": "/mnt/none", "type": "Directory"}}]);
    kubectl.run_with("create -f -", &pod("bad", "", json!([waiting(json!([]))]), bad));
    let why = "MountVolume.SetUp failed for volume \"host\" : hostPath type check failed: /mnt/none is not a directory";
    event(&kubectl, "bad", why);

    // A volume with a limit.
    let volumes = json!([{"name": "cache", "emptyDir": {"sizeLimit": "1Ki"}}]);
    let full = pod("full", "", json!([waiting(json!([{"name": "cache", "mountPath": "/cache"}]))]), volumes);
    kubectl.run_with("create -f -", &full);
    ready(&kubectl, "full");
    sh(&kubectl, "full", "seq 1 1000 > /cache/numbers");
    kubectl.wait_until("get pod full -o jsonpath={.status.reason}", |text| text == "Evicted");
    let message = kubectl.run("get pod full -o jsonpath={.status.message}");
    assert_eq!(message, "Usage of EmptyDir volume \"cache\" exceeds the limit \"1Ki\". ");
    assert_eq!(kubectl.run("get pod full -o jsonpath={.status.phase}"), "Failed");
}

#[test]
fn data_outlives_its_pod_and_follows_it() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    let claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": {"name": "data"},
        "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let volumes = |read_only: bool| json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data", "readOnly": read_only}}]);
    let containers = || json!([waiting(json!([{"name": "data", "mountPath": "/data"}]))]);
    kubectl.run_with("create -f -", &pod("early", "node-1", containers(), volumes(false)));
    event(&kubectl, "early", "error processing PVC default/data: failed to fetch PVC from API server: ");
    kubectl.run_with("create -f -", &claim.to_string());
    ready(&kubectl, "early");
    sh(&kubectl, "early", "echo kept > /data/file");
    let name = kubectl.run("get pvc data -o jsonpath={.spec.volumeName}");
    let in_use = |node: &str| format!("get node {node} -o jsonpath={{.status.volumesInUse[*]}}");
    let unique = format!("kubernetes.io/csi/csi.kubelab.dev^{name}");
    assert_eq!(kubectl.run(&in_use("node-1")), unique);
    kubectl.run("delete pod early --timeout=60s");
    kubectl.wait_until(&in_use("node-1"), str::is_empty);

    kubectl.run_with("create -f -", &pod("late", "node-2", containers(), volumes(true)));
    ready(&kubectl, "late");
    assert_eq!(sh(&kubectl, "late", "cat /data/file"), "kept\n");
    let said = kubectl.fail("exec late -- touch /data/file", "");
    assert!(said.contains("Read-only file system"), "{said}");
    let content = lab.data_dir().join("volumes/csi.kubelab.dev").join(&name);
    assert!(content.join("file").exists());
    kubectl.run("delete pod late --timeout=60s");
    kubectl.run("delete pvc data --timeout=60s");
    wait_for("the content to be gone", || if content.exists() { Err(Seen("still there".into())) } else { Ok(()) });

    // A database's data stays over the deletion of its pod.
    let template = json!({"metadata": {"labels": {"app": "mysql"}}, "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "mysql:8.0",
            "volumeMounts": [{"name": "mysql-storage", "mountPath": "/var/lib/mysql"}]}]}});
    let mysql = json!({"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "mysql"}, "spec": {
        "serviceName": "mysql", "replicas": 1, "selector": {"matchLabels": {"app": "mysql"}}, "template": template,
        "volumeClaimTemplates": [{"metadata": {"name": "mysql-storage"}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "100Gi"}}}}]}});
    kubectl.run_with("create -f -", &mysql.to_string());
    kubectl.wait_until("get pod mysql-0", |text| text.contains("1/1"));
    sh(&kubectl, "mysql-0", "echo rows > /var/lib/mysql/table");
    let uid = kubectl.run("get pod mysql-0 -o jsonpath={.metadata.uid}");
    kubectl.run("delete pod mysql-0 --timeout=60s");
    let again = "get pod mysql-0 -o 'jsonpath={.metadata.uid} {.status.containerStatuses[0].ready}'";
    kubectl.wait_until(again, |text| !text.starts_with(&uid) && text.ends_with("true"));
    assert_eq!(sh(&kubectl, "mysql-0", "cat /var/lib/mysql/table"), "rows\n");
}
