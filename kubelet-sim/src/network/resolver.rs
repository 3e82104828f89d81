//! Names to addresses, as `/etc/hosts` and `/etc/resolv.conf` say: what a C library does.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use kubelab_wire::datagram;
use tokio::time::timeout;

use super::{Dialer, Protocol, connect, outside};

/// How long a server may take. Source: resolv.conf(5), which says 5 s and two tries; one tries less long here.
pub const TIMEOUT: Duration = Duration::from_secs(5);

/// The port of DNS servers.
const PORT: u16 = 53;

/// `/etc/resolv.conf`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// The servers.
    pub servers: Vec<IpAddr>,
    /// What names are completed with.
    pub searches: Vec<String>,
    /// A name with so many dots is tried as it is before it is completed.
    pub ndots: usize,
}

impl Config {
    /// Reads the file's text.
    pub fn parse(text: &str) -> Self {
        let mut config = Self { ndots: 1, ..Self::default() };
        for line in text.lines() {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => {
                    config.servers.extend(words.next().and_then(|server| server.parse::<IpAddr>().ok()))
                }
                Some("search") => config.searches = words.map(str::to_owned).collect(),
                Some("options") => {
                    let ndots = words.find_map(|option| option.strip_prefix("ndots:")?.parse().ok());
                    config.ndots = ndots.unwrap_or(config.ndots);
                }
                _ => {}
            }
        }
        config
    }

    /// The names that are asked for, in this order, where somebody says `name`.
    pub fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(whole) = name.strip_suffix('.') {
            return vec![whole.to_owned()];
        }
        let completed = self.searches.iter().map(|search| format!("{name}.{search}"));
        let dots = name.matches('.').count();
        if dots >= self.ndots {
            std::iter::once(name.to_owned()).chain(completed).collect()
        } else {
            completed.chain(std::iter::once(name.to_owned())).collect()
        }
    }
}

/// Why a name has no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// There is no such name.
    NoSuchName,
    /// No server answers.
    NoAnswer,
}

/// Who resolves names in a container.
pub struct Resolver<'a> {
    network: &'a dyn Dialer,
    hosts: String,
    /// What `/etc/resolv.conf` says.
    pub config: Config,
}

impl<'a> Resolver<'a> {
    /// Resolves as these files say.
    pub fn new(network: &'a dyn Dialer, hosts: String, resolv_conf: &str) -> Self {
        Self { network, hosts, config: Config::parse(resolv_conf) }
    }

    /// The IPv4 addresses of a name, or of an address itself.
    pub async fn addresses(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let plain = name.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = plain.parse() {
            return Ok(vec![address]);
        }
        let known: Vec<IpAddr> = self.hosts(name).map(|(address, _)| address).collect();
        if !known.is_empty() {
            let v4: Vec<IpAddr> = known.iter().copied().filter(IpAddr::is_ipv4).collect();
            return Ok(if v4.is_empty() { known } else { v4 });
        }
        match (self.look_up(name).await, outside::address(name)) {
            // Upstream's cluster DNS passes on what is not the cluster's.
            (Err(_), Some(address)) => Ok(vec![address]),
            (found, _) => found,
        }
    }

    /// What DNS says of a name.
    async fn look_up(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        for candidate in self.config.candidates(name) {
            let answer = self.ask_any(&candidate, RecordType::A).await?;
            let found: Vec<IpAddr> = answer.answers.iter().filter_map(|record| record.data.ip_addr()).collect();
            if !found.is_empty() {
                return Ok(found);
            }
        }
        Err(Error::NoSuchName)
    }

    /// The lines of `/etc/hosts` with a name or an address: the address and all its names.
    pub fn hosts(&self, wanted: &str) -> impl Iterator<Item = (IpAddr, Vec<&str>)> {
        self.hosts.lines().filter_map(move |line| {
            let mut words = line.split('#').next()?.split_whitespace();
            let address: IpAddr = words.next()?.parse().ok()?;
            let names: Vec<&str> = words.collect();
            let fits = names.iter().any(|name| name.eq_ignore_ascii_case(wanted)) || wanted.parse() == Ok(address);
            fits.then_some((address, names))
        })
    }

    /// Asks the servers in turn, until one answers.
    pub async fn ask_any(&self, name: &str, kind: RecordType) -> Result<Message, Error> {
        for server in &self.config.servers {
            if let Some(answer) = self.ask(SocketAddr::new(*server, PORT), name, kind).await
                && answer.metadata.response_code != ResponseCode::ServFail
            {
                return Ok(answer);
            }
        }
        Err(Error::NoAnswer)
    }

    /// Asks one server.
    pub async fn ask(&self, server: SocketAddr, name: &str, kind: RecordType) -> Option<Message> {
        let mut query = Message::query();
        query.metadata.recursion_desired = true;
        query.add_query(Query::query(Name::from_str_relaxed(format!("{name}.")).ok()?, kind));
        let query = query.to_vec().ok()?;
        let exchange = async {
            let mut stream = connect(self.network, server, Protocol::Udp, Some(TIMEOUT)).await.ok()?;
            datagram::write(&mut stream, &query).await.ok()?;
            Message::from_vec(&datagram::read(&mut stream).await.ok()?).ok()
        };
        timeout(TIMEOUT, exchange).await.ok()?
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_are_completed() {
        let config =
            Config::parse("search shop.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:2\n");
        assert_eq!(config.servers, ["10.96.0.10".parse::<IpAddr>().unwrap()]);
        for (name, expected) in [
            ("web", "web.shop.svc.cluster.local web.svc.cluster.local web"),
            ("web.shop", "web.shop.shop.svc.cluster.local web.shop.svc.cluster.local web.shop"),
            ("a.b.c", "a.b.c a.b.c.shop.svc.cluster.local a.b.c.svc.cluster.local"),
            ("web.", "web"),
        ] {
            assert_eq!(config.candidates(name).join(" "), expected);
        }
        assert_eq!(Config::parse(""), Config { ndots: 1, ..Config::default() });
    }
}
