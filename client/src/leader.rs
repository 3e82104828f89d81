//! One active process among several. Source of the protocol and its timing: client-go's `leaderelection`.

use crate::{Client, Error};

/// How to take part.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Lease's name, in `kube-system`: `kube-scheduler`.
    pub lease: String,
    /// This process.
    pub identity: String,
}

/// Waits until this process leads, then runs `lead` and returns its output; returns an error as soon as leadership is
/// lost, `lead` having been dropped before another process can lead (a holder stops by its own renew deadline).
/// On an orderly end the Lease is released, so that a standby takes over at once.
/// Timing: lease 15 s, renew deadline 10 s, retry 2 s in upstream; kubelab's defaults are in this module, with reasons.
#[allow(unused_variables)]
pub async fn run<F: Future>(client: &Client, options: Options, lead: impl FnOnce() -> F) -> Result<F::Output, Error> {
    unimplemented!()
}
