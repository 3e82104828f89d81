//! Keeps as many replicas as metrics call for: HorizontalPodAutoscaler.
//!
//! Watches autoscalers and pods, reads the metrics APIs. Writes the scale of what is scaled, and the autoscalers' status.
//! Source: `pkg/controller/podautoscaler` in Kubernetes.
//!
//! | module | what it is |
//! | --- | --- |
//! | `metrics` | what the metrics APIs say |
//! | `pods` | which pods' measurements count |
//! | `requests` | what pods request |
//! | `replicas` | how many replicas measurements call for |
//! | `metric` | one metric from its source to its status |
//! | `normalize` | how fast it may go there |
//! | `conditions` | what its conditions say |
//! | `sync` | one autoscaler while it is looked at |

mod conditions;
mod metric;
mod metrics;
mod normalize;
mod pods;
mod replicas;
mod requests;
mod sync;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::{autoscaling::v2::HorizontalPodAutoscaler, core::v1::Pod};
use kubelab_api::selector::label::Selector;
use kubelab_client::{Cache, Client, Controller, Recorder, cache::Change, controller::Key, queue::Queue};

use self::{metrics::Metrics, normalize::History};
use crate::{Context, scalable::Kinds};

const NAME: &str = "horizontal-pod-autoscaler";
/// Source: `ConcurrentHorizontalPodAutoscalerSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;
/// Each autoscaler is looked at this often. Source: `HorizontalPodAutoscalerSyncPeriod` in the controller manager's defaults.
const PERIOD: Duration = Duration::from_secs(15);

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        recorder: context.recorder(NAME),
        autoscalers: context.caches.of(),
        pods: context.caches.of(),
        kinds: Kinds::of(context.caches.of()),
        metrics: Metrics::new(&context.client),
        memory: Arc::default(),
        queue: Queue::new("horizontalpodautoscaler"),
    });
    this.watch();
    tokio::join!(this.autoscalers.synced(), this.pods.synced(), this.kinds.synced());
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    recorder: Recorder,
    autoscalers: Cache<HorizontalPodAutoscaler>,
    pods: Cache<Pod>,
    kinds: Kinds,
    metrics: Metrics,
    memory: Arc<Mutex<HashMap<Key, Memory>>>,
    queue: Queue<Key>,
}

/// What is remembered of an autoscaler.
#[derive(Default)]
struct Memory {
    history: History,
    /// What selects the pods that it scales.
    selector: Option<Selector>,
}

fn lock(memory: &Mutex<HashMap<Key, Memory>>) -> MutexGuard<'_, HashMap<Key, Memory>> {
    memory.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Loop {
    fn watch(&self) {
        let (queue, memory) = (self.queue.clone(), Arc::clone(&self.memory));
        // Metrics change all the time, so nothing is gained by looking at once.
        self.autoscalers.on_change(move |change| {
            let key = Key::of(&**change.object());
            match change {
                Change::Added(_) => queue.add_after(key, PERIOD),
                Change::Modified { old, new } if old.spec != new.spec => queue.add_after(key, PERIOD),
                Change::Modified { .. } => {}
                Change::Deleted(_) => {
                    lock(&memory).remove(&key);
                }
            }
        });
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<Key, Memory>> {
        lock(&self.memory)
    }
}
