//! The simulator.

/// A defect put in on purpose, to prove that the checker finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mutant {
    /// Messages that speak of the log go before it is synced.
    SkipFsync,
    /// A read round uses the context of the one before.
    ReuseContext,
    /// Repeated requests apply again.
    ApplyTwice,
}
