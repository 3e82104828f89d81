//! GETs of probes and hooks. Source: `pkg/probe/http` of Kubernetes and the errors of Go's net/http package.

use std::{net::IpAddr, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{
    Request, StatusCode,
    header::{CONNECTION, HOST, LOCATION},
};
use k8s_openapi::{
    api::core::v1::{Container, HTTPGetAction},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kubelab_client::clock::{self, Instant};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

use super::{Answer, Target, port, tcp};
use crate::network::{
    Dialer, Failure,
    http::{self, Error, Trust, Url},
};

/// The most of a body that is read. Source: `maxRespBodyLength`.
const MAX_BODY: usize = 10 << 10;

/// Redirects that are followed. Source: `RedirectChecker`.
const MAX_REDIRECTS: usize = 10;

/// By this much a connection that is not made in the whole time is found out before the time is over.
const SLACK: Duration = Duration::from_millis(5);

/// What Go says of a server that speaks no TLS.
const NO_TLS: &str = "http: server gave HTTP response to HTTPS client";

/// A GET.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Get {
    /// Where to.
    pub url: Url,
    /// Names and values, the defaults among them.
    pub headers: Vec<(String, String)>,
}

impl Get {
    /// The request of a probe or hook of a container whose pod has this address; or why there is none. `purpose` is what
    /// the request calls itself: `probe`, `lifecycle`.
    pub fn new(get: &HTTPGetAction, container: &Container, pod: IpAddr, purpose: &str) -> Result<Self, String> {
        let host = get.host.clone().filter(|host| !host.is_empty()).unwrap_or_else(|| pod.to_string());
        let port = match &get.port {
            IntOrString::String(name) if name.is_empty() => 80,
            wanted => port(wanted, container)?,
        };
        let secure = get.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
        let path = format!("/{}", escaped(get.path.as_deref().unwrap_or_default().trim_start_matches('/')));
        let mut headers: Vec<(String, String)> =
            get.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone())).collect();
        let has =
            |headers: &[(String, String)], name: &str| headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name));
        if !has(&headers, "User-Agent") {
            headers.push(("User-Agent".to_owned(), format!("kube-{purpose}/1.37")));
        }
        if !has(&headers, "Accept") {
            headers.push(("Accept".to_owned(), "*/*".to_owned()));
        }
        headers.retain(|(name, value)| !(name.eq_ignore_ascii_case("Accept") && value.is_empty()));
        Ok(Self { url: Url { secure, host, port, user: None, path }, headers })
    }

    /// Asks, within this time.
    pub async fn probe(&self, network: &dyn Dialer, timeout: Duration) -> Answer {
        let deadline = clock::instant() + timeout;
        let mut url = self.url.clone();
        let failed = |url: &Url, why: &str| Answer::Failure(format!("Get \"{}\": {why}", shown(url)));
        for _ in 0..MAX_REDIRECTS {
            let answer = match self.send(&url, network, deadline).await {
                Ok(answer) => answer,
                Err(why) => return failed(&url, &why),
            };
            let status = answer.response.status();
            let location = answer.response.headers().get(LOCATION).and_then(|location| location.to_str().ok());
            if let Some(next) = location.filter(|_| redirects(status)).and_then(|location| url.join(location))
                && next.host == self.url.host
            {
                url = next;
                continue;
            }
            let body = Limited::new(answer.response.into_body(), MAX_BODY).collect();
            let Ok(body) = tokio::time::timeout_at(deadline, body).await else {
                let why = "context deadline exceeded (Client.Timeout or context cancellation while reading body)";
                return Answer::Error { state: "failure", why: why.to_owned() };
            };
            // What is longer is cut off.
            let body = body.map(|body| body.to_bytes()).unwrap_or_default();
            return match status.as_u16() {
                200..=299 => Answer::Success,
                300..=399 => {
                    let body = String::from_utf8_lossy(&body);
                    Answer::Warning(format!("Probe terminated redirects, Response body: {body}"))
                }
                code => Answer::Failure(format!("HTTP probe failed with statuscode: {code}")),
            };
        }
        failed(&url, "stopped after 10 redirects")
    }

    /// Asks; any answer is a good one. A server that speaks no TLS is asked without it; says whether it was.
    pub async fn call(&self, network: &dyn Dialer, timeout: Duration) -> Result<bool, String> {
        let deadline = clock::instant() + timeout;
        match self.send(&self.url, network, deadline).await {
            Ok(_) => Ok(false),
            Err(why) if why == NO_TLS => {
                let plain = Url { secure: false, ..self.url.clone() };
                self.send(&plain, network, deadline).await.map(|_| true)
            }
            Err(why) => Err(why),
        }
        .map_err(|why| format!("Get \"{}\": {why}", shown(&self.url)))
    }

    async fn send(&self, url: &Url, network: &dyn Dialer, deadline: Instant) -> Result<http::Answer, String> {
        const TIMED_OUT: &str = "(Client.Timeout exceeded while awaiting headers)";
        let target = Target { host: url.host.clone(), port: url.port };
        let to = target.address()?;
        let request = self.request(url, &target)?;
        let patience = deadline.saturating_duration_since(clock::instant());
        let sent = http::send(network, &Trust::Anybody, Some(patience), url, to, request);
        let Ok(sent) = tokio::time::timeout_at(deadline + SLACK, sent).await else {
            return Err(format!("context deadline exceeded {TIMED_OUT}"));
        };
        sent.map_err(|error| match error {
            Error::Connect(_, failure @ Failure::Dropped) => {
                format!("dial tcp {target}: {} {TIMED_OUT}", tcp::why(failure))
            }
            Error::Connect(_, failure) => format!("dial tcp {target}: {}", tcp::why(failure)),
            Error::Tls(_) => NO_TLS.to_owned(),
            Error::Name(_) | Error::Broken => "EOF".to_owned(),
        })
    }

    fn request(&self, url: &Url, target: &Target) -> Result<Request<Full<Bytes>>, String> {
        let mut request = Request::get(&url.path).header(CONNECTION, "close");
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if !self.headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("Host")) {
            request = request.header(HOST, target.to_string());
        }
        request.body(Full::default()).map_err(|error| error.to_string())
    }
}

/// As Go writes it: with its port, always.
pub fn shown(url: &Url) -> String {
    let target = Target { host: url.host.clone(), port: url.port };
    format!("{}://{target}{}", if url.secure { "https" } else { "http" }, url.path)
}

/// Source: `redirectBehavior` of Go's net/http.
fn redirects(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

/// What may not stand in a request's path as it is.
const UNFIT: &AsciiSet =
    &CONTROLS.add(b' ').add(b'"').add(b'<').add(b'>').add(b'\\').add(b'^').add(b'`').add(b'{').add(b'|').add(b'}');

/// A path that may stand in a request.
fn escaped(path: &str) -> String {
    utf8_percent_encode(path.split('#').next().unwrap_or_default(), UNFIT).to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures::future::BoxFuture;
    use serde_json::{Value, json};
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::network::Protocol;

    fn get(action: Value) -> Result<Get, String> {
        let container =
            serde_json::from_value(json!({"name": "web", "ports": [{"name": "http", "containerPort": 8080}]})).unwrap();
        Get::new(&serde_json::from_value(action).unwrap(), &container, "10.244.1.7".parse().unwrap(), "probe")
    }

    #[test]
    fn an_action_becomes_a_url() {
        for (action, expected) in [
            (json!({"port": "http", "path": "/ready"}), Ok("http://10.244.1.7:8080/ready")),
            (json!({"port": 80, "path": "health?full=1"}), Ok("http://10.244.1.7:80/health?full=1")),
            (json!({"port": 80}), Ok("http://10.244.1.7:80/")),
            (json!({"port": 443, "scheme": "HTTPS", "host": "web.example.com"}), Ok("https://web.example.com:443/")),
            (json!({"port": 80, "path": "/a b"}), Ok("http://10.244.1.7:80/a%20b")),
            (json!({"port": "https"}), Err("strconv.Atoi: parsing \"https\": invalid syntax")),
            (json!({"port": 0}), Err("invalid port number: 0")),
        ] {
            let made = get(action.clone()).map(|get| shown(&get.url));
            assert_eq!(made.as_deref().map_err(String::as_str), expected, "{action}");
        }
    }

    #[test]
    fn headers_have_defaults_that_can_be_replaced() {
        let headers = |own: Value| {
            let get = get(json!({"port": 80, "httpHeaders": own})).unwrap();
            let request = get.request(&get.url, &Target { host: get.url.host.clone(), port: get.url.port }).unwrap();
            let of = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
            [of("host"), of("user-agent"), of("accept")].map(Option::unwrap_or_default)
        };
        assert_eq!(headers(json!([])), ["10.244.1.7:80", "kube-probe/1.37", "*/*"]);
        let own = json!([{"name": "host", "value": "web.example.com"}, {"name": "User-Agent", "value": "me"},
            {"name": "Accept", "value": ""}]);
        assert_eq!(headers(own), ["web.example.com", "me", ""]);
    }

    /// A server that answers each connection with the next of these texts; an empty one is never sent.
    struct Scripted(std::sync::Mutex<Vec<&'static str>>);

    impl Dialer for Scripted {
        fn dial(&self, _: std::net::SocketAddr, _: Protocol) -> BoxFuture<'_, Result<DuplexStream, Failure>> {
            let text = self.0.lock().unwrap().pop();
            Box::pin(async move {
                let Some(text) = text else { return Err(Failure::Refused) };
                let (ours, mut theirs) = duplex(64 << 10);
                tokio::spawn(async move {
                    let mut head = [0; 4096];
                    let _ = theirs.read(&mut head).await;
                    if text.is_empty() {
                        std::future::pending::<()>().await;
                    }
                    let _ = theirs.write_all(text.as_bytes()).await;
                });
                Ok(ours)
            })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_judged_by_their_status() {
        const ELSEWHERE: &str = "HTTP/1.1 302 Found\r\nLocation: http://example.com/\r\nContent-Length: 2\r\n\r\ngo";
        const HERE: &str = "HTTP/1.1 302 Found\r\nLocation: /there\r\nContent-Length: 0\r\n\r\n";
        const WELL: &str = "HTTP/1.1 204 No Content\r\n\r\n";
        const BROKEN: &str = "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n";
        let failure = |why: &str| Answer::Failure(why.to_owned());
        let at = "Get \"http://10.244.1.7:8080/x\":";
        for (script, expected) in [
            (vec![WELL], Answer::Success),
            (vec![HERE, WELL], Answer::Success),
            (vec![HERE, BROKEN], failure("HTTP probe failed with statuscode: 500")),
            (vec![ELSEWHERE], Answer::Warning("Probe terminated redirects, Response body: go".into())),
            (vec![HERE; 10], failure("Get \"http://10.244.1.7:8080/there\": stopped after 10 redirects")),
            (vec![], failure(&format!("{at} dial tcp 10.244.1.7:8080: connect: connection refused"))),
            (vec!["nonsense"], failure(&format!("{at} EOF"))),
            (
                vec![""],
                failure(&format!("{at} context deadline exceeded (Client.Timeout exceeded while awaiting headers)")),
            ),
            (
                vec!["HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nx"],
                Answer::Success, // The connection ended too early; what matters has come.
            ),
        ] {
            let shown = format!("{script:?}");
            let server = Scripted(std::sync::Mutex::new(script.into_iter().rev().collect()));
            let asked = get(json!({"port": "http", "path": "/x"})).unwrap();
            assert_eq!(asked.probe(&server, Duration::from_secs(1)).await, expected, "{shown}");
        }
        let nonsense = Scripted(std::sync::Mutex::new(vec!["HTTP/1.1 400 Bad Request\r\n\r\n"]));
        let secure = get(json!({"port": 443, "scheme": "HTTPS"})).unwrap();
        let why = format!("Get \"https://10.244.1.7:443/\": {NO_TLS}");
        assert_eq!(secure.probe(&nonsense, Duration::from_secs(1)).await, failure(&why));
        let plain = Scripted(std::sync::Mutex::new(vec![WELL, "HTTP/1.1 400 Bad Request\r\n\r\n"]));
        assert_eq!(secure.call(&plain, Duration::from_secs(1)).await, Ok(true), "a hook goes on without TLS");
    }
}
