//! How the lab's processes are, as `kubelab status` and the live view show them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::lab::plan::Kind;

/// A process's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It runs and does not serve yet.
    Starting,
    /// It serves.
    Ready,
    /// It was told to stand still.
    Paused,
    /// It was killed on purpose and stays dead.
    Killed,
    /// It died and will be started again.
    Crashed,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            State::Starting => "Starting",
            State::Ready => "Ready",
            State::Paused => "Paused",
            State::Killed => "Killed",
            State::Crashed => "Crashed",
        })
    }
}

/// One process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ComponentStatus {
    /// `apiserver-1`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its process, while it has one.
    pub pid: Option<u32>,
    /// Its state.
    pub state: State,
    /// `raft leader, term 3`, `elected leader`, `node-1 Ready`; may be empty.
    pub role: String,
    /// How often it was started again after dying by itself.
    pub restarts: u32,
}

/// The whole lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The lab's name.
    pub name: String,
    /// The front door's address.
    pub server: String,
    /// Every process.
    pub components: Vec<ComponentStatus>,
    /// Nodes that are Ready, and all.
    pub nodes: (usize, usize),
}

impl Status {
    /// Everything serves, every group has its leader and every node is Ready.
    pub fn ready(&self) -> bool {
        let led = |kind: Kind| {
            self.components.iter().any(|component| component.kind == kind && component.role.contains("leader"))
        };
        self.components.iter().all(|component| component.state == State::Ready)
            && self.nodes.0 == self.nodes.1
            && [Kind::Apiserver, Kind::Scheduler, Kind::ControllerManager].into_iter().all(led)
    }

    /// What the lab still waits for, in a few words.
    pub fn waiting_for(&self) -> String {
        let waiting: Vec<_> = self
            .components
            .iter()
            .filter(|component| component.state != State::Ready)
            .map(|component| component.name.as_str())
            .collect();
        match waiting.as_slice() {
            [] if self.nodes.0 < self.nodes.1 => format!("nodes Ready: {} of {}", self.nodes.0, self.nodes.1),
            [] => "leader elections".into(),
            names => names.join(", "),
        }
    }
}
