//! What a filter says about a node.

use super::Reason;

/// The pod can run there, or why not.
pub type Verdict = Result<(), Rejection>;

/// Why a pod cannot run on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The plugin that says so.
    pub plugin: &'static str,
    /// In upstream's words; they are counted over all nodes.
    pub reasons: Vec<Reason>,
    /// Removing pods from the node could help. Upstream: `Unschedulable` rather than `UnschedulableAndUnresolvable`.
    pub resolvable: bool,
}

impl Rejection {
    /// Removing pods from the node could help.
    pub fn unschedulable(plugin: &'static str, reason: impl Into<Reason>) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: true }
    }

    /// Removing pods from the node does not help.
    pub fn unresolvable(plugin: &'static str, reason: impl Into<Reason>) -> Self {
        Self { plugin, reasons: vec![reason.into()], resolvable: false }
    }

    /// The reasons as one sentence.
    pub fn message(&self) -> String {
        self.reasons.join(", ")
    }
}
