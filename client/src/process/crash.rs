//! A process that dies on purpose right after a write, as under `kill -9`: what tests of control loops need, since a loop
//! must go on from whatever its writes so far have made.

use std::sync::atomic::{AtomicU32, Ordering};

use kubelab_proto::objects::Target;

/// Writes that the process still makes; 0 for any number.
static LEFT: AtomicU32 = AtomicU32::new(0);

/// From now on, the process makes so many writes and dies.
pub(super) fn after(writes: u32) {
    LEFT.store(writes, Ordering::SeqCst);
}

/// A write that is under way.
#[derive(Clone, Copy)]
pub(crate) struct Write {
    counts: bool,
}

impl Write {
    /// A write to this target. The process's own bookkeeping does not count: it goes on while nothing happens. Nor do
    /// questions in the form of a write, which leave nothing behind: whoever died of them would never get any further.
    pub(crate) fn to(target: &Target) -> Self {
        let is_bookkeeping = matches!(target.resource.as_str(), "leases" | "events");
        let is_question = target.resource.ends_with("reviews") || target.subresource == "token";
        Self { counts: !is_bookkeeping && !is_question }
    }

    /// It was done.
    pub(crate) fn done(self) {
        let count = |left: u32| left.checked_sub(1);
        if self.counts && LEFT.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count) == Ok(1) {
            // No destructor runs, no buffer is flushed.
            let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        }
    }
}
