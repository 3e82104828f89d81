//! Commits and linearizable reads of a group of three members in this process, over loopback and a real disk:
//! `cargo bench -p kubelab-store`. Prints how many a second, and the CPU time of each.

#![allow(missing_docs)]
#![allow(clippy::disallowed_methods)] // see clippy.toml

use std::{
    collections::BTreeMap,
    net::TcpListener,
    time::{Duration, Instant},
};

use bytes::Bytes;
use kubelab_store::{Door, Key, Options, Origin, Store, Transaction, Write};
use tokio::task::JoinSet;

const TIME: Duration = Duration::from_secs(4);
const VALUE: usize = 1200;

fn put(worker: usize, i: usize) -> Transaction {
    let write = Write::Put {
        key: Key::new("core/configmaps", format!("default/bench-{worker}-{i}")),
        value: Bytes::from(vec![b'x'; VALUE]),
        stamp: Some(0),
        index: None,
        expires_ms: None,
    };
    let origin = Origin {
        user: "kubernetes-admin".into(),
        agent: "bench".into(),
        door: Door::Rest,
        verb: "create".into(),
        time_us: 0,
        trace_id: "".into(),
        cause: 0,
        note: "".into(),
    };
    Transaction { preconditions: Vec::new(), writes: vec![write], origin }
}

async fn group(folder: &std::path::Path) -> Vec<Store> {
    let listeners: Vec<_> = (0..3).map(|_| TcpListener::bind("127.0.0.1:0").expect("a free port")).collect();
    let addresses: Vec<_> = listeners.iter().map(|l| l.local_addr().expect("an address")).collect();
    drop(listeners);
    let peers: BTreeMap<u64, String> = (1..).zip(addresses.iter().map(ToString::to_string)).collect();
    let mut members = Vec::new();
    for (id, address) in (1..).zip(addresses) {
        let options = Options::new(id, peers.clone(), folder.join(id.to_string()), address);
        members.push(Store::open(options).await.expect("a member"));
    }
    for member in &members {
        let mut view = member.member();
        view.wait_for(|member| member.leader != 0).await.expect("a leader");
    }
    members
}

fn cpu() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

async fn measure(what: &str, members: &[Store], waiting: usize, write: bool) {
    let begun = Instant::now();
    let used = cpu();
    let mut tasks = JoinSet::new();
    for worker in 0..waiting {
        let store = members[worker % members.len()].clone();
        tasks.spawn(async move {
            let mut done = 0;
            while begun.elapsed() < TIME {
                if write {
                    store.commit(put(worker, done)).await.expect("a commit");
                } else {
                    store.latest().await.expect("a read");
                }
                done += 1;
            }
            done
        });
    }
    let done: usize = tasks.join_all().await.into_iter().sum();
    let (whole, used) = (begun.elapsed().as_secs_f64(), (cpu() - used).as_secs_f64());
    println!(
        "{what:<8} {waiting:>5} waiting: {:>8.0}/s  {:>6.1} µs of CPU each",
        done as f64 / whole,
        used * 1e6 / done as f64
    );
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let members = group(folder.path()).await;
        for waiting in [1, 16, 64, 512] {
            measure("commit", &members, waiting, true).await;
        }
        for waiting in [1, 16, 64, 512] {
            measure("read", &members, waiting, false).await;
        }
        for member in &members {
            member.shutdown().await;
        }
    });
}
