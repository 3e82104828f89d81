//! A real application, applied by an unmodified kubectl, comes up and tells its story.

use crate::harness::{KUBECTLS, Lab};

const WEBAPP: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/webapp.yaml");
const HELLO: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/hello.yaml");

#[test]
fn the_web_application_comes_up() {
    // Its pods are ready after 30 s, so each kubectl has a lab of its own at the same time.
    std::thread::scope(|scope| {
        for version in KUBECTLS {
            scope.spawn(move || comes_up(version));
        }
    });
}

fn comes_up(version: &str) {
    let lab = Lab::start();
    let kubectl = lab.kubectl_of(version);
    let applied = kubectl.run(&format!("apply -f {WEBAPP}"));
    for object in [
        "namespace/webapp",
        "configmap/app-config",
        "secret/app-secrets",
        "statefulset.apps/mysql",
        "service/mysql-service",
        "deployment.apps/webapp",
        "service/webapp-service",
        "ingress.networking.k8s.io/webapp-ingress",
        "cronjob.batch/db-backup",
    ] {
        assert!(applied.contains(&format!("{object} created")), "{version}: {object} in {applied}");
    }
    let again = kubectl.run(&format!("apply -f {WEBAPP}"));
    // As upstream: stringData and defaulted claim templates differ from what is stored, so kubectl sends them again.
    for line in again.lines() {
        let again = line.starts_with("secret/") || line.starts_with("statefulset");
        assert!(line.ends_with(if again { "configured" } else { "unchanged" }), "{version}: {line}");
    }

    kubectl.run("-n webapp rollout status deployment/webapp --timeout=120s");
    kubectl.run("-n webapp wait pod -l app=webapp --for=condition=Ready --timeout=120s");
    let pods = kubectl.json("-n webapp get pods -l app=webapp");
    let pods = pods["items"].as_array().unwrap();
    assert_eq!(pods.len(), 3);
    let addresses: Vec<_> = pods.iter().map(|pod| pod["status"]["podIP"].as_str().unwrap().to_owned()).collect();

    let endpoints = kubectl.wait_until("-n webapp get endpoints webapp-service -o json", |text| {
        addresses.iter().all(|address| text.contains(address.as_str()))
    });
    assert!(endpoints.contains("8080"), "{endpoints}");
    let slices = kubectl.run("-n webapp get endpointslices -l kubernetes.io/service-name=webapp-service");
    assert!(addresses.iter().all(|address| slices.contains(address.as_str())), "{slices}");

    let story = kubectl.run("-n webapp describe deployment webapp");
    assert!(story.contains("ScalingReplicaSet") && story.contains("to 3"), "{story}");
    assert!(story.contains("Available      True    MinimumReplicasAvailable"), "{story}");
    let name = pods[0]["metadata"]["name"].as_str().unwrap();
    let story = kubectl.wait_until(&format!("-n webapp describe pod {name}"), |text| text.contains("Started"));
    for event in ["Scheduled", "Pulled", "Created", "Started"] {
        assert!(story.contains(event), "{event} in {story}");
    }
    assert!(story.contains(&format!("Successfully assigned webapp/{name} to node-")), "{story}");
    assert!(story.contains("DATABASE_PASSWORD:  <set to the key 'db_password' in secret 'app-secrets'>"), "{story}");

    let printed = kubectl.run("-n webapp get all,ingress,cronjob,secret,configmap");
    for part in ["statefulset.apps/mysql", "myapp.example.com", "0 2 * * *", "Opaque", "mysql-service", "None"] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
    kubectl.run("delete namespace webapp --timeout=120s");
    assert!(kubectl.fail("get namespace webapp", "").contains(r#"namespaces "webapp" not found"#));
}

#[test]
fn a_node_port_answers_from_every_pod_in_turn() {
    let lab = Lab::start();
    let kubectl = lab.kubectl();
    kubectl.run(&format!("apply -f {HELLO}"));
    kubectl.run("rollout status deployment/hello --timeout=120s");
    let node = kubectl.run("get node node-1 -o jsonpath={.status.addresses[0].address}");
    let names = kubectl.run("get pods -l app=hello -o jsonpath={.items[*].metadata.name}");
    let mut unseen: Vec<&str> = names.split(' ').collect();
    assert_eq!(unseen.len(), 3);
    crate::harness::wait_for("an answer from each pod", || {
        let answer = get(&node, 30080).unwrap_or_default();
        unseen.retain(|name| !answer.contains(&format!("Server name: {name}")));
        if unseen.is_empty() {
            Ok(())
        } else {
            Err(crate::harness::Seen(format!("not from {unseen:?}; last: {answer}")))
        }
    });
}

fn get(host: &str, port: u16) -> std::io::Result<String> {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect((host, port))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

#[test]
fn why_leads_from_a_pod_back_to_the_command() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    kubectl.run("create deployment web --image=nginx");
    kubectl.run("rollout status deployment/web --timeout=120s");
    let name = kubectl.run("get pods -o jsonpath={.items[0].metadata.name}");
    let story = lab.kubelab(&["why", &format!("pod/{name}")]);
    let order = [
        "create deployments/default/web",
        "create replicasets/default/web-",
        &format!("create pods/default/{name}"),
        &format!("create/binding pods/default/{name}"),
        "bound to node-1",
    ];
    let mut rest = story.as_str();
    for step in order {
        rest = rest.split_once(step).unwrap_or_else(|| panic!("{step} should come next in\n{story}")).1;
    }
    assert!(story.starts_with("    0.000 ms") && story.lines().next().unwrap().contains("kubectl"), "{story}");
}
