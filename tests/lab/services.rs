//! Services, as clients outside of the cluster meet them: node ports, load balancers, policies, affinity, IPVS, rules.

use std::{
    collections::BTreeSet,
    io::{self, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::harness::{Kubectl, Lab, Seen, wait_for};

/// How long a client waits for an answer that will not come.
const BRIEFLY: Duration = Duration::from_millis(500);

fn web(replicas: usize, service: Value) -> String {
    let container =
        json!({"name": "hello", "image": "nginxdemos/hello", "ports": [{"name": "http", "containerPort": 80}]});
    let mut spec = json!({"selector": {"app": "web"}, "ports": [{"port": 8080, "targetPort": "http"}]});
    spec.as_object_mut().unwrap().extend(service.as_object().unwrap().clone());
    let items = json!([
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"}, "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [container]}},
        }},
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web"}, "spec": spec},
    ]);
    json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string()
}

/// What a client hears at an address; `patience` is how long it waits for each step.
fn get_within(address: SocketAddr, path: &str, patience: Duration) -> io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&address, patience)?;
    stream.set_read_timeout(Some(patience))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.is_empty() { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(answer) }
}

/// The name of the pod that answers.
fn who(address: SocketAddr) -> io::Result<String> {
    who_within(address, Duration::from_secs(20))
}

fn who_within(address: SocketAddr, patience: Duration) -> io::Result<String> {
    let answer = get_within(address, "/", patience)?;
    let name = answer.lines().find_map(|line| line.strip_prefix("Server name: "));
    name.map(|name| name.trim().to_owned()).ok_or_else(|| io::Error::other(answer))
}

fn names(address: SocketAddr, times: usize) -> BTreeSet<String> {
    (0..times).map(|_| who(address).unwrap()).collect()
}

/// Asks until so many different pods have answered.
fn until_names(address: SocketAddr, count: usize) {
    let mut seen = BTreeSet::new();
    wait_for(&format!("{count} pods behind {address}"), || {
        if let Ok(name) = who(address) {
            seen.insert(name);
        }
        if seen.len() == count { Ok(()) } else { Err(Seen(format!("{seen:?}"))) }
    });
}

fn node_port(kubectl: &Kubectl, node: &str) -> SocketAddr {
    let ip = kubectl.run(&format!("get node {node} -o jsonpath={{.status.addresses[0].address}}"));
    let port = kubectl.run("get service web -o jsonpath={.spec.ports[0].nodePort}");
    SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap())
}

fn balancer(kubectl: &Kubectl) -> SocketAddr {
    let ip = kubectl.wait_until("get service web -o jsonpath={.status.loadBalancer.ingress[0].ip}", |text| {
        text.parse::<std::net::IpAddr>().is_ok()
    });
    SocketAddr::new(ip.parse().unwrap(), 8080)
}

fn until_rules(lab: &Lab, node: &str, wanted: impl Fn(&str) -> bool) -> String {
    wait_for(&format!("the rules of {node}"), || {
        let rules = lab.kubelab(&["rules", node]);
        if wanted(&rules) { Ok(rules) } else { Err(Seen(rules)) }
    })
}

#[test]
fn node_ports_and_load_balancers_answer_from_outside() {
    let lab = Lab::with(&["--apiservers", "1"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("create -f -", &web(3, json!({"type": "LoadBalancer"})));
    kubectl.run("rollout status deployment/web --timeout=120s");
    let nodes = ["node-1", "node-2", "node-3"];
    for node in nodes {
        until_names(node_port(&kubectl, node), 3);
    }
    let balanced = balancer(&kubectl);
    until_names(balanced, 3);

    // The rules are those of a real node.
    let rules = until_rules(&lab, "node-1", |rules| rules.matches("default/web -> ").count() == 3);
    let ip = kubectl.run("get service web -o jsonpath={.spec.clusterIP}");
    for part in [
        &format!(
            "-A KUBE-SERVICES -d {ip}/32 -p tcp -m comment --comment \"default/web cluster IP\" -m tcp --dport 8080"
        ),
        &format!(
            "-A KUBE-SERVICES -d {}/32 -p tcp -m comment --comment \"default/web loadbalancer IP\"",
            balanced.ip()
        ),
        "-m statistic --mode random --probability 0.33333333349 -j KUBE-SEP-",
        "-A KUBE-SERVICES -d 10.96.0.1/32 -p tcp -m comment --comment \"default/kubernetes:https cluster IP\" -m tcp \
         --dport 443 -j KUBE-SVC-NPX46M4PTMTKRN6Y",
    ] {
        assert!(rules.contains(part), "{part} in\n{rules}");
    }
    let unknown = lab.try_kubelab(&["rules", "node-9"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("there are: node-1, node-2, node-3"));

    // As long as one node listens, the address answers.
    for proxy in ["kube-proxy-1", "kube-proxy-3"] {
        lab.kubelab(&["kill", proxy]);
        assert!(!names(balanced, 10).is_empty());
    }
    for proxy in ["kube-proxy-1", "kube-proxy-3"] {
        lab.kubelab(&["restart", proxy]);
    }

    // A client stays where it was.
    kubectl.run(r#"patch service web -p '{"spec":{"sessionAffinity":"ClientIP"}}'"#);
    until_rules(&lab, "node-2", |rules| rules.contains("-m recent --rcheck --seconds 10800"));
    assert_eq!(names(node_port(&kubectl, "node-2"), 12).len(), 1);
    kubectl.run(r#"patch service web -p '{"spec":{"sessionAffinity":"None"}}'"#);
    until_names(node_port(&kubectl, "node-2"), 3);

    // Only who is in the ranges may use the balancer; node ports do not care.
    kubectl.run(r#"patch service web -p '{"spec":{"loadBalancerSourceRanges":["203.0.113.0/24"]}}'"#);
    for node in nodes {
        until_rules(&lab, node, |rules| rules.contains("traffic not accepted by KUBE-FW-"));
    }
    assert!(get_within(balanced, "/", BRIEFLY).is_err(), "left without an answer");
    assert!(who(node_port(&kubectl, "node-1")).is_ok());
    kubectl.run(r#"patch service web -p '{"spec":{"loadBalancerSourceRanges":["127.0.0.0/8"]}}'"#);
    for node in nodes {
        until_rules(&lab, node, |rules| rules.contains("-s 127.0.0.0/8 -m comment"));
    }
    assert!(who(balanced).is_ok());

    // A connection outlives the rule that made it.
    let mut early = TcpStream::connect(node_port(&kubectl, "node-1")).unwrap();
    early.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    early.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    kubectl.run("delete service web");
    until_rules(&lab, "node-1", |rules| !rules.contains("default/web"));
    early.write_all(b"Host: web\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    early.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("Server name: "), "{answer}");
    let refused = TcpStream::connect_timeout(&balanced, BRIEFLY).map(drop).map_err(|error| error.kind());
    assert_eq!(refused, Err(io::ErrorKind::ConnectionRefused));
}

#[test]
fn policies_keep_connections_on_their_node_or_near_it() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("create -f -", &web(1, json!({"type": "LoadBalancer", "externalTrafficPolicy": "Local"})));
    kubectl.run("rollout status deployment/web --timeout=120s");
    let home = kubectl.run("get pods -l app=web -o jsonpath={.items[0].spec.nodeName}");
    let other = if home == "node-1" { "node-2" } else { "node-1" };
    until_names(node_port(&kubectl, &home), 1);
    until_names(balancer(&kubectl), 1);
    until_rules(&lab, other, |rules| rules.contains("has no local endpoints"));
    let silent = wait_for("silence at the other node", || {
        match TcpStream::connect_timeout(&node_port(&kubectl, other), BRIEFLY).map_err(|error| error.kind()) {
            Err(io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock) => Ok(true),
            seen => Err(Seen(format!("{seen:?}"))),
        }
    });
    assert!(silent);

    // A load balancer asks each node.
    let check = kubectl.run("get service web -o jsonpath={.spec.healthCheckNodePort}").parse().unwrap();
    for (node, status, count) in [(home.as_str(), "200 OK", 1), (other, "503 Service Unavailable", 0)] {
        let address = SocketAddr::new(node_port(&kubectl, node).ip(), check);
        let answer = get_within(address, "/healthz", Duration::from_secs(20)).unwrap();
        assert!(answer.contains(status), "{answer}");
        let body: Value = serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap();
        let service = json!({"namespace": "default", "name": "web"});
        assert_eq!(body, json!({"service": service, "localEndpoints": count, "serviceProxyHealthy": true}));
    }

    // A port that somebody else has: the service is told, and has it once it is free.
    let taken = SocketAddr::new(balancer(&kubectl).ip(), 8082);
    let squatter = TcpListener::bind(taken).unwrap();
    let ports = r#"patch service web --type=json -p '[{"op":"replace","path":"/spec/ports/0/port","value":8082},{"op":"replace","path":"/spec/externalTrafficPolicy","value":"Cluster"}]'"#;
    kubectl.run(ports);
    kubectl.wait_until("events --for service/web", |text| {
        text.contains("FailedToOpenLoadBalancerPort") && text.contains(&taken.to_string())
    });
    drop(squatter);
    until_names(taken, 1);

    // Near is where the zone is the same, as long as every zone has something.
    for (node, zone) in [("node-1", "a"), ("node-2", "b")] {
        kubectl.run(&format!("label node {node} topology.kubernetes.io/zone={zone}"));
    }
    kubectl.run(r#"patch service web -p '{"spec":{"trafficDistribution":"PreferSameZone"}}'"#);
    kubectl.run("scale deployment/web --replicas=4");
    kubectl.run("rollout status deployment/web --timeout=120s");
    let hints = "get endpointslices -l kubernetes.io/service-name=web -o jsonpath={.items[*].endpoints[*].hints.forZones[*].name}";
    kubectl.wait_until(hints, |text| text.split(' ').count() == 4 && text.contains('a') && text.contains('b'));
    let pods = kubectl.json("get pods -l app=web");
    let on_node_1 = pods["items"].as_array().unwrap().iter().filter(|pod| pod["spec"]["nodeName"] == "node-1").count();
    until_rules(&lab, "node-1", |rules| rules.matches("default/web -> ").count() == on_node_1);
    let near = names(node_port(&kubectl, "node-1"), 20);
    let home_of = |name: &String| kubectl.run(&format!("get pod {name} -o jsonpath={{.spec.nodeName}}"));
    assert!(near.iter().all(|name| home_of(name) == "node-1"), "{near:?}");
}

#[test]
fn ipvs_goes_around() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1", "--extra-config=kube-proxy.proxy-mode=ipvs"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("create -f -", &web(3, json!({"type": "NodePort"})));
    kubectl.run("rollout status deployment/web --timeout=120s");
    let address = node_port(&kubectl, "node-1");
    let server = format!("TCP  {address} rr\n");
    let rules = until_rules(&lab, "node-1", |rules| {
        rules.split_once(&server).is_some_and(|(_, rest)| rest.lines().take(3).all(|line| line.contains("Masq")))
    });
    assert!(rules.starts_with("IP Virtual Server version 1.2.1 (size=4096)\n"), "{rules}");
    assert!(rules.contains("Name: KUBE-NODE-PORT-TCP\nType: bitmap:port\n"), "{rules}");
    // A second way to the same pod, kept by hand.
    let pod = kubectl.run("get pods -l app=web -o jsonpath={.items[0].status.podIP}");
    let items = json!([
        {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "manual"},
            "spec": {"type": "NodePort", "ports": [{"port": 80}]}},
        {"apiVersion": "v1", "kind": "Endpoints", "metadata": {"name": "manual"},
            "subsets": [{"addresses": [{"ip": pod}], "ports": [{"port": 80}]}]},
    ]);
    kubectl.run_with("create -f -", &json!({"apiVersion": "v1", "kind": "List", "items": items}).to_string());
    let port = kubectl.run("get service manual -o jsonpath={.spec.ports[0].nodePort}").parse().unwrap();
    until_names(SocketAddr::new(address.ip(), port), 1);
    let heard: Vec<String> = (0..9).map(|_| who(address).unwrap()).collect();
    assert_eq!(heard[..3].iter().collect::<BTreeSet<_>>().len(), 3, "{heard:?}");
    assert_eq!((&heard[..3], &heard[..3]), (&heard[3..6], &heard[6..]), "strictly one after the other");
}

#[test]
fn nftables_rules_read_as_nft_prints_them() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1", "--extra-config=kube-proxy.proxy-mode=nftables"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("create -f -", &web(2, json!({"type": "NodePort"})));
    kubectl.run("rollout status deployment/web --timeout=120s");
    let address = node_port(&kubectl, "node-1");
    until_names(address, 2);
    let rules = until_rules(&lab, "node-1", |rules| rules.matches("-default/web/tcp/__10.244.").count() >= 4);
    let ip = kubectl.run("get service web -o jsonpath={.spec.clusterIP}");
    for part in [
        "table ip kube-proxy {\n\tcomment \"rules for kube-proxy\"\n",
        &format!("{ip} . tcp . 8080 : goto service-"),
        &format!("tcp . {} : goto external-", address.port()),
        "numgen random mod 2 vmap { 0 : goto endpoint-",
    ] {
        assert!(rules.contains(part), "{part} in\n{rules}");
    }
}

/// What clients met who asked one after the other.
#[derive(Debug, Default)]
struct Traffic {
    answered: usize,
    failed: usize,
    /// The longest time from an answer to the next.
    longest: Duration,
}

fn ask_until(address: SocketAddr, stop: &AtomicBool) -> Traffic {
    let (mut traffic, mut last) = (Traffic::default(), Instant::now());
    while !stop.load(Ordering::Relaxed) {
        match who_within(address, Duration::from_secs(3)) {
            Ok(_) => {
                traffic.answered += 1;
                traffic.longest = traffic.longest.max(last.elapsed());
                last = Instant::now();
            }
            Err(_) => traffic.failed += 1,
        }
    }
    traffic
}

/// A node's endpoints stay in the rules until the node has been silent for its grace period. docs/performance.md tells the
/// figures.
#[test]
fn requests_go_on_when_a_node_dies_or_hangs() {
    let lab = Lab::with(&["--apiservers", "1"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("create -f -", &web(6, json!({"type": "LoadBalancer"})));
    kubectl.run("rollout status deployment/web --timeout=120s");
    let (balanced, port) = (balancer(&kubectl), node_port(&kubectl, "node-1"));
    for address in [balanced, port] {
        until_names(address, 6);
    }
    for (what, fault, parts, worst) in [
        ("the node dies", "kill", &["kubelet-2", "kube-proxy-2"][..], Duration::from_secs(2)),
        ("the kubelet hangs", "pause", &["kubelet-3"], Duration::from_secs(8)),
    ] {
        let stop = AtomicBool::new(false);
        let met = thread::scope(|scope| {
            let clients = [balanced, balanced, port, port].map(|address| {
                let stop = &stop;
                scope.spawn(move || ask_until(address, stop))
            });
            for part in parts {
                lab.kubelab(&[fault, part]);
            }
            // Long enough that each client meets the pods that are gone, and shorter than the grace period.
            thread::sleep(Duration::from_secs(10));
            stop.store(true, Ordering::Relaxed);
            clients.map(|client| client.join().unwrap())
        });
        eprintln!("{what}: {met:?}");
        let failed: usize = met.iter().map(|traffic| traffic.failed).sum();
        // A connection that the node held already is lost; there are four clients.
        assert!(failed <= 4, "{what}: {met:?}");
        assert!(met.iter().all(|traffic| traffic.answered > 0 && traffic.longest < worst), "{what}: {met:?}");
    }
}
