//! What the HTTP servers of `agnhost` answer (pure). Source: `test/images/agnhost` of Kubernetes.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use jiff::Timestamp;

use crate::{
    behavior::{Health, Page},
    duration,
};

/// The longest that an answer is put off.
const MAX_DELAY: u64 = 3600;

/// What somebody has told a server to say of its health, over HTTP.
#[derive(Debug, Default)]
pub struct Told(AtomicU8);

impl Told {
    /// To say that it serves, or that it does not.
    pub fn tell(&self, serves: bool) {
        self.0.store(if serves { 1 } else { 2 }, Ordering::Relaxed);
    }

    /// What it was told, if it was.
    pub fn serves(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            0 => None,
            told => Some(told == 1),
        }
    }
}

/// A request, and who is asked.
pub struct Asked<'a> {
    /// Path and query.
    pub uri: &'a str,
    /// The server's host name.
    pub name: &'a str,
    /// Who asks.
    pub from: Option<SocketAddr>,
    /// For how long the server has run.
    pub uptime: Duration,
    /// The present.
    pub now: Timestamp,
    /// How the server is.
    pub health: &'a Health,
    /// What it was told to be.
    pub told: &'a Told,
}

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status code.
    pub status: u16,
    /// Where else to look.
    pub location: Option<String>,
    /// How long it takes to say so.
    pub delay: Duration,
    /// What it says.
    pub body: String,
}

impl Reply {
    fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, location: None, delay: Duration::ZERO, body: body.into() }
    }

    fn redirect(status: u16, location: String) -> Self {
        Self { location: Some(location), ..Self::new(status, "") }
    }
}

/// The answer of a server with this page, if it is one of agnhost's.
pub fn answer(page: &Page, asked: &Asked<'_>) -> Option<Reply> {
    let (path, query) = asked.uri.split_once('?').unwrap_or((asked.uri, ""));
    let parameter = |name: &str| {
        let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
        decoded(value.unwrap_or_default())
    };
    let code =
        |default: u16| parameter("code").parse().ok().filter(|code| (200..600).contains(code)).unwrap_or(default);
    let own = Reply::new(asked.health.status(asked.uptime), "");
    let not_found = || Reply::new(404, "404 page not found\n");
    Some(match (page, path) {
        (Page::Netexec, "/hostname" | "/hostName") => Reply::new(200, asked.name),
        (Page::Netexec, "/echo") => Reply::new(code(200), parameter("msg")),
        (Page::Netexec, "/clientip") => Reply::new(200, asked.from.map(|from| from.to_string()).unwrap_or_default()),
        (Page::Netexec, "/healthz") => Reply::new(if own.status == 200 { 200 } else { 412 }, ""),
        (Page::Netexec, "/redirect") => Reply::redirect(code(302), parameter("location")),
        (Page::Netexec, _) => {
            Reply::new(own.status, format!("NOW: {}", asked.now.strftime("%Y-%m-%d %H:%M:%S.%f +0000 UTC")))
        }
        (Page::Liveness, "/healthz") if own.status == 200 => Reply::new(200, "ok"),
        (Page::Liveness, "/healthz") => Reply::new(own.status, format!("error: {}", asked.uptime.as_secs_f64())),
        (Page::Liveness, "/started") => Reply::new(200, duration::format(asked.uptime)),
        (Page::Liveness, "/redirect") => Reply::redirect(302, parameter("loc")),
        (Page::Liveness, "/sleep-headers") => {
            let seconds = parameter("time").parse::<u64>().unwrap_or(0).min(MAX_DELAY);
            let delay = Duration::from_secs(seconds);
            Reply { delay, ..Reply::new(code(500), format!("Slept for {seconds} secs\n")) }
        }
        (Page::Health { .. }, "/make-serving" | "/make-not-serving") => {
            asked.told.tell(path == "/make-serving");
            Reply::new(200, duration::format(asked.uptime))
        }
        (Page::Liveness | Page::Health { .. }, _) => not_found(),
        (Page::Describe | Page::Text(_) | Page::Hostname, _) => return None,
    })
}

/// A part of a query.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        let hex = |rest: &std::str::Bytes<'_>| {
            let digits = rest.clone().take(2).map(|digit| char::from(digit).to_digit(16));
            digits.collect::<Option<Vec<u32>>>().filter(|digits| digits.len() == 2)
        };
        match byte {
            b'+' => bytes.push(b' '),
            b'%' => match hex(&rest) {
                Some(digits) => {
                    bytes.push(u8::try_from(digits[0] * 16 + digits[1]).unwrap_or(b'?'));
                    rest.nth(1);
                }
                None => bytes.push(byte),
            },
            byte => bytes.push(byte),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn subcommands_answer_as_upstream_s() {
        let health = Health { healthy_for: Some(Duration::from_secs(10)), ..Health::default() };
        let told = Told::default();
        let checks = Page::Health { service: String::new() };
        let ask = |page: &Page, uri: &str, seconds| {
            let from = "10.244.0.9:40000".parse().ok();
            let (uptime, now) = (Duration::from_secs(seconds), Timestamp::UNIX_EPOCH);
            let asked = Asked { uri, name: "web-0", from, uptime, now, health: &health, told: &told };
            let reply = answer(page, &asked).unwrap();
            (reply.status, reply.location.unwrap_or(reply.body))
        };
        for (page, uri, seconds, status, said) in [
            (&Page::Netexec, "/hostname", 1, 200, "web-0"),
            (&Page::Netexec, "/echo?msg=a+b%21%zz", 1, 200, "a b!%zz"),
            (&Page::Netexec, "/echo?msg=x&code=418", 1, 418, "x"),
            (&Page::Netexec, "/clientip", 1, 200, "10.244.0.9:40000"),
            (&Page::Netexec, "/redirect?location=/echo%3Fmsg=x&code=307", 1, 307, "/echo?msg=x"),
            (&Page::Netexec, "/", 1, 200, "NOW: 1970-01-01 00:00:00.0 +0000 UTC"),
            (&Page::Liveness, "/healthz", 9, 200, "ok"),
            (&Page::Liveness, "/healthz", 11, 500, "error: 11"),
            (&Page::Liveness, "/started", 11, 200, "11s"),
            (&Page::Liveness, "/redirect?loc=http%3A%2F%2Fx%2F", 11, 302, "http://x/"),
            (&Page::Liveness, "/other", 1, 404, "404 page not found\n"),
            (&checks, "/make-not-serving", 3, 200, "3s"),
        ] {
            assert_eq!(ask(page, uri, seconds), (status, said.to_owned()), "{uri}");
        }
        assert_eq!(told.serves(), Some(false));
    }
}
