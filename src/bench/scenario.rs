//! What is measured. All of it happens in one namespace, which is removed afterwards.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Bytes;
use serde_json::{Value, json};
use tokio::{task::JoinSet, time};

use super::{
    Figure,
    load::{self, Measured},
    target::{Connection, Target},
};

/// The scenarios by name, in the order in which they run.
pub const SCENARIOS: [&str; 6] = ["create", "get", "update", "list", "watch", "deployment"];

const NAMESPACE: &str = "kubelab-bench";
const MAPS: &str = "/api/v1/namespaces/kubelab-bench/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/kubelab-bench/deployments";
/// How many objects a list shows.
const LISTED: usize = 1000;
/// What waits for nothing to happen gives up after this.
const PATIENCE: Duration = Duration::from_secs(600);

/// Where and how much.
pub struct Plan {
    /// The endpoint.
    pub target: Target,
    /// How many connections work at once.
    pub concurrency: usize,
    /// How long a load runs.
    pub duration: Duration,
    /// How many watchers.
    pub watchers: usize,
    /// How many objects they see created.
    pub events: usize,
    /// How many pods.
    pub replicas: usize,
}

/// A ConfigMap of about 1 KiB.
fn config_map(name: &str, text: &str) -> Bytes {
    let map = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "data": {"text": text, "filler": "x".repeat(850)},
    });
    map.to_string().into()
}

impl Plan {
    /// Makes the namespace.
    pub async fn prepare(&self) -> anyhow::Result<()> {
        self.tidy().await?;
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}});
        self.target.connect().await?.call(Method::POST, "/api/v1/namespaces", namespace.to_string()).await?;
        Ok(())
    }

    /// Removes the namespace and waits until it is gone.
    pub async fn tidy(&self) -> anyhow::Result<()> {
        let path = format!("/api/v1/namespaces/{NAMESPACE}");
        let mut connection = self.target.connect().await?;
        // It need not be there.
        let _ = connection.call(Method::DELETE, &path, Bytes::new()).await;
        let begun = Instant::now();
        while connection.call(Method::GET, &path, Bytes::new()).await.is_ok() {
            if begun.elapsed() > PATIENCE {
                bail!("the namespace {NAMESPACE} does not go away; `kubectl describe namespace {NAMESPACE}` says why");
            }
            time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Measures one scenario.
    pub async fn run(&self, scenario: &str) -> anyhow::Result<Figure> {
        match scenario {
            "create" => self.create().await,
            "get" => self.get().await,
            "update" => self.update().await,
            "list" => self.list().await,
            "watch" => self.watch().await,
            _ => self.deployment().await,
        }
    }

    async fn create(&self) -> anyhow::Result<Figure> {
        load::run("create", &self.target, self.concurrency, self.duration, async |connection, worker, i| {
            let body = config_map(&format!("create-{worker}-{i}"), "a");
            connection.call(Method::POST, MAPS, body).await.map(drop)
        })
        .await
    }

    async fn get(&self) -> anyhow::Result<Figure> {
        self.own_maps("get").await?;
        load::run("get", &self.target, self.concurrency, self.duration, async |connection, worker, _| {
            connection.call(Method::GET, &format!("{MAPS}/get-{worker}"), Bytes::new()).await.map(drop)
        })
        .await
    }

    async fn update(&self) -> anyhow::Result<Figure> {
        self.own_maps("update").await?;
        load::run("update", &self.target, self.concurrency, self.duration, async |connection, worker, i| {
            let name = format!("update-{worker}");
            let body = config_map(&name, &i.to_string());
            connection.call(Method::PUT, &format!("{MAPS}/{name}"), body).await.map(drop)
        })
        .await
    }

    async fn list(&self) -> anyhow::Result<Figure> {
        let mut connection = self.target.connect().await?;
        for i in 0..LISTED {
            let map = json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": format!("list-{i}"), "namespace": NAMESPACE},
                "stringData": {"filler": "x".repeat(600)},
            });
            let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
            connection.call(Method::POST, &path, map.to_string()).await?;
        }
        load::run("list", &self.target, self.concurrency.min(16), self.duration, async |connection, _, _| {
            let path = format!("/api/v1/namespaces/{NAMESPACE}/secrets");
            connection.call(Method::GET, &path, Bytes::new()).await.map(drop)
        })
        .await
    }

    /// One object for each worker.
    async fn own_maps(&self, prefix: &str) -> anyhow::Result<()> {
        let mut connection = self.target.connect().await?;
        for worker in 0..self.concurrency {
            let body = config_map(&format!("{prefix}-{worker}"), "a");
            connection.call(Method::POST, MAPS, body).await?;
        }
        Ok(())
    }

    /// Every watcher sees every creation; an event's delay is from the moment its request was sent.
    async fn watch(&self) -> anyhow::Result<Figure> {
        let begun = Instant::now();
        let mut watchers = JoinSet::new();
        let ready = Arc::new(AtomicUsize::new(0));
        for _ in 0..self.watchers {
            let (connection, ready) = (self.target.connect().await?, ready.clone());
            watchers.spawn(follow(connection, self.events, begun, ready));
        }
        while ready.load(Ordering::Relaxed) < self.watchers {
            time::sleep(Duration::from_millis(5)).await;
        }
        let from = Instant::now();
        let next = Arc::new(AtomicUsize::new(0));
        let mut writers = JoinSet::new();
        for _ in 0..self.concurrency.min(16) {
            let (mut connection, next, events) = (self.target.connect().await?, next.clone(), self.events);
            writers.spawn(async move {
                loop {
                    let i = next.fetch_add(1, Ordering::Relaxed);
                    if i >= events {
                        return anyhow::Ok(());
                    }
                    let stamp = format!("@{:016}@", begun.elapsed().as_nanos());
                    connection.call(Method::POST, MAPS, config_map(&format!("watch-{i}"), &stamp)).await?;
                }
            });
        }
        while let Some(written) = writers.join_next().await {
            written??;
        }
        let mut all = Measured::default();
        while let Some(seen) = watchers.join_next().await {
            all.join(seen?);
        }
        Ok(all.figure("watch", from.elapsed()))
    }

    /// A Deployment from 0 until `replicas` pods are Ready; the delays are the whole time.
    async fn deployment(&self) -> anyhow::Result<Figure> {
        let body = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "scaled"},
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"app": "scaled"}},
                "template": {
                    "metadata": {"labels": {"app": "scaled"}},
                    "spec": {"containers": [{"name": "c", "image": "nginx"}]},
                },
            },
        });
        let mut connection = self.target.connect().await?;
        connection.call(Method::POST, DEPLOYMENTS, body.to_string()).await?;
        let path = format!("{DEPLOYMENTS}/scaled");
        let begun = Instant::now();
        let scale = json!({"spec": {"replicas": self.replicas}});
        connection.call(Method::PATCH, &path, scale.to_string()).await?;
        loop {
            let answer: Value = serde_json::from_slice(&connection.call(Method::GET, &path, Bytes::new()).await?)?;
            let ready = answer["status"]["readyReplicas"].as_u64().unwrap_or_default();
            if ready >= self.replicas as u64 {
                break;
            }
            if begun.elapsed() > PATIENCE {
                bail!("{ready} of {} pods are Ready after {} s", self.replicas, PATIENCE.as_secs());
            }
            time::sleep(Duration::from_millis(20)).await;
        }
        let whole = begun.elapsed();
        Ok(Measured { latencies: vec![whole; self.replicas], ..Measured::default() }.figure("deployment", whole))
    }
}

/// Reads a watch until `events` objects of the watch scenario were seen, and how long each was on its way.
async fn follow(mut connection: Connection, events: usize, begun: Instant, ready: Arc<AtomicUsize>) -> Measured {
    let mut measured = Measured::default();
    let outcome = async {
        let list: Value =
            serde_json::from_slice(&connection.call(Method::GET, &format!("{MAPS}?limit=1"), Bytes::new()).await?)?;
        let revision = list["metadata"]["resourceVersion"].as_str().context("a list has a resourceVersion")?;
        let path = format!("{MAPS}?watch=true&resourceVersion={revision}");
        let mut body = connection.open(Method::GET, &path, Bytes::new()).await?.into_body();
        ready.fetch_add(1, Ordering::Relaxed);
        let mut rest = Vec::new();
        while measured.latencies.len() < events {
            let frame = body.frame().await.context("the watch ended early")??;
            let Ok(data) = frame.into_data() else { continue };
            let now = begun.elapsed();
            rest.extend_from_slice(&data);
            let Some(end) = rest.iter().rposition(|byte| *byte == b'\n') else { continue };
            for line in rest[..end].split(|byte| *byte == b'\n') {
                if let Some(sent) = stamp(line) {
                    measured.latencies.push(now.saturating_sub(sent));
                }
            }
            rest.drain(..=end);
        }
        anyhow::Ok(())
    };
    if let Err(error) = outcome.await {
        measured.failed += 1;
        measured.error = Some(format!("{error:#}"));
    }
    measured
}

/// The `@nanoseconds@` in an event.
fn stamp(line: &[u8]) -> Option<Duration> {
    let begin = line.iter().position(|byte| *byte == b'@')? + 1;
    let text = std::str::from_utf8(line.get(begin..begin + 16)?).ok()?;
    Some(Duration::from_nanos(text.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_carries_its_time() {
        assert_eq!(stamp(br#"{"data":{"text":"@0000000000001500@"}}"#), Some(Duration::from_nanos(1500)));
        assert_eq!(stamp(br#"{"data":{}}"#), None);
    }
}
