//! The revision that woke the running task. The cache sets it while handlers run, the queue keeps it with each key, the
//! controller sets it around `reconcile`, the client sends it with every write: no controller author thinks of it.

tokio::task_local! {
    static CURRENT: Cause;
}

/// Why something is being done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The revision whose event led here; 0 for none.
    pub revision: u64,
    /// The trace that goes on.
    pub trace_id: String,
}

impl Cause {
    /// The running task's cause; the default where there is none.
    pub fn current() -> Self {
        CURRENT.try_with(Clone::clone).unwrap_or_default()
    }

    /// Runs `future` because of this.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        CURRENT.scope(self, future).await
    }

    /// Runs `work` because of this.
    pub fn sync_scope<R>(self, work: impl FnOnce() -> R) -> R {
        CURRENT.sync_scope(self, work)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cause(revision: u64) -> Cause {
        Cause { revision, trace_id: format!("trace-{revision}") }
    }

    #[tokio::test]
    async fn scopes_nest_and_end() {
        assert_eq!(Cause::current(), Cause::default());
        cause(1)
            .scope(async {
                assert_eq!(Cause::current(), cause(1));
                cause(2).sync_scope(|| assert_eq!(Cause::current(), cause(2)));
                tokio::task::yield_now().await;
                assert_eq!(Cause::current(), cause(1));
            })
            .await;
        assert_eq!(Cause::current(), Cause::default());
    }

    #[tokio::test]
    async fn a_spawned_task_starts_without_a_cause() {
        let inner = cause(3).scope(async { tokio::spawn(async { Cause::current() }).await }).await;
        assert_eq!(inner.ok(), Some(Cause::default()));
    }
}
