//! The addresses that load balancers get.

use std::{collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;
use kubelab_client::controller::Key;

/// Which service has which address.
pub struct Pool {
    range: Ipv4Net,
    given: BTreeMap<Ipv4Addr, Key>,
}

/// Why a service gets no address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// It asked for something that is not in the pool.
    Outside(String, Ipv4Net),
    /// It asked for what another service has.
    Taken(Ipv4Addr, Key),
    /// All are given.
    Exhausted(Ipv4Net),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Outside(address, range) => write!(f, "address {address:?} is not in the pool {range}"),
            Self::Taken(address, by) => write!(f, "address {address} is already used by service {by}"),
            Self::Exhausted(range) => write!(f, "no address is left in the pool {range}"),
        }
    }
}

impl Pool {
    /// All addresses of the range, but its first and its last one.
    pub fn new(range: Ipv4Net) -> Self {
        Self { range: range.trunc(), given: BTreeMap::new() }
    }

    /// Gives the service the address that it wants; else the one that it has; else the lowest that is free.
    pub fn give(&mut self, service: &Key, wanted: Option<&str>, has: Option<Ipv4Addr>) -> Result<Ipv4Addr, Refusal> {
        let address = match wanted {
            Some(wanted) => {
                let address = wanted.parse().ok().filter(|address| self.contains(*address));
                let address = address.ok_or_else(|| Refusal::Outside(wanted.to_owned(), self.range))?;
                match self.given.get(&address) {
                    Some(by) if by != service => return Err(Refusal::Taken(address, by.clone())),
                    _ => address,
                }
            }
            None => {
                let is_own = |address: &Ipv4Addr| self.given.get(address).is_none_or(|by| by == service);
                let known = self.given.iter().find(|(_, by)| *by == service).map(|(address, _)| *address);
                let kept = has.filter(|has| self.contains(*has) && is_own(has)).or(known);
                match kept {
                    Some(address) => address,
                    None => self.free().ok_or(Refusal::Exhausted(self.range))?,
                }
            }
        };
        self.release(service);
        self.given.insert(address, service.clone());
        Ok(address)
    }

    /// The service has this address, as its status says.
    pub fn occupy(&mut self, service: &Key, address: Ipv4Addr) {
        if self.contains(address) {
            self.given.entry(address).or_insert_with(|| service.clone());
        }
    }

    /// The service needs none.
    pub fn release(&mut self, service: &Key) {
        self.given.retain(|_, by| by != service);
    }

    fn contains(&self, address: Ipv4Addr) -> bool {
        self.range.contains(&address) && address != self.range.network() && address != self.range.broadcast()
    }

    fn free(&self) -> Option<Ipv4Addr> {
        self.range.hosts().find(|address| self.contains(*address) && !self.given.contains_key(address))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn service(name: &str) -> Key {
        Key { namespace: "shop".into(), name: name.into() }
    }

    fn address(last: u8) -> Ipv4Addr {
        Ipv4Addr::new(127, 20, 251, last)
    }

    #[test]
    fn each_service_keeps_an_address_of_its_own() {
        let mut pool = Pool::new("127.20.251.0/30".parse().unwrap());
        let [a, b, c] = ["a", "b", "c"].map(service);
        assert_eq!(pool.give(&a, None, None), Ok(address(1)));
        assert_eq!(pool.give(&a, None, None), Ok(address(1)), "the same when asked again");
        assert_eq!(pool.give(&b, None, None), Ok(address(2)));
        assert_eq!(pool.give(&c, None, None), Err(Refusal::Exhausted("127.20.251.0/30".parse().unwrap())));
        pool.release(&a);
        assert_eq!(pool.give(&c, None, None), Ok(address(1)));
    }

    #[test]
    fn wishes_are_granted_where_they_can_be() {
        let mut pool = Pool::new("127.20.251.0/24".parse().unwrap());
        let [a, b] = ["a", "b"].map(service);
        assert_eq!(pool.give(&a, Some("127.20.251.9"), None), Ok(address(9)));
        assert_eq!(pool.give(&b, Some("127.20.251.9"), None), Err(Refusal::Taken(address(9), a.clone())));
        for outside in ["10.0.0.1", "127.20.251.0", "127.20.251.255", "nine"] {
            assert!(matches!(pool.give(&b, Some(outside), None), Err(Refusal::Outside(..))), "{outside}");
        }
        assert_eq!(pool.give(&a, Some("127.20.251.7"), Some(address(9))), Ok(address(7)), "it moves");
        assert_eq!(pool.give(&b, Some("127.20.251.9"), None), Ok(address(9)));
    }

    #[test]
    fn what_statuses_say_is_known_after_a_restart() {
        let mut pool = Pool::new("127.20.251.0/24".parse().unwrap());
        let [a, b, c] = ["a", "b", "c"].map(service);
        pool.occupy(&a, address(1));
        pool.occupy(&b, address(1));
        assert_eq!(pool.give(&c, None, None), Ok(address(2)));
        assert_eq!(pool.give(&a, None, Some(address(1))), Ok(address(1)));
        assert_eq!(pool.give(&b, None, Some(address(1))), Ok(address(3)), "two cannot have the same");
        assert_eq!(pool.give(&c, None, Some(Ipv4Addr::new(10, 0, 0, 1))), Ok(address(2)));
    }
}
