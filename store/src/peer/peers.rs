//! The connections to all peers.

use std::collections::{BTreeMap, BTreeSet};

use tokio::runtime::Handle;

use super::{Parcel, Route, Sender, Tls};
use crate::driver::Inbox;

/// The connections of one member to its peers, which may change while it runs.
pub(crate) struct Peers {
    pub(crate) id: u64,
    pub(crate) epoch: u64,
    pub(crate) tls: Option<Tls>,
    pub(crate) inbox: Inbox,
    pub(crate) runtime: Handle,
    pub(crate) senders: BTreeMap<u64, (String, Sender)>,
    /// Peers that nothing is sent to and nothing is taken from: a fault put in on purpose.
    pub(crate) cut: BTreeSet<u64>,
}

impl Peers {
    /// Connects to a peer, or to its new address.
    pub(crate) fn join(&mut self, to: u64, address: String) {
        let is_known = self.senders.get(&to).is_some_and(|(known, _)| *known == address);
        if to == self.id || is_known {
            return;
        }
        let Self { id, epoch, ref tls, ref inbox, ref runtime, .. } = *self;
        let route = Route { from: id, epoch, to, address: address.clone(), tls: tls.clone() };
        let sender = Sender::spawn(route, inbox.clone(), runtime);
        self.senders.insert(to, (address, sender));
    }

    /// Ends the connection to a peer.
    pub(crate) fn leave(&mut self, id: u64) {
        self.senders.remove(&id);
    }

    /// Whether a parcel is on its way, as far as can be told.
    pub(crate) fn send(&self, to: u64, parcel: Parcel) -> bool {
        !self.cut.contains(&to) && self.senders.get(&to).is_some_and(|(_, sender)| sender.send(parcel))
    }
}
