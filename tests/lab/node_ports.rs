//! Node ports: datagrams, ports that somebody else has, pods on their node's own network.

use std::{
    collections::BTreeSet,
    io,
    net::{SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

use crate::harness::{Kubectl, Lab, Seen, wait_for};

/// Two pods that answer datagrams, one on each node, and a pod to ask from.
const NETEXEC: &str = r#"
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: netexec}
spec:
  selector: {matchLabels: {app: netexec}}
  template:
    metadata: {labels: {app: netexec}}
    spec:
      containers:
      - {name: agnhost, image: "registry.k8s.io/e2e-test-images/agnhost:2.53", args: [netexec, --udp-port=8081]}
---
apiVersion: v1
kind: Service
metadata: {name: netexec}
spec:
  type: NodePort
  selector: {app: netexec}
  ports: [{name: udp, protocol: UDP, port: 90, targetPort: 8081}]
---
apiVersion: v1
kind: Pod
metadata: {name: test}
spec: {containers: [{name: test, image: busybox, command: [sleep, infinity]}]}
"#;

/// A web server on its node's own network, and its Service.
const ON_NODE: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  hostNetwork: true
  nodeName: node-1
  containers: [{name: web, image: "nginxdemos/hello:plain-text", ports: [{containerPort: 80}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {type: NodePort, selector: {app: web}, ports: [{port: 80}]}
"#;

fn node_address(kubectl: &Kubectl, node: &str, service: &str) -> SocketAddr {
    let ip = kubectl.run(&format!("get node {node} -o jsonpath={{.status.addresses[0].address}}"));
    let port = kubectl.run(&format!("get service {service} -o jsonpath={{.spec.ports[0].nodePort}}"));
    SocketAddr::new(ip.parse().unwrap(), port.parse().unwrap())
}

/// What answers a datagram. One may be lost, as in any network; a client asks again.
fn ask(socket: &UdpSocket, to: SocketAddr, words: &str) -> io::Result<String> {
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    socket.send_to(words.as_bytes(), to)?;
    let mut answer = [0; 1500];
    let (length, _) = socket.recv_from(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer[..length]).into_owned())
}

fn until_answer(socket: &UdpSocket, to: SocketAddr, words: &str) -> String {
    wait_for(&format!("an answer to {words:?} from {to}"), || {
        ask(socket, to, words).map_err(|error| Seen(error.to_string()))
    })
}

fn names(kubectl: &Kubectl) -> BTreeSet<String> {
    let names = kubectl.run("get pods -l app=netexec -o jsonpath={.items[*].metadata.name}");
    names.split(' ').map(str::to_owned).collect()
}

#[test]
fn datagrams_reach_pods_from_outside_and_inside() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2", "--add-ons", "dns"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("apply -f -", NETEXEC);
    kubectl.run("rollout status daemonset/netexec --timeout=90s");
    kubectl.run("wait --for=condition=Ready pod/test --timeout=90s");
    let pods = names(&kubectl);

    // Each node leads to every pod, a client always to the same one.
    for node in ["node-1", "node-2"] {
        let to = node_address(&kubectl, node, "netexec");
        let mut seen = BTreeSet::new();
        wait_for(&format!("both pods behind {to}"), || {
            let client = UdpSocket::bind("127.0.0.1:0").unwrap();
            let ask = || ask(&client, to, "hostname").map_err(|error| Seen(error.to_string()));
            let first = ask()?;
            assert_eq!(ask()?, first);
            seen.insert(first);
            if seen == pods { Ok(()) } else { Err(Seen(format!("{seen:?}"))) }
        });
    }

    // From a pod: by the Service's name and address, and by both nodes' ports.
    let mut places = vec![("netexec".to_owned(), 90)];
    for node in ["node-1", "node-2"] {
        let address = node_address(&kubectl, node, "netexec");
        places.push((address.ip().to_string(), address.port()));
    }
    for (host, port) in places {
        wait_for(&format!("an answer from {host}:{port}"), || {
            let said = kubectl.exit(&format!("exec -i test -- nc -u -w 1 {host} {port}"), "hostname").1;
            if pods.contains(&said) { Ok(()) } else { Err(Seen(said)) }
        });
    }

    // A client whose pod goes has another one, at once and without a change of its own.
    let (client, to) = (UdpSocket::bind("127.0.0.1:0").unwrap(), node_address(&kubectl, "node-1", "netexec"));
    let gone = until_answer(&client, to, "hostname");
    kubectl.run(&format!("delete pod {gone} --grace-period=1"));
    wait_for("another pod", || match ask(&client, to, "hostname") {
        Ok(name) if name != gone => Ok(()),
        seen => Err(Seen(format!("{seen:?}"))),
    });
}

#[test]
fn a_node_port_that_the_host_has_is_told_of_and_opened_once_it_is_free() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    kubectl.run("create deployment web --image=nginxdemos/hello:plain-text");
    let ip = kubectl.run("get node node-2 -o jsonpath={.status.addresses[0].address}");
    let taken = SocketAddr::new(ip.parse().unwrap(), 31_777);
    let squatter = TcpListener::bind(taken).unwrap();
    kubectl.run("create service nodeport web --tcp=80 --node-port=31777");
    kubectl.run("rollout status deployment/web --timeout=90s");
    let told = kubectl.wait_until("events --for service/web", |text| text.contains("FailedToOpenNodePort"));
    assert!(told.contains(&format!("cannot listen on {taken} for default/web")), "{told}");
    assert!(told.contains("free the port, it is tried again in a while"), "{told}");
    // The other node has its own.
    wait_for("the port of the other node", || get(node_address(&kubectl, "node-1", "web")));
    drop(squatter);
    wait_for("the port once it is free", || get(taken));
}

#[test]
fn a_pod_on_its_nodes_own_network_is_reached_at_node_ports() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("apply -f -", ON_NODE);
    kubectl.run("run client --image=busybox -- sleep infinity");
    kubectl.run("wait --for=condition=Ready pod --all --timeout=90s");
    for node in ["node-1", "node-2"] {
        wait_for(&format!("the port of {node}"), || get(node_address(&kubectl, node, "web")));
    }
    let (own, other) = (node_address(&kubectl, "node-1", "web"), node_address(&kubectl, "node-2", "web"));
    let port = own.port();
    for (pod, url) in [
        ("web", format!("http://{own}/")),
        ("web", format!("http://127.0.0.1:{port}/")),
        ("web", format!("http://{other}/")),
        ("web", "http://127.0.0.1/".to_owned()),
        ("client", format!("http://{own}/")),
        ("client", format!("http://{}/", own.ip())),
    ] {
        let said = kubectl.says(&format!("exec {pod} -- wget -qO- -T 5 {url}"));
        assert!(said.contains("Server name: "), "{pod} asks {url}: {said}");
    }
}

/// The page at an address, if it is one of a simulated web server.
fn get(address: SocketAddr) -> Result<String, Seen> {
    use std::io::{Read, Write};
    let ask = || -> io::Result<String> {
        let mut stream = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        write!(stream, "GET / HTTP/1.1\r\nHost: web\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    match ask() {
        Ok(answer) if answer.contains("Server name: ") => Ok(answer),
        seen => Err(Seen(format!("{seen:?}"))),
    }
}
