//! How one member of the store is set up.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use crate::{HistoryLimits, PeerTls};

/// How one member of the store is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// This member's id, from 1, never used again after its disk was lost.
    pub id: u64,
    /// Every member's id and peer address (`host:port`), this one's included. Counts for a new group; an old one knows its
    /// members.
    pub peers: BTreeMap<u64, String>,
    /// This member is new to a group that exists: it waits until [`Store::change_members`](crate::Store::change_members)
    /// adds it there. Only counts as long as its disk is empty.
    pub join: bool,
    /// A file that [`Store::save`](crate::Store::save) wrote: a new group begins with what it holds. Every founder is given
    /// the same one. Only counts as long as the disk is empty.
    pub restore: Option<PathBuf>,
    /// Where the log and the snapshots live.
    pub data_dir: PathBuf,
    /// Where this member listens for its peers.
    pub peer_listen: SocketAddr,
    /// Certificates for the connections between members; without them they speak in the clear.
    pub tls: Option<PeerTls>,
    /// How much of the past watchers can resume from.
    pub history: HistoryLimits,
    /// The clock that expiring keys go by: Unix time in milliseconds.
    pub now_ms: fn() -> u64,
    /// Called when this member can't go on, as after a failed sync. It should not return; the default ends the process.
    pub on_fatal: fn(&str),
}

impl Options {
    /// Defaults for everything that has one.
    pub fn new(id: u64, peers: BTreeMap<u64, String>, data_dir: PathBuf, peer_listen: SocketAddr) -> Self {
        Self {
            id,
            peers,
            join: false,
            restore: None,
            data_dir,
            peer_listen,
            tls: None,
            history: HistoryLimits::default(),
            now_ms: system_ms,
            on_fatal: abort,
        }
    }
}

fn system_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

fn abort(reason: &str) {
    tracing::error!(%reason, "the store can't go on");
    eprintln!("the store can't go on: {reason}");
    std::process::abort();
}
