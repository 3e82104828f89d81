//! The revision that woke the running task. The cache sets it while handlers run, the queue keeps it with each key, the
//! controller sets it around `reconcile`, the client sends it with every write: no controller author thinks of it.

/// Why something is being done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// The revision whose event led here; 0 for none.
    pub revision: u64,
    /// The trace that goes on.
    pub trace_id: String,
}

#[allow(unused_variables)]
impl Cause {
    /// The running task's cause; the default where there is none.
    pub fn current() -> Self {
        unimplemented!()
    }
    /// Runs `future` because of this.
    pub async fn scope<F: Future>(self, future: F) -> F::Output {
        unimplemented!()
    }
    /// Runs `work` because of this.
    pub fn sync_scope<R>(self, work: impl FnOnce() -> R) -> R {
        unimplemented!()
    }
}
