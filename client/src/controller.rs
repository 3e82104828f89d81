//! A control loop: changes in caches become keys, a worker reconciles each.

use std::{fmt, sync::Arc, time::Duration};

use kubelab_api::error::Reason;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::{Error, partial::Mirrored, queue::Queue};

/// What a reconcile asks for afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Nothing until the next change.
    Done,
    /// Another look after a while.
    After(Duration),
}

/// A namespace (empty for cluster-scoped objects) and a name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The namespace.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() { f.write_str(&self.name) } else { write!(f, "{}/{}", self.namespace, self.name) }
    }
}

impl Key {
    /// An object's key.
    pub fn of<K: Mirrored>(object: &K) -> Self {
        let meta = object.meta();
        Self { namespace: meta.namespace.clone().unwrap_or_default(), name: meta.name.clone().unwrap_or_default() }
    }
}

/// Runs reconciles. Usage: make the caches, make the queue (`Queue<Key>`), let each cache's `on_change` add keys, then
/// `Controller::new("deployment", queue).run_on(5, this, |this, key| async move { this.reconcile(key).await })`.
pub struct Controller {
    name: &'static str,
    queue: Queue<Key>,
}

impl Controller {
    /// A loop over this queue; `name` shows in logs and metrics.
    pub fn new(name: &'static str, queue: Queue<Key>) -> Self {
        Self { name, queue }
    }

    /// Works until dropped: `workers` keys at a time. A failed key comes back after its back-off and is logged (conflicts
    /// at debug level: they are ordinary).
    pub async fn run<F, Fut>(self, workers: usize, reconcile: F)
    where
        F: Fn(Key) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Action, Error>> + Send + 'static,
    {
        let reconcile = Arc::new(reconcile);
        let mut tasks = JoinSet::new();
        for _ in 0..workers {
            tasks.spawn(work(self.name, self.queue.clone(), reconcile.clone()));
        }
        while tasks.join_next().await.is_some() {}
    }

    /// The same for a loop whose workers share something, its own state mostly.
    pub async fn run_on<T, F, Fut>(self, workers: usize, shared: Arc<T>, reconcile: F)
    where
        T: Send + Sync + 'static,
        F: Fn(Arc<T>, Key) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Action, Error>> + Send + 'static,
    {
        self.run(workers, move |key| reconcile(Arc::clone(&shared), key)).await;
    }
}

async fn work<F, Fut>(name: &'static str, queue: Queue<Key>, reconcile: Arc<F>)
where
    F: Fn(Key) -> Fut,
    Fut: Future<Output = Result<Action, Error>>,
{
    loop {
        let (key, cause) = queue.next().await;
        let span = tracing::info_span!("reconcile", controller = name, %key, revision = cause.revision);
        let attempt = async {
            match reconcile(key.clone()).await {
                Ok(Action::Done) => queue.forget(&key),
                Ok(Action::After(delay)) => {
                    queue.forget(&key);
                    queue.add_after(key.clone(), delay);
                }
                Err(error) => {
                    if error.reason == Reason::Conflict {
                        tracing::debug!(%error, "will try again");
                    } else {
                        tracing::warn!(%error, failures = queue.failures(&key) + 1, "will try again");
                    }
                    queue.add_failed(key.clone());
                }
            }
        };
        cause.scope(attempt.instrument(span)).await;
        queue.done(&key);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::sync::mpsc;

    use super::*;
    use crate::Cause;

    fn key(name: &str) -> Key {
        Key { namespace: "shop".into(), name: name.into() }
    }

    #[tokio::test(start_paused = true)]
    async fn reconciles_under_the_cause_and_again_after_failure_or_on_request() {
        let queue = Queue::new("test");
        Cause { revision: 9, trace_id: "t".into() }.sync_scope(|| queue.add(key("web")));
        let (seen, mut seeing) = mpsc::channel(8);
        let outcomes =
            Mutex::new(vec![Ok(Action::Done), Ok(Action::After(Duration::from_secs(60))), Err(Error::internal("no"))]);
        let start = crate::clock::instant();
        let run = Controller::new("test", queue).run(2, move |key| {
            let outcome = outcomes.lock().unwrap().pop().unwrap();
            let seen = seen.clone();
            async move {
                seen.send((key.to_string(), Cause::current().revision, start.elapsed())).await.unwrap();
                outcome
            }
        });
        let run = tokio::spawn(run);
        for expected in [Duration::ZERO, Duration::from_millis(5), Duration::from_millis(60_005)] {
            let (key, revision, elapsed) = seeing.recv().await.unwrap();
            assert_eq!((key.as_str(), revision), ("shop/web", 9));
            assert_eq!(elapsed, expected);
        }
        run.abort();
        let _ = run.await;
        assert!(seeing.recv().await.is_none(), "dropping the loop ends its workers");
    }
}
