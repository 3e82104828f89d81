//! A group of members in this process.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    process,
    sync::atomic::{AtomicU8, Ordering},
    time::Duration,
};

use bytes::Bytes;
use kubelab_store::{
    Door, Key, Options, Origin, Precondition, Role, Scope, Store, Transaction, Write, members::Change,
};
use tempfile::TempDir;

pub struct Group {
    addresses: BTreeMap<u64, SocketAddr>,
    folder: TempDir,
    members: BTreeMap<u64, Store>,
}

/// An address that nobody else has: a port of 127.0.0.1 could go to a connection of somebody before it is used.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let process = u8::try_from(process::id() % 200).unwrap() + 1;
    let ip = Ipv4Addr::new(127, 0, process, NEXT.fetch_add(1, Ordering::Relaxed));
    TcpListener::bind((ip, 0)).unwrap().local_addr().unwrap()
}

impl Group {
    pub async fn start(members: u64) -> Self {
        let mut group = Self::prepare(members);
        for id in 1..=members {
            group.open(id).await;
        }
        group
    }

    /// A group of which no member runs yet.
    pub fn prepare(members: u64) -> Self {
        let addresses = (1..=members).map(|id| (id, free_address())).collect();
        Self { addresses, folder: TempDir::new().unwrap(), members: BTreeMap::new() }
    }

    pub async fn open(&mut self, id: u64) {
        self.open_with(id, |_| {}).await;
    }

    pub async fn open_with(&mut self, id: u64, change: impl FnOnce(&mut Options)) {
        let peers = self.addresses.iter().map(|(id, address)| (*id, address.to_string())).collect();
        let mut options = Options::new(id, peers, self.folder.path().join(id.to_string()), self.addresses[&id]);
        change(&mut options);
        self.members.insert(id, Store::open(options).await.unwrap());
    }

    /// A new member joins and gets a vote.
    pub async fn join(&mut self, id: u64) {
        let free = free_address();
        self.addresses.insert(id, free);
        self.open_with(id, |options| options.join = true).await;
        let by = self.members.values().next().unwrap();
        by.change_members(Change::Add { id, address: free.to_string() }).await.unwrap();
        let revision = by.local().revision();
        self.members[&id].at_least(revision).await.unwrap();
        by.change_members(Change::Promote { id }).await.unwrap();
    }

    pub async fn stop(&mut self, id: u64) {
        let store = self.members.remove(&id).unwrap();
        store.shutdown().await;
    }

    pub fn member(&self, id: u64) -> &Store {
        &self.members[&id]
    }

    pub async fn leader(&self) -> u64 {
        for store in self.members.values() {
            let mut member = store.member();
            let known = tokio::time::timeout(Duration::from_secs(10), member.wait_for(|member| member.leader != 0));
            let member = known.await.unwrap().unwrap().clone();
            if member.role == Role::Leader {
                return member.id;
            }
        }
        panic!("no member leads");
    }
}

pub fn scope(topic: &str) -> Scope {
    Scope { topic: topic.into(), prefix: "".into(), index: None }
}

pub fn origin() -> Origin {
    Origin {
        user: "kubernetes-admin".into(),
        agent: "test".into(),
        door: Door::Rest,
        verb: "update".into(),
        time_us: 0,
        trace_id: "".into(),
        cause: 0,
        note: "".into(),
    }
}

pub fn put(topic: &str, name: &str, value: &str) -> Transaction {
    let write = Write::Put {
        key: Key::new(topic, name),
        value: Bytes::copy_from_slice(value.as_bytes()),
        stamp: Some(0),
        index: None,
        expires_ms: None,
    };
    Transaction { preconditions: Vec::new(), writes: vec![write], origin: origin() }
}

pub fn create(topic: &str, name: &str, value: &str) -> Transaction {
    Transaction { preconditions: vec![Precondition::Absent(Key::new(topic, name))], ..put(topic, name, value) }
}

pub fn delete(topic: &str, name: &str) -> Transaction {
    let writes = vec![Write::Delete { key: Key::new(topic, name) }];
    Transaction { preconditions: Vec::new(), writes, origin: origin() }
}
