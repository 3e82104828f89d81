//! The ingress controller: hosts and paths, over TLS too, on a real listener.

use std::{
    io::{Read, Write},
    net::TcpStream,
};

use crate::harness::{Kubectl, Lab, Seen, wait_for};

mod annotations;

const INGRESSES: &str = r#"
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web-ingress}
spec:
  tls: [{hosts: [web.example.com], secretName: example-tls}]
  rules:
  - host: web.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web-service, port: {number: 80}}}}]}
  - host: api.example.com
    http:
      paths:
      - {path: /v1, pathType: Prefix, backend: {service: {name: api-v1-service, port: {number: 80}}}}
      - {path: /v2, pathType: Prefix, backend: {service: {name: api-v2-service, port: {name: http}}}}
      - {path: /none, pathType: Exact, backend: {service: {name: missing, port: {number: 80}}}}
"#;

/// A Deployment of small web servers and its Service.
pub fn server(name: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: {name}}}\nspec:\n  replicas: 2\n  \
         selector: {{matchLabels: {{app: {name}}}}}\n  template:\n    metadata: {{labels: {{app: {name}}}}}\n    \
         spec: {{containers: [{{name: web, image: \"nginxdemos/hello:plain-text\"}}]}}\n---\n\
         apiVersion: v1\nkind: Service\nmetadata: {{name: {name}-service}}\n\
         spec: {{selector: {{app: {name}}}, ports: [{{name: http, port: 80}}]}}\n---\n"
    )
}

/// An answer's status and its whole text.
pub fn ask(address: &str, host: &str, path: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(address)?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    let status = text.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
    Ok((status, text))
}

pub fn install(kubectl: &Kubectl) -> String {
    kubectl.wait_until("get deployment ingress-nginx-controller -n ingress-nginx", |text| text.contains("controller"));
    kubectl.run("rollout status deployment/ingress-nginx-controller -n ingress-nginx --timeout=90s");
    let node = kubectl.json("get node node-1");
    let address = node["status"]["addresses"][0]["address"].as_str().unwrap().to_owned();
    let service = kubectl.json("get service ingress-nginx-controller -n ingress-nginx");
    format!("{address}:{}", service["spec"]["ports"][0]["nodePort"])
}

#[test]
fn an_ingress_routes_hosts_and_paths_to_services() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2", "--add-ons", "dns,ingress"]);
    let kubectl = lab.kubectl();
    let servers = [server("web"), server("api-v1"), server("api-v2")].concat();
    kubectl.run_with("apply -f -", &servers);
    kubectl.run_with("apply -f -", INGRESSES);
    assert_eq!(kubectl.json("get ingress web-ingress")["spec"]["ingressClassName"], "nginx", "the default class");
    for name in ["web", "api-v1", "api-v2"] {
        kubectl.run(&format!("rollout status deployment/{name} --timeout=90s"));
    }
    let door = install(&kubectl);

    let until = |host: &str, path: &str, wanted: u16, says: &str| {
        wait_for(&format!("{host}{path} to answer {wanted} {says}"), || match ask(&door, host, path) {
            Ok((status, text)) if status == wanted && text.contains(says) => Ok(text),
            other => Err(Seen(format!("{other:?}"))),
        })
    };
    until("api.example.com", "/v1/users", 200, "Server name: api-v1-");
    until("api.example.com", "/v2", 200, "Server name: api-v2-");
    until("api.example.com", "/v3", 404, "<center>nginx</center>");
    until("api.example.com", "/none", 503, "503 Service Temporarily Unavailable");
    until("unknown.example.com", "/", 404, "404 Not Found");
    until("web.example.com", "/a?b=c", 308, "location: https://web.example.com/a?b=c");

    // Both pods of a Service have their turn.
    let name = || {
        until("api.example.com", "/v1", 200, "Server name: api-v1-").split("Server name: ").nth(1).unwrap()[..20]
            .to_owned()
    };
    let first = name();
    wait_for("another pod to answer", || if name() == first { Err(Seen(first.clone())) } else { Ok(()) });

    let shown = kubectl.wait_until("get ingress web-ingress", |text| text.contains("127."));
    assert!(shown.contains("web.example.com,api.example.com") && shown.contains("80, 443"), "{shown}");
    kubectl.wait_until("get events --field-selector=involvedObject.name=web-ingress", |text| {
        text.contains("Scheduled for sync")
    });

    over_tls(&kubectl);
}

/// The Secret's certificate is served to those who ask for its host, and the controller's own to others.
fn over_tls(kubectl: &Kubectl) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let certificate =
        rcgen::CertificateParams::new(vec!["web.example.com".to_owned()]).unwrap().self_signed(&pair).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let (certificate_file, key_file) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    std::fs::write(&certificate_file, certificate.pem()).unwrap();
    std::fs::write(&key_file, pair.serialize_pem()).unwrap();
    let (certificate_path, key_path) = (certificate_file.display(), key_file.display());
    kubectl.run(&format!("create secret tls example-tls --cert={certificate_path} --key={key_path}"));
    kubectl.run("run test --image=busybox -- sleep infinity");
    kubectl.run("wait --for=condition=Ready pod/test --timeout=90s");
    let (code, _, _) = kubectl.exit("exec -i test -- sh -c 'cat > /tmp/ca.crt'", &certificate.pem());
    assert_eq!(code, Some(0));
    let address = kubectl.json("get service ingress-nginx-controller -n ingress-nginx")["spec"]["clusterIP"].clone();
    let address = address.as_str().unwrap();
    wait_for("TLS with the Secret's certificate", || {
        let command = format!(
            "exec test -- curl -sS --cacert /tmp/ca.crt --resolve web.example.com:443:{address} https://web.example.com/"
        );
        let said = kubectl.says(&command);
        if said.contains("Server name: web-") { Ok(()) } else { Err(Seen(said)) }
    });
    let other = format!(
        "exec test -- curl -sS --cacert /tmp/ca.crt --resolve api.example.com:443:{address} https://api.example.com/v1"
    );
    assert_eq!(kubectl.exit(&other, "").0, Some(60), "another host has the controller's own certificate");
    assert!(kubectl.says(&other.replace("-sS", "-sSk")).contains("Server name: api-v1-"));
}
