//! What the tutorials show of the network, with their own manifests and as they type it: a Service and its pods in turn, an
//! ingress with two hosts over TLS, a pod that is not ready, the names of a StatefulSet's pods.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
};

use crate::harness::{Kubectl, Lab, Seen, wait_for};

const HELLO: &str = r#"
apiVersion: apps/v1
kind: Deployment
metadata:
  name: hello
  labels:
    app: hello
spec:
  replicas: 3
  selector:
    matchLabels:
      app: hello
  template:
    metadata:
      labels:
        app: hello
    spec:
      containers:
      - name: nginx
        image: nginxdemos/hello:plain-text
        ports:
        - name: http
          containerPort: 80
          protocol: TCP
        readinessProbe:
          exec: {command: ["sh", "-c", "! test -f /tmp/broken"]}
          periodSeconds: 1
---
apiVersion: v1
kind: Service
metadata:
  name: hello
  labels:
    app: hello
spec:
  type: NodePort
  ports:
  - name: http
    protocol: TCP
    port: 8080
    targetPort: 80
  selector:
    app: hello
"#;

const INGRESS: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: web-ingress
  annotations:
    kubernetes.io/ingress.class: nginx
    cert-manager.io/cluster-issuer: letsencrypt-prod
    nginx.ingress.kubernetes.io/rate-limit: "100"
spec:
  tls:
  - hosts:
    - api.example.com
    - web.example.com
    secretName: example-tls
  rules:
  - host: web.example.com
    http:
      paths:
      - path: /
        pathType: Prefix
        backend:
          service:
            name: web-service
            port:
              number: 80
  - host: api.example.com
    http:
      paths:
      - path: /v1
        pathType: Prefix
        backend:
          service:
            name: api-v1-service
            port:
              number: 80
      - path: /v2
        pathType: Prefix
        backend:
          service:
            name: api-v2-service
            port:
              number: 80
"#;

fn name_in(page: &str) -> Option<String> {
    page.lines().find_map(|line| line.strip_prefix("Server name: ")).map(str::to_owned)
}

/// What somebody on the host hears at an address.
fn curl(address: &str) -> Result<String, Seen> {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(stream, "GET / HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut page = String::new();
        stream.read_to_string(&mut page)?;
        Ok(page)
    };
    ask().map_err(|error| Seen(error.to_string()))
}

/// Asks until so many different pods have answered.
fn until_pods(count: usize, mut ask: impl FnMut() -> Result<String, Seen>) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    wait_for(&format!("{count} pods to answer"), || {
        let page = ask()?;
        seen.extend(name_in(&page));
        if seen.len() == count { Ok(()) } else { Err(Seen(page)) }
    });
    seen
}

fn within(kubectl: &Kubectl, command: &str) -> Result<String, Seen> {
    match kubectl.exit(&format!("exec test -- {command}"), "") {
        (Some(0), said, _) => Ok(said),
        other => Err(Seen(format!("{other:?}"))),
    }
}

#[test]
fn a_service_leads_to_its_ready_pods_in_turn() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2", "--add-ons", "dns"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("apply -f -", HELLO);
    kubectl.run("run test --image=posquit0/doraemon -- sleep infinity");
    kubectl.run("rollout status deployment/hello --timeout=90s");
    kubectl.run("wait --for=condition=Ready pod/test --timeout=90s");

    let ip = kubectl.run("get service hello -o jsonpath={.spec.clusterIP}");
    let pods = until_pods(3, || within(&kubectl, &format!("curl -s {ip}:8080")));
    assert_eq!(until_pods(3, || within(&kubectl, "curl -s http://hello:8080")), pods);
    let page = within(&kubectl, "curl -s http://hello:8080").unwrap_or_else(|Seen(what)| panic!("{what}"));
    for line in ["Server address: 10.244.", "Server name: hello-", "Date: ", "URI: /", "Request ID: "] {
        assert!(page.contains(line), "{line} in {page}");
    }
    let node = kubectl.run("get node node-2 -o jsonpath={.status.addresses[0].address}");
    let port = kubectl.run("get service hello -o jsonpath={.spec.ports[0].nodePort}");
    let outside = format!("{node}:{port}");
    assert_eq!(until_pods(3, || curl(&outside)), pods);

    // A pod that fails its readiness probe has no share of the requests, until it is well again.
    let ill = pods.first().unwrap().clone();
    kubectl.run(&format!("exec {ill} -- touch /tmp/broken"));
    let addresses =
        "get endpointslices -l kubernetes.io/service-name=hello -o jsonpath={.items[*].endpoints[*].conditions.ready}";
    kubectl.wait_until(addresses, |text| text.matches("true").count() == 2);
    wait_for("the pod to be left out on this node", || {
        let heard: Vec<Option<String>> =
            (0..20).map(|_| curl(&outside).map(|page| name_in(&page))).collect::<Result<_, _>>()?;
        if heard.iter().flatten().any(|name| *name == ill) { Err(Seen(format!("{heard:?}"))) } else { Ok(()) }
    });
    kubectl.run(&format!("exec {ill} -- rm /tmp/broken"));
    kubectl.wait_until(addresses, |text| text.matches("true").count() == 3);
    assert_eq!(until_pods(3, || curl(&outside)), pods);
}

#[test]
fn an_ingress_serves_two_hosts_over_tls() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2", "--add-ons", "dns,ingress"]);
    let kubectl = lab.kubectl();
    for name in ["web", "api-v1", "api-v2"] {
        kubectl.run(&format!("create deployment {name} --image=nginxdemos/hello:plain-text --port=80"));
        kubectl.run(&format!("expose deployment {name} --name={name}-service --port=80"));
    }
    kubectl.run("run test --image=posquit0/doraemon -- sleep infinity");
    let pair = rcgen::KeyPair::generate().unwrap();
    let hosts = ["api.example.com", "web.example.com"].map(str::to_owned);
    let certificate = rcgen::CertificateParams::new(hosts).unwrap().self_signed(&pair).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate_file, key_file) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, pair.serialize_pem()).unwrap();
    let (cert, key) = (certificate_file.display(), key_file.display());
    kubectl.run(&format!("create secret tls example-tls --cert={cert} --key={key}"));
    kubectl.run_with("apply -f -", INGRESS);
    crate::ingress::install(&kubectl);
    kubectl.run("wait --for=condition=Ready pod --all --timeout=90s");
    let (code, _, said) = kubectl.exit("exec -i test -- sh -c 'cat > /tmp/ca.crt'", &certificate.pem());
    assert_eq!(code, Some(0), "{said}");
    let address = kubectl.run("get service ingress-nginx-controller -n ingress-nginx -o jsonpath={.spec.clusterIP}");
    for (host, path, server) in [
        ("web.example.com", "/", "web-"),
        ("web.example.com", "/anything", "web-"),
        ("api.example.com", "/v1/users", "api-v1-"),
        ("api.example.com", "/v2/", "api-v2-"),
    ] {
        let command = format!("curl -sS --cacert /tmp/ca.crt --resolve {host}:443:{address} https://{host}{path}");
        wait_for(&format!("https://{host}{path}"), || match within(&kubectl, &command) {
            Ok(page) if name_in(&page).is_some_and(|name| name.starts_with(server)) => Ok(()),
            Ok(page) => Err(Seen(page)),
            Err(seen) => Err(seen),
        });
    }
}
