//! Which endpoint a connection goes to: any, as iptables' rules choose, or the one that IPVS' scheduler names; unless the
//! client has been here and the Service wants it to stay.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`affinity`] | what clients were given |
//! | [`mode`] | iptables, nftables or IPVS, as the flags say |
//! | [`scheduler`] | how IPVS chooses (pure) |
//! | [`servers`] | the connections that IPVS knows of |

pub mod affinity;
pub mod mode;
pub mod scheduler;
pub mod servers;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use kubelab_client::clock::Instant;
use rand::seq::IndexedRandom;

pub use self::{
    affinity::Affinity,
    mode::{Mode, ProxyMode},
    scheduler::Scheduler,
    servers::{Connection, Servers},
};
use crate::rules::{Endpoint, Protocol, Target};

/// A virtual server, as IPVS has it: an address that leads somewhere.
pub type Server = (SocketAddr, Protocol);

/// A connection that wants an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The Service's port that it is for.
    pub target: Target<'a>,
    /// The address that it was made to.
    pub to: SocketAddr,
    /// Who makes it.
    pub client: IpAddr,
    /// That is a pod of this cluster.
    pub from_pod: bool,
}

/// Where a connection goes.
#[derive(Debug)]
pub struct Chosen {
    /// There.
    pub endpoint: Endpoint,
    /// Counts as a connection of the endpoint until it is dropped.
    pub connection: Option<Connection>,
}

/// One node's way to choose.
#[derive(Debug)]
pub struct Balancer {
    mode: Mode,
    affinity: Affinity,
    servers: Arc<Servers>,
}

impl Balancer {
    /// Nobody has been here yet.
    pub fn new(mode: Mode) -> Self {
        Self { mode, affinity: Affinity::default(), servers: Arc::default() }
    }

    /// The connections that IPVS knows of.
    pub fn servers(&self) -> &Servers {
        &self.servers
    }

    /// Chooses among those endpoints of the call that were not tried yet; none: there is none.
    pub fn choose(&self, call: &Call<'_>, tried: &[SocketAddr], now: Instant) -> Option<Chosen> {
        let Call { target, to, client, from_pod } = *call;
        let all = target.rule.endpoints(target.via, from_pod);
        let is_random = matches!(self.mode, Mode::Iptables | Mode::Nftables);
        if tried.is_empty() && is_random && target.rule.affinity.is_none() {
            // The most frequent case costs the same however many endpoints there are.
            return Some(Chosen { endpoint: all.choose(&mut rand::rng())?.clone(), connection: None });
        }
        let untried: Vec<&Endpoint> = all.iter().filter(|endpoint| !tried.contains(&endpoint.address)).collect();
        // iptables and nftables keep a list of clients for each endpoint, whichever way they came; IPVS one for each virtual server.
        let server = match self.mode {
            Mode::Iptables | Mode::Nftables => {
                (SocketAddr::new(target.rule.cluster_ip, target.rule.port), target.rule.protocol)
            }
            Mode::Ipvs(_) => (to, target.rule.protocol),
        };
        let schedule = || match self.mode {
            Mode::Iptables | Mode::Nftables => untried.choose(&mut rand::rng()).copied(),
            Mode::Ipvs(scheduler) => self.servers.schedule(scheduler, server, client, &untried, now),
        };
        let endpoint = match target.rule.affinity {
            None => schedule()?,
            Some(timeout) => self.affinity.choose(server, client, timeout, now, &untried, schedule)?,
        };
        let counted = matches!(self.mode, Mode::Ipvs(_));
        let connection = counted.then(|| Servers::open(&self.servers, server, endpoint.address));
        Some(Chosen { endpoint: endpoint.clone(), connection })
    }
}

#[cfg(test)]
mod tests;
