//! `forward`: questions for other servers, which are asked over the pod network. Source: the documentation of CoreDNS'
//! `forward`.

use std::{
    net::{IpAddr, SocketAddr},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use hickory_proto::op::Message;
use kubelab_wire::datagram;
use rand::seq::SliceRandom;
use tokio::{sync::Semaphore, time::timeout};

use super::{
    super::corefile::{Directive, Wrong, is_in, wrong_count, zone_of},
    only,
};
use crate::{Dialer, Protocol};

/// The port of DNS servers.
const PORT: u16 = 53;
/// How long a server may take. Source: CoreDNS waits 2 s for an answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Servers that are asked before it is given up.
const TRIES: usize = 3;
/// Questions under way at a time, where the Corefile names no other bound.
const MAX_CONCURRENT: usize = 1000;
/// The most servers. Source: CoreDNS.
const MAX_SERVERS: usize = 15;

/// Properties that change nothing in a lab: it has no TLS between DNS servers, and dials anew for each question.
const IDLE: [&str; 11] = [
    "expire",
    "max_fails",
    "tls",
    "tls_servername",
    "health_check",
    "prefer_udp",
    "next",
    "failfast_all_unhealthy_upstreams",
    "failover",
    "max_age",
    "max_idle_conns",
];

/// In which order servers are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Policy {
    #[default]
    Random,
    RoundRobin,
    Sequential,
}

/// Other servers.
#[derive(Debug)]
pub struct Forward {
    from: String,
    servers: Vec<SocketAddr>,
    except: Vec<String>,
    policy: Policy,
    protocol: Protocol,
    next: AtomicUsize,
    places: Arc<Semaphore>,
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// There are no servers: the lab's nodes know none, since there is nothing outside of it.
    #[error("there is nobody to ask")]
    Nobody,
    /// Too many questions are under way.
    #[error("concurrent queries exceeded maximum")]
    Busy,
    /// None of the servers answered.
    #[error("no server answered")]
    Silence,
}

impl Forward {
    /// `forward FROM TO… { except; policy; force_tcp; max_concurrent; … }`
    pub fn of(line: &Directive, read: &dyn Fn(&Path) -> Option<String>) -> Result<Self, Wrong> {
        let (Some(from), targets @ [_, ..]) = (line.arguments().first(), line.arguments().get(1..).unwrap_or_default())
        else {
            return Err(wrong_count(line.line, "forward"));
        };
        let mut servers = Vec::new();
        for target in targets {
            servers.extend(resolve(target, read).map_err(|message| (line.line, message))?);
        }
        if servers.len() > MAX_SERVERS {
            return Err((
                line.line,
                format!("plugin/forward: more than {MAX_SERVERS} TOs configured: {}", servers.len()),
            ));
        }
        let mut forward = Self {
            from: zone_of(from),
            servers,
            except: Vec::new(),
            policy: Policy::default(),
            protocol: Protocol::Udp,
            next: AtomicUsize::default(),
            places: Arc::new(Semaphore::new(MAX_CONCURRENT)),
        };
        for line in &line.block {
            match line.split() {
                ("except", zones) => forward.except = zones.iter().map(|zone| zone_of(zone)).collect(),
                ("force_tcp", _) => forward.protocol = Protocol::Tcp,
                ("policy", _) => {
                    forward.policy = match only(line)? {
                        "random" => Policy::Random,
                        "round_robin" => Policy::RoundRobin,
                        "sequential" => Policy::Sequential,
                        other => return Err((line.line, format!("plugin/forward: unknown policy '{other}'"))),
                    }
                }
                ("max_concurrent", _) => {
                    let text = only(line)?;
                    let wrong =
                        || (line.line, format!("plugin/forward: max_concurrent must be a number, not '{text}'"));
                    let count: usize = text.parse().map_err(|_| wrong())?;
                    forward.places = Arc::new(Semaphore::new(count.clamp(1, Semaphore::MAX_PERMITS)));
                }
                (name, _) if IDLE.contains(&name) => {}
                (name, _) => return Err((line.line, format!("plugin/forward: unknown property '{name}'"))),
            }
        }
        Ok(forward)
    }

    /// The zone whose names are asked for there.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// Whether a name is one of them.
    pub fn takes(&self, name: &str) -> bool {
        is_in(name, &self.from) && !self.except.iter().any(|zone| is_in(name, zone))
    }

    /// Asks the servers, until one answers.
    pub async fn ask(&self, network: &dyn Dialer, query: &Message) -> Result<Message, Error> {
        if self.servers.is_empty() {
            return Err(Error::Nobody);
        }
        let _place = self.places.try_acquire().map_err(|_| Error::Busy)?;
        for server in self.order().into_iter().take(TRIES) {
            let asked = timeout(PATIENCE, exchange(network, server, self.protocol, query)).await;
            match asked.ok().flatten() {
                Some(answer) if answer.metadata.id == query.metadata.id => return Ok(answer),
                _ => tracing::debug!(%server, "a DNS server did not answer"),
            }
        }
        Err(Error::Silence)
    }

    fn order(&self) -> Vec<SocketAddr> {
        let mut order = self.servers.clone();
        match self.policy {
            Policy::Random => order.shuffle(&mut rand::rng()),
            Policy::RoundRobin => order.rotate_left(self.next.fetch_add(1, Ordering::Relaxed) % self.servers.len()),
            Policy::Sequential => {}
        }
        order
    }
}

/// An address, perhaps with a port; or a file like `/etc/resolv.conf`, whose name servers are meant.
fn resolve(target: &str, read: &dyn Fn(&Path) -> Option<String>) -> Result<Vec<SocketAddr>, String> {
    let plain = target.strip_prefix("dns://").unwrap_or(target);
    if let Ok(address) = plain.parse::<SocketAddr>() {
        return Ok(vec![address]);
    }
    if let Ok(ip) = plain.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, PORT)]);
    }
    let text = plain.starts_with('/').then(|| read(Path::new(plain))).flatten();
    let text = text.ok_or_else(|| format!("plugin/forward: not an IP address or file: \"{target}\""))?;
    let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    Ok(servers.map(|ip| SocketAddr::new(ip, PORT)).collect())
}

/// Over both protocols a message comes after its length.
async fn exchange(network: &dyn Dialer, server: SocketAddr, protocol: Protocol, query: &Message) -> Option<Message> {
    let query = query.to_vec().ok()?;
    let mut stream = network.dial(server, protocol).await.ok()?;
    datagram::write(&mut stream, &query).await.ok()?;
    Message::from_vec(&datagram::read(&mut stream).await.ok()?).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_go_to_their_servers() {
        let words = "forward example.org 10.0.0.1 10.0.0.2:5353 /etc/resolv.conf";
        let directive = Directive { words: words.split(' ').map(str::to_owned).collect(), ..Directive::default() };
        let read = |_: &Path| Some("search x\nnameserver 10.0.0.3\n".to_owned());
        let mut forward = Forward::of(&directive, &read).unwrap();
        forward.except = vec!["a.example.org".to_owned()];
        let servers: Vec<String> = forward.servers.iter().map(SocketAddr::to_string).collect();
        assert_eq!(servers, ["10.0.0.1:53", "10.0.0.2:5353", "10.0.0.3:53"]);
        for (name, expected) in [("x.example.org", true), ("b.a.example.org", false), ("example.com", false)] {
            assert_eq!(forward.takes(name), expected, "{name}");
        }
        forward.policy = Policy::RoundRobin;
        let firsts: Vec<SocketAddr> = (0..3).map(|_| forward.order()[0]).collect();
        assert_eq!(firsts, forward.servers);
    }
}
