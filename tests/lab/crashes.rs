//! The controller-manager is killed right after each of its writes, again and again. Every loop goes on from whatever was
//! written so far: all comes out exactly as wanted, and nothing is made twice.
//!
//! | module | the loops of |
//! | --- | --- |
//! | [`workloads`] | what runs pods, and what counts and finds them |
//! | [`storage`] | claims, volumes, attachments |
//! | [`cluster`] | namespaces, nodes, accounts, certificates, custom resources |

mod cluster;
mod storage;
mod workloads;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Debug,
    fs,
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{PersistentVolume, Pod};
use kube::{
    Api, Resource,
    api::{ListParams, WatchEvent, WatchParams},
};
use kubelab_controller_manager::loops::LOOPS;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::harness::{Kubectl, Lab};

const MANAGER: &str = "controller-manager-1";

/// All that the loops write is recorded, and who of them wrote it.
const AUDIT: &str = "\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, users: ['system:kube-controller-manager'], verbs: [create, update, patch, delete]}
- {level: None}
";

/// Signed requests are cleared away after an hour at the earliest.
const TOO_SLOW: &str = "certificatesigningrequest-cleaner-controller";

#[test]
fn every_loop_is_killed_in_some_scenario() {
    let mut killed: Vec<&str> = [workloads::LOOPS, storage::LOOPS, cluster::LOOPS, &[TOO_SLOW]].concat();
    let mut all: Vec<&str> = LOOPS.iter().map(|row| row.name).collect();
    killed.sort_unstable();
    all.sort_unstable();
    assert_eq!(killed, all);
}

/// How many objects were ever made, by what they are for.
type Counts = BTreeMap<String, usize>;

/// Runs a scenario while the controller-manager dies after each of its writes and is started again at once. All of `loops`
/// must have died of it. Gives how many pods were ever made, by their label `app`, and how many volumes, by their claim.
fn survive(flags: &[&str], loops: &[&str], scenario: impl FnOnce(&Lab, &Kubectl)) -> Counts {
    let folder = tempfile::tempdir().unwrap();
    let policy = folder.path().join("policy.yaml");
    fs::write(&policy, AUDIT).unwrap();
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "2", "--audit-policy", policy.to_str().unwrap()]);
    lab.kubelab(&["down"]);
    // What a new cluster needs is written; from here on each life of the process is one write long.
    let mortal = ["--extra-config", "controller-manager.crash-after-writes=1"];
    lab.up(&[&mortal, flags].concat());
    let log = lab.data_dir().join("logs/apiserver-1-audit.log");
    let begun = writers(&log).len();

    let (kubectl, made) = (lab.kubectl(), Made::default());
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = runtime.block_on(lab.client());
    runtime.block_on(follow(Api::default_namespaced(client.clone()), app_of, &made));
    runtime.block_on(follow(Api::all(client), claim_of, &made));

    let stop = AtomicBool::new(false);
    let deaths = std::thread::scope(|scope| {
        let keeper = scope.spawn(|| keep_starting(&lab, &stop));
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| scenario(&lab, &kubectl)));
        stop.store(true, Ordering::Relaxed);
        let deaths = keeper.join().unwrap();
        outcome.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        deaths
    });
    let wrote: BTreeSet<String> = writers(&log).split_off(begun).into_iter().collect();
    println!("the controller-manager died {deaths} times, of writes by {wrote:?}");
    assert!(deaths >= loops.len(), "it died only {deaths} times");
    let spared: Vec<_> = loops.iter().filter(|name| !wrote.contains(**name)).collect();
    assert!(spared.is_empty(), "these wrote nothing: {spared:?}");
    let made = made.lock().unwrap();
    made.iter().map(|(purpose, uids)| (purpose.clone(), uids.len())).collect()
}

/// Starts the controller-manager again whenever it has died, at once; how often it had to.
fn keep_starting(lab: &Lab, stop: &AtomicBool) -> usize {
    let mut deaths = 0;
    while !stop.load(Ordering::Relaxed) {
        let status = lab.status();
        let manager = status["components"].as_array().unwrap().iter().find(|c| c["name"] == MANAGER).unwrap().clone();
        match manager["pid"].as_i64() {
            Some(pid) => {
                let process = format!("/proc/{pid}");
                while Path::new(&process).exists() && !stop.load(Ordering::Relaxed) {
                    std::thread::sleep(Duration::from_millis(10));
                }
            }
            None => {
                deaths += 1;
                lab.kubelab(&["restart", MANAGER]);
            }
        }
    }
    deaths
}

/// The loops that wrote something that they die of, in the order of their writes.
fn writers(log: &Path) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let deadly = lines.filter(|line| !matches!(line["objectRef"]["resource"].as_str(), Some("leases" | "events")));
    // The program, before what it speaks with.
    let agent = |line: Value| Some(line["userAgent"].as_str()?.split(' ').next()?.to_owned());
    deadly.filter_map(agent).collect()
}

/// The uids of the objects that were ever made, by what they are for.
type Made = Arc<Mutex<BTreeMap<String, Vec<String>>>>;

fn app_of(pod: &Pod) -> String {
    pod.metadata.labels.as_ref().and_then(|labels| labels.get("app")).cloned().unwrap_or_default()
}

fn claim_of(volume: &PersistentVolume) -> String {
    let claim = volume.spec.as_ref().and_then(|spec| spec.claim_ref.as_ref()?.name.clone());
    format!("volume of {}", claim.unwrap_or_default())
}

/// Follows objects from now on.
async fn follow<K>(objects: Api<K>, purpose: fn(&K) -> String, made: &Made)
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
{
    let mut revision = objects.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
    let made = Arc::clone(made);
    tokio::spawn(async move {
        loop {
            let Ok(stream) = objects.watch(&WatchParams::default(), &revision).await else {
                tokio::time::sleep(Duration::from_millis(10)).await;
                continue;
            };
            let mut stream = std::pin::pin!(stream);
            while let Ok(Some(event)) = stream.try_next().await {
                let (WatchEvent::Added(object) | WatchEvent::Modified(object) | WatchEvent::Deleted(object)) = &event
                else {
                    continue;
                };
                revision = object.meta().resource_version.clone().unwrap();
                if let WatchEvent::Added(object) = event {
                    let uid = object.meta().uid.clone().unwrap();
                    made.lock().unwrap().entry(purpose(&object)).or_default().push(uid);
                }
            }
        }
    });
}

/// What is to be made, in the form of what was made.
fn counts<const N: usize>(wanted: [(&str, usize); N]) -> Counts {
    wanted.map(|(purpose, count)| (purpose.to_owned(), count)).into()
}
