//! What ingress-nginx' annotations do, as its users write them; and connections that change their protocol.

use std::{
    collections::BTreeSet,
    io::{Read, Write},
    net::TcpStream,
};

use serde_json::json;

use super::{install, server};
use crate::harness::{Kubectl, Lab, Seen, wait_for};

/// An Ingress with one rule. `annotations`: without what all have in common.
fn ingress(name: &str, host: &str, annotations: &[(&str, &str)], path: (&str, &str), service: (&str, u16)) -> String {
    let named = annotations.iter().map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), json!(value)));
    let annotations: serde_json::Map<_, _> = named.collect();
    let backend = json!({"service": {"name": service.0, "port": {"number": service.1}}});
    let paths = json!([{"path": path.1, "pathType": path.0, "backend": backend}]);
    let mut rule = json!({"http": {"paths": paths}});
    if !host.is_empty() {
        rule["host"] = json!(host);
    }
    let meta = json!({"name": name, "annotations": annotations});
    let ingress =
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": meta, "spec": {"rules": [rule]}});
    format!("{ingress}\n---\n")
}

/// An answer's head and body. `head`: what follows the address, with its line ends.
fn say(door: &str, request: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(door)?;
    write!(stream, "{request}")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

fn get(door: &str, host: &str, path: &str, headers: &str) -> std::io::Result<String> {
    say(door, &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{headers}Connection: close\r\n\r\n"))
}

fn status(answer: &str) -> u16 {
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default()
}

fn server_name(answer: &str) -> &str {
    answer.lines().find_map(|line| line.strip_prefix("Server name: ")).unwrap_or_default()
}

fn lab() -> (Lab, Kubectl, String) {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2", "--add-ons", "dns,ingress"]);
    let kubectl = lab.kubectl();
    let door = install(&kubectl);
    (lab, kubectl, door)
}

#[test]
fn annotations_change_what_becomes_of_requests() {
    let (_lab, kubectl, door) = lab();
    kubectl.run("create configmap site --from-literal=index.html=Welcome");
    let site = "apiVersion: v1\nkind: Pod\nmetadata: {name: site, labels: {app: site}}\n\
                spec: {containers: [{name: nginx, image: nginx, volumeMounts: [{name: site, mountPath: /usr/share/nginx/html}]}], \
                volumes: [{name: site, configMap: {name: site}}]}\n---\napiVersion: v1\nkind: Service\nmetadata: {name: site}\n\
                spec: {selector: {app: site}, ports: [{port: 80}]}\n---\n";
    kubectl.run_with("apply -f -", &[server("web"), server("next"), site.to_owned()].concat());
    // `htpasswd -nb foo bar`
    kubectl.run("create secret generic basic-auth --from-literal=auth=foo:$apr1$8sFt66rZ$YelFhvczRNWm5Og1UEi9D.");
    let (root, web) = (("Prefix", "/"), ("web-service", 80));
    let ingresses = [
        ingress(
            "rewrite",
            "rewrite.org",
            &[("rewrite-target", "/$2"), ("use-regex", "true")],
            ("ImplementationSpecific", "/app(/|$)(.*)"),
            web,
        ),
        ingress("range", "range.org", &[("whitelist-source-range", "203.0.113.0/24")], root, web),
        ingress("limit", "limit.org", &[("limit-rps", "1"), ("limit-burst-multiplier", "2")], root, web),
        ingress(
            "auth",
            "auth.org",
            &[("auth-type", "basic"), ("auth-secret", "basic-auth"), ("auth-realm", "Who?")],
            root,
            web,
        ),
        ingress("cors", "cors.org", &[("enable-cors", "true"), ("cors-allow-origin", "https://a.org")], root, web),
        ingress("sticky", "sticky.org", &[("affinity", "cookie"), ("session-cookie-name", "route")], root, web),
        ingress("main", "canary.org", &[], root, web),
        ingress(
            "canary",
            "canary.org",
            &[("canary", "true"), ("canary-by-header", "x-canary"), ("canary-weight", "0")],
            root,
            ("next-service", 80),
        ),
        ingress("moved", "moved.org", &[("permanent-redirect", "https://example.com/")], root, web),
        ingress("small", "small.org", &[("proxy-body-size", "1k")], root, web),
        ingress(
            "errors",
            "errors.org",
            &[("custom-http-errors", "404"), ("default-backend", "next-service")],
            root,
            ("site", 80),
        ),
        ingress("nobody", "nobody.org", &[("default-backend", "next-service")], root, ("missing", 80)),
        ingress("odd", "odd.org", &[("no-such-annotation", "x"), ("limit-rps", "many")], root, web),
    ];
    kubectl.run_with("apply -f -", &ingresses.concat());
    for name in ["web", "next"] {
        kubectl.run(&format!("rollout status deployment/{name} --timeout=90s"));
    }
    kubectl.run("wait --for=condition=Ready pod/site --timeout=90s");

    let until = |host: &str, path: &str, headers: &str, wanted: u16, says: &str| {
        wait_for(&format!("{host}{path} to answer {wanted} {says}"), || match get(&door, host, path, headers) {
            Ok(answer) if status(&answer) == wanted && answer.contains(says) => Ok(answer),
            other => Err(Seen(format!("{other:?}"))),
        })
    };
    until("odd.org", "/", "", 200, "Server name: web-");
    until("rewrite.org", "/app/a/b?c=d", "", 200, "URI: /a/b?c=d");
    until("range.org", "/", "", 403, "403 Forbidden");
    until("auth.org", "/", "", 401, "www-authenticate: Basic realm=\"Who?\"");
    until("auth.org", "/", "Authorization: Basic Zm9vOndyb25n\r\n", 401, "401 Authorization Required");
    until("auth.org", "/", "Authorization: Basic Zm9vOmJhcg==\r\n", 200, "Server name: web-");
    until("moved.org", "/x", "", 301, "location: https://example.com/");
    until("errors.org", "/", "", 200, "Welcome");
    until("errors.org", "/missing", "", 200, "Server name: next-");
    until("nobody.org", "/", "", 200, "Server name: next-");
    until("canary.org", "/", "", 200, "Server name: web-");
    until("canary.org", "/", "X-Canary: always\r\n", 200, "Server name: next-");

    let told = until("cors.org", "/", "Origin: https://a.org\r\n", 200, "access-control-allow-origin: https://a.org");
    assert!(told.contains("access-control-allow-credentials: true"), "{told}");
    let preflight =
        say(&door, "OPTIONS / HTTP/1.1\r\nHost: cors.org\r\nOrigin: https://a.org\r\nConnection: close\r\n\r\n")
            .unwrap();
    assert!(status(&preflight) == 204 && preflight.contains("access-control-allow-methods: GET, PUT"), "{preflight}");
    let stranger = get(&door, "cors.org", "/", "Origin: https://b.org\r\n").unwrap();
    assert!(!stranger.contains("access-control-"), "{stranger}");

    until("limit.org", "/", "", 200, "Server name: web-");
    let statuses: BTreeSet<u16> = (0..6).map(|_| status(&get(&door, "limit.org", "/", "").unwrap())).collect();
    assert_eq!(statuses, [200, 503].into(), "one, and two more at once");

    let first = until("sticky.org", "/", "", 200, "set-cookie: route=");
    let cookie = first.lines().find_map(|line| line.strip_prefix("set-cookie: ")?.split(';').next()).unwrap();
    let mine = format!("Cookie: {cookie}\r\n");
    let names: BTreeSet<String> =
        (0..8).map(|_| server_name(&get(&door, "sticky.org", "/", &mine).unwrap()).to_owned()).collect();
    assert_eq!(names, [server_name(&first).to_owned()].into());

    for (length, wanted) in [(1024, 200), (1025, 413)] {
        let body = "x".repeat(length);
        let head = "POST / HTTP/1.1\r\nHost: small.org\r\nConnection: close\r\n";
        for request in [
            format!("{head}Content-Length: {length}\r\n\r\n{body}"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{length:x}\r\n{body}\r\n0\r\n\r\n"),
        ] {
            assert_eq!(status(&say(&door, &request).unwrap()), wanted, "{length} bytes, {}", &request[..120]);
        }
    }
}

/// An apiserver behind the ingress: over TLS, and with programs whose connections become WebSockets.
#[test]
fn connections_become_websockets_behind_tls() {
    let (lab, kubectl, door) = lab();
    kubectl.run("run test --image=busybox -- sleep infinity");
    kubectl.run("create clusterrolebinding all --clusterrole=cluster-admin --serviceaccount=default:default");
    kubectl.run("wait --for=condition=Ready pod/test --timeout=90s");
    let api = ingress("api", "", &[("backend-protocol", "HTTPS")], ("Prefix", "/"), ("kubernetes", 443));
    kubectl.run_with("apply -f -", &api);
    let token = kubectl.wait_until("create token default", |text| text.starts_with("ey")).trim().to_owned();
    let version = wait_for("the API behind the ingress", || match get(&door, "any", "/version", "") {
        Ok(answer) if status(&answer) == 200 => Ok(answer),
        other => Err(Seen(format!("{other:?}"))),
    });
    assert!(version.contains("\"gitVersion\""), "{version}");

    // kubectl shows its token to servers with TLS alone.
    let port =
        kubectl.run("get service ingress-nginx-controller -n ingress-nginx -o jsonpath={.spec.ports[1].nodePort}");
    let server = format!("https://{}:{port}", door.split(':').next().unwrap());
    let outside = lab.kubectl_with_token("1.33", &token);
    let flags = format!("--server={server} --insecure-skip-tls-verify");
    let said = outside.run(&format!("{flags} exec test -- sh -c 'echo hello; hostname'"));
    assert_eq!(said, "hello\ntest\n");

    let mut stream = TcpStream::connect(&door).unwrap();
    write!(
        stream,
        "GET /api/v1/namespaces/default/pods/test/exec?command=hostname&stdout=true HTTP/1.1\r\nHost: any\r\n\
         Authorization: Bearer {token}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: v4.channel.k8s.io\r\n\r\n"
    )
    .unwrap();
    let mut heard = Vec::new();
    wait_for("a WebSocket's greeting and the program's words", || {
        let mut bytes = [0; 4096];
        let length = stream.read(&mut bytes).map_err(|error| Seen(error.to_string()))?;
        heard.extend_from_slice(&bytes[..length]);
        let text = String::from_utf8_lossy(&heard).into_owned();
        if text.contains("test\n") { Ok(()) } else { Err(Seen(text)) }
    });
    let text = String::from_utf8_lossy(&heard).into_owned();
    assert!(text.starts_with("HTTP/1.1 101 Switching Protocols\r\n"), "{text}");
    // RFC 6455, section 1.3: what the key comes to.
    assert!(text.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{text}");
}
