//! Programs on a small network, on tokio's paused clock.
#![allow(clippy::unwrap_used)]

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use futures::future::BoxFuture;
use k8s_openapi::api::{core::v1::Service, discovery::v1::EndpointSlice};
use kubelab_add_ons::dns::{
    message::respond,
    zone::{Zone, addresses},
};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

use crate::{
    network::{Dialer, Failure, Protocol},
    shell::tests::Rig,
};

/// DNS at 10.96.0.10; a web server at 10.96.0.7; 10.96.0.8 refuses, 10.96.0.9 drops, and nobody else is there.
struct Lab;

struct Names;

impl Zone for Names {
    fn service(&self, namespace: &str, name: &str) -> Option<Arc<Service>> {
        let ip = match name {
            "web" => "10.96.0.7",
            "closed" => "10.96.0.8",
            "silent" => "10.96.0.9",
            _ => return None,
        };
        let service = json!({"metadata": {"name": name, "namespace": namespace}, "spec": {"clusterIP": ip}});
        (namespace == "default").then(|| Arc::new(serde_json::from_value(service).unwrap()))
    }

    fn slices(&self, _: &str, _: &str) -> Vec<Arc<EndpointSlice>> {
        Vec::new()
    }

    fn has_namespace(&self, name: &str) -> bool {
        name == "default"
    }

    fn services_at(&self, address: IpAddr) -> Vec<Arc<Service>> {
        let all = ["web", "closed", "silent"].into_iter().filter_map(|name| self.service("default", name));
        all.filter(|service| addresses(service).any(|own| own == address)).collect()
    }

    fn slices_with(&self, _: IpAddr) -> Vec<Arc<EndpointSlice>> {
        Vec::new()
    }
}

impl Dialer for Lab {
    fn dial(&self, to: SocketAddr, protocol: Protocol) -> BoxFuture<'_, Result<DuplexStream, Failure>> {
        Box::pin(async move {
            let (ours, theirs) = duplex(64 << 10);
            match (to.to_string().as_str(), protocol) {
                ("10.96.0.10:53", Protocol::Udp) => drop(tokio::spawn(serve_names(theirs))),
                ("10.96.0.7:80", Protocol::Tcp) => drop(tokio::spawn(serve_pages(theirs))),
                ("10.96.0.7:7" | "10.96.0.8:80", Protocol::Tcp) => return Err(Failure::Refused),
                ("10.96.0.9:80", Protocol::Tcp) => return Err(Failure::Dropped),
                _ => return Err(Failure::NoRoute),
            }
            Ok(ours)
        })
    }
}

async fn serve_names(mut stream: DuplexStream) {
    while let Ok(length) = stream.read_u16().await {
        let mut query = vec![0; usize::from(length)];
        stream.read_exact(&mut query).await.unwrap();
        let response = respond(Some(&Names), &query).unwrap();
        stream.write_u16(u16::try_from(response.len()).unwrap()).await.unwrap();
        stream.write_all(&response).await.unwrap();
    }
}

async fn serve_pages(mut stream: DuplexStream) {
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.unwrap() == 0 {
            return;
        }
    }
    let request = String::from_utf8(request).unwrap();
    let (status, more, body) = match request.split(' ').nth(1).unwrap() {
        "/" => ("200 OK", "", "hello\n".to_owned()),
        "/moved" => ("302 Found", "Location: /\r\n", String::new()),
        "/request" => ("200 OK", "", request.clone()),
        "/slow" => return std::future::pending().await,
        _ => ("404 Not Found", "", "nothing\n".to_owned()),
    };
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\n{more}Content-Length: {length}\r\n\r\n{body}");
    stream.write_all(answer.as_bytes()).await.unwrap();
}

const RESOLV_CONF: &str =
    "search default.svc.cluster.local svc.cluster.local\\nnameserver 10.96.0.10\\noptions ndots:5\\n";

/// What commands say, one after the other, and the last one's status.
async fn say(script: &str) -> (String, i32) {
    let mut rig = Rig::new();
    rig.network = Arc::new(Lab);
    rig.sh(&format!("printf '{RESOLV_CONF}' > /etc/resolv.conf; printf '10.1.1.1 alias a2\\n' > /etc/hosts; {script}"))
        .await
}

#[tokio::test(start_paused = true)]
async fn requests_and_how_they_fail() {
    for (command, expected, status) in [
        ("wget -qO- http://web", "hello\n", 0),
        ("wget -q -O /tmp/x web && cat /tmp/x", "hello\n", 0),
        ("wget -qO- http://web/moved", "hello\n", 0),
        ("wget -q --spider http://web", "", 0),
        (
            "wget -O- http://web/x",
            "Connecting to web (10.96.0.7:80)\nwget: server returned error: HTTP/1.1 404 Not Found\n",
            1,
        ),
        ("wget -qO- http://nobody", "wget: bad address 'nobody'\n", 1),
        ("wget -qO- http://closed", "wget: can't connect to remote host (10.96.0.8): Connection refused\n", 1),
        ("wget -qO- -T 2 http://silent", "wget: download timed out\n", 1),
        ("wget -qO- http://10.0.0.1", "wget: can't connect to remote host (10.0.0.1): No route to host\n", 1),
        ("wget -qO- ftp://web", "wget: not an http or ftp url: ftp://web\n", 1),
        ("curl -s web", "hello\n", 0),
        ("curl -sL web/moved -w '%{http_code} %{num_redirects} %{url_effective}\\n'", "hello\n200 1 http://web/\n", 0),
        ("curl -s -o /dev/null -w '%{http_code}' web/x", "404", 0),
        ("curl -sSf web/x", "curl: (22) The requested URL returned error: 404\n", 22),
        ("curl nobody", "curl: (6) Could not resolve host: nobody\n", 6),
        ("curl closed", "curl: (7) Failed to connect to closed port 80 after 0 ms: Could not connect to server\n", 7),
        ("curl --connect-timeout 2 silent", "curl: (28) Connection timed out after 2000 milliseconds\n", 28),
        ("curl -m 3 web/slow", "curl: (28) Operation timed out after 3000 milliseconds with 0 bytes received\n", 28),
        (
            "curl https://web",
            "curl: (7) Failed to connect to web port 443 after 0 ms: Could not connect to server\n",
            7,
        ),
        ("curl -s ''", "", 3),
        (
            "curl -sX PUT -H 'X-A: b' -d c=d web/request | grep -v user",
            "PUT /request HTTP/1.1\r\nhost: web\r\naccept: */*\r\ncontent-type: application/x-www-form-urlencoded\r\nx-a: b\r\ncontent-length: 3\r\n\r\n",
            0,
        ),
        ("curl -s web & wait; curl --resolve x:80:10.96.0.7 -s http://x", "hello\nhello\n", 0),
    ] {
        assert_eq!(say(command).await, (expected.to_owned(), status), "{command}");
    }
}

#[tokio::test(start_paused = true)]
async fn names_and_probes() {
    const HEAD: &str = "Server:\t\t10.96.0.10\nAddress:\t10.96.0.10:53\n\n";
    for (command, expected, status) in [
        ("nslookup web", &format!("{HEAD}Name:\tweb.default.svc.cluster.local\nAddress: 10.96.0.7\n\n"), 0),
        (
            "nslookup web.default.svc.cluster.local.",
            &format!("{HEAD}Name:\tweb.default.svc.cluster.local\nAddress: 10.96.0.7\n\n"),
            0,
        ),
        ("nslookup 10.96.0.7", &format!("{HEAD}7.0.96.10.in-addr.arpa\tname = web.default.svc.cluster.local\n\n"), 0),
        ("nslookup nobody", &format!("{HEAD}** server can't find nobody: NXDOMAIN\n\n"), 1),
        ("nslookup web 10.96.0.9", &";; connection timed out; no servers could be reached\n\n".to_owned(), 1),
        ("dig +short web.default.svc.cluster.local", &"10.96.0.7\n".to_owned(), 0),
        ("dig +short -x 10.96.0.7", &"web.default.svc.cluster.local.\n".to_owned(), 0),
        ("dig +short +search web", &"10.96.0.7\n".to_owned(), 0),
        ("dig +short web", &String::new(), 0),
        (
            "getent hosts web alias",
            &"10.96.0.7       web.default.svc.cluster.local\n10.1.1.1        alias a2\n".to_owned(),
            0,
        ),
        ("getent hosts nobody", &String::new(), 2),
        ("nc -z web 80", &String::new(), 0),
        ("nc -z closed 80", &String::new(), 1),
        ("nc -zv web 80", &"web (10.96.0.7:80) open\n".to_owned(), 0),
        ("nc -w 1 silent 80", &"nc: timed out\n".to_owned(), 1),
        ("printf 'GET / HTTP/1.0\\r\\n\\r\\n' | nc web 80 | tail -n 1", &"hello\n".to_owned(), 0),
    ] {
        assert_eq!(say(command).await, (expected.clone(), status), "{command}");
    }
    let (text, status) = say("ping -c 2 web").await;
    assert!(status == 0 && text.contains("2 packets transmitted, 2 packets received, 0% packet loss"), "{text}");
    let (text, status) = say("ping -c 1 10.0.0.1").await;
    assert!(status == 1 && text.contains("1 packets transmitted, 0 packets received, 100% packet loss"), "{text}");
}
