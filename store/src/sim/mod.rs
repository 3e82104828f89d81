//! The simulator: nodes and their state machines under virtual time, network and disk. What happens follows from the seed
//! alone; `KUBELAB_SEED=7 cargo test -p kubelab-store simulation` repeats one run.
//!
//! | module | what it is |
//! | --- | --- |
//! | `world` | the clock, and what happens when |
//! | `host`, `disk`, `network` | a member, what it writes to, what it talks over |
//! | `client`, `watcher`, `users` | who uses the group |
//! | `misfortune` | what goes wrong |
//! | `checker` | what must hold all the same |

mod checker;
mod client;
pub(crate) mod disk;
mod host;
mod misfortune;
mod network;
mod rng;
mod tests;
mod users;
mod watcher;
mod world;

/// A defect put in on purpose, to prove that the checker finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Messages that speak of the log go before it is synced.
    SkipFsync,
    /// A read round uses the context of the one before.
    ReuseContext,
    /// Repeated requests apply again.
    ApplyTwice,
    /// Now and then an event does not enter the watch history.
    DropEvent,
    /// A watch begins one revision late.
    WatchLate,
}
