//! Where the processes of a lab listen.
//!
//! Loopback's network is large, so each lab has a part of it for itself, 127.S.0.0/16, and each process an address of its
//! own in there. So nobody but a program that listens on all addresses can take a port from a lab, and all nodes can
//! listen on the same NodePort.
//!
//! | addresses | whose |
//! | --- | --- |
//! | 127.S.0.1 … | nodes: the kubelet and the kube-proxy |
//! | 127.S.251.N | services of type LoadBalancer |
//! | 127.S.252.N | controller-managers |
//! | 127.S.253.N | schedulers |
//! | 127.S.254.N | apiservers, for each other |
//! | 127.S.255.N | apiservers, for clients |
//! | 127.S.255.254 | the supervisor, to say that the lab S is taken |

use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener},
};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use super::{Spec, plan::Kind};

/// Upstream's port of the kubelet's API.
pub const KUBELET_PORT: u16 = 10250;
/// Upstream's port of the kubelet's health.
pub const KUBELET_HEALTH_PORT: u16 = 10248;
/// Upstream's port of the kube-proxy's health.
pub const KUBE_PROXY_HEALTH_PORT: u16 = 10256;

/// The second byte of a lab's addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Subnet(u8);

impl Subnet {
    /// Some part of loopback's network, which another lab may have taken.
    pub fn random() -> Self {
        // The first ones are other programs' favourites, the last one ends in the broadcast address.
        Self(rand::random_range(16..=250))
    }

    /// The address of a node.
    pub fn node(self, number: u16) -> IpAddr {
        let [high, low] = number.to_be_bytes();
        Ipv4Addr::new(127, self.0, high, low).into()
    }

    /// The addresses of services of type LoadBalancer.
    pub fn load_balancers(self) -> String {
        format!("{}/24", self.control_plane(251, 0))
    }

    /// Where clients and the others reach an apiserver.
    pub fn apiserver(self, id: u16) -> [IpAddr; 2] {
        [255, 254].map(|role| self.control_plane(role, id))
    }

    fn control_plane(self, role: u8, id: u16) -> IpAddr {
        self.node(u16::from(role) << 8 | id)
    }

    /// Takes the addresses for as long as the claim is held; none if another lab holds them, or if some program listens
    /// where the first node should.
    fn claim(self) -> io::Result<Option<Claim>> {
        let listen = |address: IpAddr| TcpListener::bind((address, KUBELET_PORT));
        match (listen(self.control_plane(255, 254)), listen(self.node(1))) {
            (Ok(listener), Ok(_)) => Ok(Some(Claim(listener))),
            (Err(error), _) | (_, Err(error)) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }
}

/// That a lab's addresses are its own. Held by the kernel, so it ends with the process.
#[derive(Debug)]
pub struct Claim(#[expect(dead_code, reason = "held, not used")] TcpListener);

impl Claim {
    /// Takes `wanted`, or another subnet if a lab that started meanwhile has that one.
    pub fn take(wanted: Subnet) -> anyhow::Result<(Subnet, Self)> {
        let others = std::iter::repeat_with(Subnet::random).take(1000);
        for subnet in std::iter::once(wanted).chain(others) {
            if let Some(claim) = subnet.claim().context("cannot listen on the lab's addresses in 127.0.0.0/8")? {
                return Ok((subnet, claim));
            }
        }
        bail!(
            "port {KUBELET_PORT} is taken on all of 127.0.0.0/8: a kubelet or another program on this machine listens on \
             all addresses, or some 200 labs are running (`kubelab down` stops one)"
        )
    }
}

/// Where the processes of the control plane listen this time. Their ports are chosen at each start.
pub struct Addresses {
    /// Each apiserver's API.
    pub apiservers: Vec<SocketAddr>,
    /// Each apiserver's store.
    pub peers: Vec<SocketAddr>,
    subnet: Subnet,
}

impl Addresses {
    /// Free ports on the lab's addresses.
    pub fn choose(spec: &Spec) -> anyhow::Result<Self> {
        let (mut apiservers, mut peers) = (Vec::new(), Vec::new());
        for id in 1..=spec.apiservers {
            let [clients, others] = spec.subnet.apiserver(id);
            apiservers.push(free(clients)?);
            peers.push(free(others)?);
        }
        Ok(Self { apiservers, peers, subnet: spec.subnet })
    }

    /// A free port for the health of a scheduler or a controller-manager.
    pub fn of_loop(&self, kind: Kind, id: u16) -> anyhow::Result<SocketAddr> {
        free(self.subnet.control_plane(if kind == Kind::Scheduler { 253 } else { 252 }, id))
    }

    /// The apiservers, as `--apiservers` names them.
    pub fn apiserver_urls(&self) -> String {
        self.apiservers.iter().map(|address| format!("https://{address}")).collect::<Vec<_>>().join(",")
    }
}

/// A port that nobody listens on, and that stays so until the process does: no other uses the address.
fn free(address: IpAddr) -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((address, 0)).with_context(|| format!("cannot listen on {address}"))?;
    Ok(listener.local_addr()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subnet_belongs_to_one_lab_at_a_time() {
        let (mine, claim) = Claim::take(Subnet::random()).unwrap();
        let (other, _held) = Claim::take(mine).unwrap();
        assert_ne!(mine, other);
        drop(claim);
        assert_eq!(Claim::take(mine).unwrap().0, mine);
    }

    #[test]
    fn every_process_has_an_address_of_its_own() {
        let subnet = Subnet(20);
        assert_eq!(subnet.node(259).to_string(), "127.20.1.3");
        assert_eq!(subnet.apiserver(2).map(|address| address.to_string()), ["127.20.255.2", "127.20.254.2"]);
    }
}
