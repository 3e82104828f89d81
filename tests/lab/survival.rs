//! Under a steady load of writes, processes are killed. Nothing that was acknowledged is lost, watches resume without a
//! gap or a duplicate, and the desired state is reached again. The numbers are printed: `--nocapture` shows them.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{
    Api, Client,
    api::{ListParams, PostParams, WatchEvent, WatchParams},
};
use serde_json::json;

use crate::harness::{Lab, PATIENCE, Seen, wait_for};

const WRITERS: usize = 4;

/// What was acknowledged: name → when. And the longest time without an acknowledgement since the last reset.
#[derive(Default)]
struct Acknowledged {
    names: BTreeMap<String, u64>,
    last: Option<Instant>,
    gap: Duration,
}

impl Acknowledged {
    fn note(&mut self, name: String, revision: u64) {
        let now = Instant::now();
        self.gap = self.last.map_or(self.gap, |last| self.gap.max(now - last));
        self.last = Some(now);
        self.names.insert(name, revision);
    }
}

/// Writes ConfigMaps until told to stop; a write whose fate is unknown is tried again under the same name.
async fn write(client: Client, writer: usize, acknowledged: Arc<Mutex<Acknowledged>>, stop: Arc<AtomicBool>) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    for i in 0.. {
        let name = format!("load-{writer}-{i}");
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": name, "labels": {"load": "yes"}}})).unwrap();
        loop {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let attempt = tokio::time::timeout(Duration::from_secs(5), maps.create(&PostParams::default(), &map)).await;
            let revision = match attempt {
                Ok(Ok(made)) => made.metadata.resource_version.unwrap().parse().unwrap(),
                // An earlier attempt was applied although its answer was lost.
                Ok(Err(kube::Error::Api(status))) if status.reason == "AlreadyExists" => 0,
                _ => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                    continue;
                }
            };
            acknowledged.lock().unwrap().note(name, revision);
            break;
        }
    }
}

/// Watches the load from `after` on, resuming wherever a stream breaks, and gives each ADDED event in order.
async fn watch(client: Client, after: String, seen: Arc<Mutex<Vec<(u64, String)>>>) {
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let mut revision = after;
    loop {
        let Ok(stream) = maps.watch(&WatchParams::default().labels("load=yes"), &revision).await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        let mut stream = std::pin::pin!(stream);
        while let Ok(Some(event)) = stream.try_next().await {
            match event {
                WatchEvent::Added(map) => {
                    revision = map.metadata.resource_version.unwrap();
                    seen.lock().unwrap().push((revision.parse().unwrap(), map.metadata.name.unwrap()));
                }
                WatchEvent::Bookmark(bookmark) => revision = bookmark.metadata.resource_version,
                WatchEvent::Error(status) => panic!("the watch could not resume after {revision}: {status:?}"),
                other => panic!("nothing but creations was written: {other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_when_processes_die() {
    let lab = Lab::with(&["--schedulers", "2", "--controller-managers", "2"]);
    let kubectl = lab.kubectl();
    kubectl.run("create deployment web --image=nginx --replicas=6");
    kubectl.run("rollout status deployment/web --timeout=120s");
    let before = kubectl.run("get pods -l app=web -o jsonpath={.items[*].metadata.uid}");

    let client = lab.client().await;
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let begin = maps.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let acknowledged = Arc::new(Mutex::new(Acknowledged::default()));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        writers.push(tokio::spawn(write(lab.client().await, writer, acknowledged.clone(), stop.clone())));
    }
    let watcher = tokio::spawn(watch(client.clone(), begin, seen.clone()));

    let lab = &lab;
    let strike = |what: &'static str, victims: Vec<String>| {
        let acknowledged = acknowledged.clone();
        tokio::task::block_in_place(move || {
            flow(&acknowledged, 100);
            acknowledged.lock().unwrap().gap = Duration::ZERO;
            victims.iter().for_each(|victim| lab.kill(victim));
            flow(&acknowledged, 100);
            let gap = acknowledged.lock().unwrap().gap;
            println!("kill -9 of {what} ({}): longest time without an acknowledged write {gap:?}", victims.join(", "));
            wait_for("all to be Ready again", || {
                let status = lab.status();
                let all = status["components"].as_array().unwrap();
                let missing: Vec<_> = all.iter().filter(|c| c["state"] != "ready").map(|c| c["name"].clone()).collect();
                if missing.is_empty() { Ok(()) } else { Err(Seen(format!("{missing:?}"))) }
            });
        });
    };
    let leader = |prefix: &str| tokio::task::block_in_place(|| lab.leader(prefix));
    strike("the leading apiserver", vec![leader("apiserver-")]);
    strike(
        "a following apiserver",
        vec![if leader("apiserver-") == "apiserver-1" { "apiserver-2".into() } else { "apiserver-1".into() }],
    );
    strike("all apiservers", (1..=3).map(|i| format!("apiserver-{i}")).collect());
    strike("the scheduler", vec![leader("scheduler-")]);
    strike("the controller-manager", vec![leader("controller-manager-")]);
    strike("a kubelet", vec!["kubelet-2".into()]);

    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap()).names;
    println!("{} writes acknowledged", acknowledged.len());

    // Every acknowledged write is there, at the revision that was acknowledged.
    let stored: BTreeMap<String, u64> = maps
        .list(&ListParams::default().labels("load=yes"))
        .await
        .unwrap()
        .into_iter()
        .map(|map| (map.metadata.name.unwrap(), map.metadata.resource_version.unwrap().parse().unwrap()))
        .collect();
    for (name, revision) in &acknowledged {
        let found = stored.get(name).unwrap_or_else(|| panic!("{name} was acknowledged and is lost"));
        assert!(*revision == 0 || revision == found, "{name} was acknowledged at {revision} and stands at {found}");
    }
    // The watch saw each creation once, in order, without a gap.
    let begun = Instant::now();
    while seen.lock().unwrap().len() < stored.len() {
        assert!(begun.elapsed() < PATIENCE, "the watch saw {} of {}", seen.lock().unwrap().len(), stored.len());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    watcher.abort();
    let mut wanted: Vec<_> = stored.into_iter().map(|(name, revision)| (revision, name)).collect();
    wanted.sort();
    assert_eq!(*seen.lock().unwrap(), wanted);

    // The pods that ran go on running, and what is asked for now still happens.
    tokio::task::block_in_place(|| {
        kubectl.run("rollout status deployment/web --timeout=120s");
        assert_eq!(kubectl.run("get pods -l app=web -o jsonpath={.items[*].metadata.uid}"), before);
        kubectl.run("scale deployment/web --replicas=9");
        kubectl.run("rollout status deployment/web --timeout=120s");
        assert_eq!(kubectl.run("get pods -l app=web -o name").lines().count(), 9);
    });
}

/// Waits until `count` more writes are acknowledged.
fn flow(acknowledged: &Mutex<Acknowledged>, count: usize) {
    let goal = acknowledged.lock().unwrap().names.len() + count;
    wait_for("writes to flow", || {
        let now = acknowledged.lock().unwrap().names.len();
        if now >= goal { Ok(()) } else { Err(Seen(format!("{now} of {goal}"))) }
    });
}
