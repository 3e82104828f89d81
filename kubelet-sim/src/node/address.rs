//! Which addresses of the node's pod CIDR are taken. As upstream's `host-local` plugin, it goes round: an address that
//! was given back is the last to be given again.

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv4Addr},
};

use ipnet::Ipv4Net;

/// The addresses of a node's pods.
#[derive(Debug)]
pub struct Pool {
    network: Ipv4Net,
    taken: BTreeSet<Ipv4Addr>,
    last: Ipv4Addr,
}

/// All addresses are taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no IP addresses available in range set: {first}-{last}")]
pub struct Exhausted {
    first: Ipv4Addr,
    last: Ipv4Addr,
}

impl Pool {
    /// A pool for this CIDR where these addresses are taken already.
    pub fn new(network: Ipv4Net, taken: impl IntoIterator<Item = IpAddr>) -> Self {
        let taken: BTreeSet<Ipv4Addr> = taken
            .into_iter()
            .filter_map(|address| match address {
                IpAddr::V4(address) if network.contains(&address) => Some(address),
                _ => None,
            })
            .collect();
        let last = taken.last().copied().unwrap_or_else(|| Self::gateway(network));
        Self { network, taken, last }
    }

    /// The CIDR.
    pub fn network(&self) -> Ipv4Net {
        self.network
    }

    /// The first address belongs to the node itself.
    fn gateway(network: Ipv4Net) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(network.network()).wrapping_add(1))
    }

    /// Takes a free address.
    pub fn take(&mut self) -> Result<IpAddr, Exhausted> {
        let first = u32::from(Self::gateway(self.network)).saturating_add(1);
        let last = u32::from(self.network.broadcast()).saturating_sub(1);
        let after = u32::from(self.last).saturating_add(1).max(first);
        let free = (after..=last).chain(first..after.min(last + 1)).map(Ipv4Addr::from);
        let mut free = free.filter(|address| !self.taken.contains(address));
        let address =
            free.next().ok_or_else(|| Exhausted { first: Self::gateway(self.network), last: Ipv4Addr::from(last) })?;
        self.taken.insert(address);
        self.last = address;
        Ok(address.into())
    }

    /// Gives an address back.
    pub fn give_back(&mut self, address: IpAddr) {
        if let IpAddr::V4(address) = address {
            self.taken.remove(&address);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_go_round() {
        let mut pool = Pool::new("10.244.1.0/29".parse().unwrap(), []);
        let taken: Vec<String> = (0..5).map(|_| pool.take().unwrap().to_string()).collect();
        assert_eq!(taken, ["10.244.1.2", "10.244.1.3", "10.244.1.4", "10.244.1.5", "10.244.1.6"]);
        let none = pool.take().unwrap_err().to_string();
        assert_eq!(none, "no IP addresses available in range set: 10.244.1.1-10.244.1.6");
        pool.give_back(address("10.244.1.3"));
        pool.give_back(address("10.244.1.2"));
        assert_eq!(pool.take(), Ok(address("10.244.1.2")));
        assert_eq!(pool.take(), Ok(address("10.244.1.3")));
    }

    #[test]
    fn a_restarted_node_goes_on_behind_what_is_taken() {
        let taken = ["10.244.1.2", "10.244.1.4", "10.9.9.9", "::1"].map(address);
        let mut pool = Pool::new("10.244.1.0/29".parse().unwrap(), taken);
        let next: Vec<String> = (0..3).map(|_| pool.take().unwrap().to_string()).collect();
        assert_eq!(next, ["10.244.1.5", "10.244.1.6", "10.244.1.3"]);
    }
}
