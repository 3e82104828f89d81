//! kubectl's commands, with the oldest and the newest kubectl that is supported.

mod applied;
mod changed;
mod deprecated;
mod edited;
mod generated;
mod nodes;
mod removed;
mod rolled;
mod shown;

use crate::harness::{KUBECTLS, Kubectl, Lab, config_maps};

/// A small lab, and on it each kubectl in a namespace of its own.
fn with_each_kubectl(test: impl Fn(&Lab, &Kubectl, &str)) {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    for version in KUBECTLS {
        let namespace = format!("v{}", version.replace('.', "-"));
        test(&lab, &lab.kubectl_of(version).within(&namespace), &namespace);
    }
}

/// Runs each command; what it says must be what stands beside it. `{ns}` is the namespace.
/// All that differ are shown.
fn expect(kubectl: &Kubectl, namespace: &str, rows: &[(&str, &str)]) {
    // What kubectl 1.27 says of it.
    let annotated = if namespace == "v1-27" { "annotate" } else { "annotated" };
    let mut wrong = String::new();
    for (command, expected) in rows {
        let command = command.replace("{ns}", namespace);
        let expected = expected.replace("{ns}", namespace).replace("{annotated}", annotated);
        let said = kubectl.says(&command);
        if said.trim_end() != expected {
            wrong += &format!("kubectl {command}\n  says: {}\n  not:  {expected}\n", said.trim_end());
        }
    }
    assert!(wrong.is_empty(), "in namespace {namespace}:\n{wrong}");
}

const WEB: &str = "\
apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 1
  selector:
    matchLabels: {app: web}
  template:
    metadata:
      labels: {app: web}
    spec:
      containers:
      - name: web
        image: nginx:1.25
        ports:
        - containerPort: 80
";

#[test]
fn objects_are_applied_changed_and_shown() {
    let lab = Lab::start();
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        assert_eq!(kubectl.run_with("apply -f -", WEB), "deployment.apps/web created\n");
        kubectl.run("rollout status deployment/web --timeout=120s");
        let table = kubectl.run("get deployments");
        assert!(
            table.starts_with("NAME   READY   UP-TO-DATE   AVAILABLE   AGE\nweb    1/1     1            1 "),
            "{table}"
        );
        let wide = kubectl.run("get deployment web -o wide");
        assert!(wide.contains("nginx:1.25") && wide.contains("app=web"), "{wide}");

        assert_eq!(kubectl.run("scale deployment/web --replicas=3"), "deployment.apps/web scaled\n");
        kubectl.run("rollout status deployment/web --timeout=120s");
        assert_eq!(kubectl.run("get pods -l app=web -o name").lines().count(), 3);

        let changed = WEB.replace("nginx:1.25", "nginx:1.27");
        let diff = kubectl.fail_with_output("diff -f -", &changed);
        assert!(diff.contains("+        image: nginx:1.27") || diff.contains("+      - image: nginx:1.27"), "{diff}");
        assert_eq!(kubectl.run_with("apply -f -", &changed), "deployment.apps/web configured\n");
        kubectl.run("rollout status deployment/web --timeout=120s");
        let history = kubectl.run("rollout history deployment/web");
        assert!(history.contains("REVISION") && history.contains("\n2 "), "{history}");
        kubectl.run("set image deployment/web web=nginx:1.28");
        kubectl.run("rollout status deployment/web --timeout=120s");
        assert_eq!(
            kubectl.run("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}"),
            "nginx:1.28"
        );
        kubectl.run("rollout undo deployment/web");
        kubectl.run("rollout status deployment/web --timeout=120s");
        assert_eq!(
            kubectl.run("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}"),
            "nginx:1.27"
        );
        kubectl.run("rollout restart deployment/web");
        kubectl.run("rollout status deployment/web --timeout=120s");

        kubectl.run("label deployment web tier=front");
        kubectl.run("annotate deployment web note=hello");
        assert_eq!(kubectl.run("get deployment -l tier=front -o name"), "deployment.apps/web\n");
        for patch in [
            r#"patch deployment web --type=merge -p '{"spec":{"paused":true}}'"#,
            r#"patch deployment web --type=json -p '[{"op":"replace","path":"/spec/paused","value":false}]'"#,
            r#"patch deployment web -p '{"spec":{"template":{"spec":{"containers":[{"name":"web","env":[{"name":"A","value":"b"}]}]}}}}'"#,
        ] {
            assert_eq!(kubectl.run(patch), "deployment.apps/web patched\n");
        }
        let image = kubectl.run("get deployment web -o jsonpath={.spec.template.spec.containers[0].image}");
        assert_eq!(image, "nginx:1.27", "a strategic merge patch keeps the container's other fields");

        let edited = kubectl.edit("deployment/web", "s/replicas: 1/replicas: 2/");
        assert!(edited.contains("deployment.apps/web edited"), "{edited}");
        kubectl.run("wait deployment/web --for=jsonpath={.status.readyReplicas}=2 --timeout=120s");

        assert!(kubectl.run("delete deployment web").contains(r#"deployment.apps "web" deleted"#));
        kubectl.wait_until("get pods,replicasets", |text| text.contains("No resources found"));
    }
}

#[test]
fn the_api_explains_itself() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        let resources = kubectl.run("api-resources");
        for row in
            ["deployments", "po ", "ingresses", "horizontalpodautoscalers", "validatingadmissionpolicies", "leases"]
        {
            assert!(resources.contains(row), "{row} in {resources}");
        }
        let versions = kubectl.run("api-versions");
        assert!(versions.contains("apps/v1") && versions.contains("autoscaling/v2"), "{versions}");
        let explained = kubectl.run("explain deployment.spec.strategy.rollingUpdate");
        assert!(explained.contains("maxSurge") && explained.contains("GROUP:      apps"), "{explained}");
        let whole = kubectl.run("explain pod --recursive");
        assert!(whole.contains("terminationGracePeriodSeconds"), "{whole}");
        let server = kubectl.run("version -o json");
        assert!(server.contains("serverVersion") && server.contains("v1.37"), "{server}");
        let refused = kubectl.fail("apply -f -", "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: x\ndta: {}\n");
        assert!(refused.contains(r#"unknown field "dta""#), "{refused}");
    }
}

#[test]
fn every_kind_is_accepted_stored_and_printed() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    let manifests = include_str!("kinds.yaml");
    let created = kubectl.run_with("create -f -", manifests);
    assert_eq!(created.lines().count(), manifests.matches("\nkind:").count(), "{created}");
    let names: Vec<_> = created.lines().map(|line| line.trim_end_matches(" created")).collect();
    let got = kubectl.run(&format!("get {} -o name", names.join(" ")));
    assert_eq!(got.lines().collect::<Vec<_>>(), names);
    let tables = kubectl.run(&format!("get {} -o wide", names.join(" ")));
    for name in &names {
        let is_in = |table: &str| table.split_whitespace().any(|word| word == *name);
        let table = tables.split("\n\n").find(|table| is_in(table)).unwrap_or_else(|| panic!("{name} in\n{tables}"));
        assert!(table.lines().next().unwrap().contains("NAME"), "{table}");
    }
    // kubectl 1.33 describes this one by v1beta1 alone, which no apiserver serves by default.
    let described = names.iter().filter(|name| !name.starts_with("volumeattributesclass."));
    kubectl.run(&format!("describe {}", described.copied().collect::<Vec<_>>().join(" ")));
}

#[test]
fn a_watch_follows_and_the_rest_of_get_works() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        let log = lab.data_dir().join("watch.log");
        let mut watch = kubectl.command();
        watch.args(["get", "configmaps", "-w", "-l", "watched=yes", "--output-watch-events"]);
        let mut watch = watch.stdout(std::fs::File::create(&log).unwrap()).spawn().unwrap();
        kubectl.run("create configmap watched --from-literal=a=b");
        kubectl.run("label configmap watched watched=yes");
        kubectl.run("annotate configmap watched x=y");
        kubectl.run("label configmap watched watched-");
        crate::harness::wait_for("three events", || {
            let text = std::fs::read_to_string(&log).unwrap();
            let done = text.contains("DELETED");
            if done { Ok(()) } else { Err(crate::harness::Seen(text)) }
        });
        watch.kill().unwrap();
        watch.wait().unwrap();
        let kinds: Vec<_> = std::fs::read_to_string(&log)
            .unwrap()
            .lines()
            .filter_map(|line| line.split_whitespace().next().map(String::from))
            .filter(|word| word != "EVENT")
            .collect();
        assert_eq!(kinds, ["ADDED", "MODIFIED", "DELETED"]);
        kubectl.run("delete configmap watched");

        kubectl.run_with("create -f -", &config_maps("paged", 25));
        let paged = kubectl.run("get configmaps --chunk-size=7 -o name");
        assert_eq!(paged.lines().filter(|line| line.contains("paged-")).count(), 25);
        assert_eq!(kubectl.run("get configmap --field-selector metadata.name=paged-3 -o name"), "configmap/paged-3\n");
        let sorted = kubectl.run("get configmaps --sort-by=.metadata.name -o custom-columns=N:.metadata.name");
        assert!(sorted.starts_with("N\n"), "{sorted}");
        assert!(kubectl.run("get configmap paged-1 -o yaml").contains("i: \"1\""));
        let names: Vec<_> = (0..25).map(|i| format!("paged-{i}")).collect();
        kubectl.run(&format!("delete configmap {}", names.join(" ")));
    }
}
