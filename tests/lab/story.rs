//! What happens to pods, in order, as a watcher sees it.

use std::collections::BTreeMap;

use futures::StreamExt;
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Client,
    runtime::watcher::{self, Event, watcher},
};
use tokio::sync::mpsc;

use crate::harness::PATIENCE;

/// The story of the pods with a label. `+web-0`: it was made; `ready web-0`; `ends web-0`: it was told to end; `-web-0`: it
/// is gone.
pub struct Story {
    lines: mpsc::UnboundedReceiver<String>,
    task: tokio::task::JoinHandle<()>,
    told: Vec<String>,
    /// All that was told.
    past: Vec<String>,
}

impl Story {
    /// Begins to watch; what is there already is not told.
    pub async fn begin(client: &Client, labels: &str) -> Self {
        let (sender, lines) = mpsc::unbounded_channel();
        let (begun, begins) = tokio::sync::oneshot::channel();
        let pods: Api<Pod> = Api::default_namespaced(client.clone());
        let task = tokio::spawn(follow(pods, labels.to_owned(), sender, begun));
        begins.await.unwrap();
        Self { lines, task, told: Vec::new(), past: Vec::new() }
    }

    /// What happens until this happens, from where the last call ended.
    pub async fn until(&mut self, last: &str) -> Vec<String> {
        self.until_all(&[last]).await
    }

    /// What happens until this has happened to so many pods, of whatever names: `+`, `ready `, `ends `, `-`.
    pub async fn until_count(&mut self, what: &str, count: usize) -> Vec<String> {
        let mut told = Vec::new();
        while told.iter().filter(|line: &&String| line.starts_with(what)).count() < count {
            told.push(self.next_or(&told).await);
        }
        told
    }

    /// Waits until a pod is gone, if its end was not told yet.
    pub async fn until_gone(&mut self, pod: &str) {
        let line = format!("-{pod}");
        if !self.past.contains(&line) {
            self.until(&line).await;
        }
    }

    async fn next_or(&mut self, told: &[String]) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.recv()).await;
        let line = line.unwrap_or_else(|_| panic!("nothing more happens after {told:?}"));
        let line = line.expect("the watcher goes on");
        self.past.push(line.clone());
        line
    }

    /// The next thing that happens.
    pub async fn next(&mut self) -> String {
        self.next_or(&[]).await
    }

    /// What happens until all of these have happened, in any order.
    pub async fn until_all(&mut self, all: &[&str]) -> Vec<String> {
        self.told.clear();
        let tell = async {
            while !all.iter().all(|wanted| self.told.iter().any(|line| line == wanted)) {
                let line = self.lines.recv().await.expect("the watcher goes on");
                self.past.push(line.clone());
                self.told.push(line);
            }
        };
        let ended = tokio::time::timeout(PATIENCE, tell).await;
        assert!(ended.is_ok(), "waited too long for {all:?}; seen: {:?}", self.told);
        self.told.clone()
    }
}

impl Drop for Story {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[derive(Clone, Default, PartialEq)]
struct State {
    uid: Option<String>,
    ready: bool,
    ends: bool,
}

async fn follow(
    pods: Api<Pod>,
    labels: String,
    sender: mpsc::UnboundedSender<String>,
    begun: tokio::sync::oneshot::Sender<()>,
) {
    let (mut states, mut begun) = (BTreeMap::<String, State>::new(), Some(begun));
    let mut events = std::pin::pin!(watcher(pods, watcher::Config::default().labels(&labels)));
    while let Some(event) = events.next().await {
        let mut lines = Vec::new();
        match event {
            Ok(Event::InitApply(pod) | Event::Apply(pod)) => see(&mut states, &pod, &mut lines),
            Ok(Event::Delete(pod)) => {
                let name = pod.metadata.name.unwrap();
                states.remove(&name);
                lines.push(format!("-{name}"));
            }
            Ok(Event::InitDone) => {
                if let Some(begun) = begun.take() {
                    let _ = begun.send(());
                }
            }
            Ok(Event::Init) | Err(_) => {}
        }
        if begun.is_none() && lines.into_iter().any(|line| sender.send(line).is_err()) {
            return;
        }
    }
}

fn see(states: &mut BTreeMap<String, State>, pod: &Pod, lines: &mut Vec<String>) {
    let name = pod.metadata.name.clone().unwrap();
    let is_ready =
        |condition: &k8s_openapi::api::core::v1::PodCondition| condition.type_ == "Ready" && condition.status == "True";
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let now = State {
        uid: pod.metadata.uid.clone(),
        ready: conditions.into_iter().any(is_ready),
        ends: pod.metadata.deletion_timestamp.is_some(),
    };
    let before = states.get(&name).filter(|before| before.uid == now.uid).cloned();
    if before.is_none() {
        lines.push(format!("+{name}"));
    }
    let before = before.unwrap_or_default();
    if now.ends && !before.ends {
        lines.push(format!("ends {name}"));
    }
    if now.ready && !before.ready {
        lines.push(format!("ready {name}"));
    }
    states.insert(name, now);
}
