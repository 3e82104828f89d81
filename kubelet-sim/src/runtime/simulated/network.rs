//! The network as a pod sees it, and as the node itself does.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Arc, Weak},
};

use futures::future::BoxFuture;
use kubelab_add_ons::{Dialer, Failure, Protocol};
use tokio::io::DuplexStream;

use super::{PodRef, Shared, Simulated};
use crate::{
    network::{outside, proxy::Proxy},
    runtime::{Dial, DialError, Runtime},
};

impl Shared {
    /// The network of a pod: its own ports, and all else through the node's kube-proxy.
    pub(super) fn network(self: &Arc<Self>, pod: &PodRef, address: IpAddr) -> Arc<dyn Dialer> {
        let own = Own::Pod(pod.clone());
        Arc::new(Network { shared: Arc::downgrade(self), own, address, proxy: self.proxy() })
    }

    /// The network of the node: the pods here, and all else through its kube-proxy. No policy stands between a kubelet
    /// and its own pods.
    pub(super) fn node_network(self: &Arc<Self>) -> Arc<dyn Dialer> {
        let address = self.outside.as_ref().map_or(Ipv4Addr::LOCALHOST.into(), |outside| outside.address);
        Arc::new(Network { shared: Arc::downgrade(self), own: Own::Node, address, proxy: self.proxy() })
    }

    fn proxy(&self) -> Option<Proxy> {
        self.outside.as_ref().map(|outside| outside.proxy.clone())
    }
}

/// Who dials.
enum Own {
    Pod(PodRef),
    Node,
}

struct Network {
    shared: Weak<Shared>,
    own: Own,
    address: IpAddr,
    proxy: Option<Proxy>,
}

impl Network {
    /// Nodes have addresses of their own in 127.0.0.0/8, so only this one is the pod itself.
    fn is_own(&self, ip: IpAddr) -> bool {
        ip == IpAddr::from([127, 0, 0, 1])
            || ip == IpAddr::from([0; 4])
            || ip == self.address
            || ip == IpAddr::V6(Ipv6Addr::LOCALHOST)
    }
}

impl Dialer for Network {
    fn dial(&self, to: SocketAddr, protocol: Protocol) -> BoxFuture<'_, Result<DuplexStream, Failure>> {
        Box::pin(async move {
            let shared = self.shared.upgrade().ok_or(Failure::Unreachable)?;
            let is_own = self.is_own(to.ip());
            let to = if is_own { SocketAddr::new(self.address, to.port()) } else { to };
            if is_own || matches!(self.own, Own::Node) {
                let dial = Dial { to, from: Some(self.address), protocol };
                match (Simulated { shared }).dial(dial) {
                    Ok(stream) => return Ok(stream),
                    Err(DialError::Refused(_)) => return Err(Failure::Refused),
                    // Nobody of this node's.
                    Err(DialError::NoRoute(_)) if is_own => {
                        return Err(if matches!(self.own, Own::Node) { Failure::Refused } else { Failure::NoRoute });
                    }
                    Err(DialError::NoRoute(_)) => {}
                }
            }
            let proxy = self.proxy.as_ref().ok_or(Failure::Unreachable)?;
            let pod = match &self.own {
                Own::Pod(pod) => Some(pod),
                Own::Node => None,
            };
            match proxy.dial(pod, self.address, to, protocol).await {
                // No policy forbids it, and no route in the lab leads there.
                Err(Failure::NoRoute) if to == SocketAddr::new(outside::ADDRESS, outside::PORT) => {
                    Ok(outside::connect())
                }
                dialled => dialled,
            }
        })
    }
}
