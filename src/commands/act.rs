//! The commands that change a running lab: `kill`, `pause`, `resume`, `restart`, `add node`, `remove node`.

use clap::{Args, Subcommand};

use super::say;
use crate::{
    Which,
    supervisor::control::{Command, act},
};

/// A component to do something to.
#[derive(Args)]
pub struct OnComponent {
    /// The component, as `kubelab status` names it: apiserver-1, scheduler-1, kubelet-2, …
    component: String,
    #[command(flatten)]
    which: Which,
}

impl OnComponent {
    pub async fn run(self, command: impl FnOnce(String) -> Command) -> anyhow::Result<()> {
        send(&self.which, &command(self.component)).await
    }
}

/// What can be added.
#[derive(Subcommand)]
pub enum Add {
    /// One more node: a kubelet and a kube-proxy
    Node {
        #[command(flatten)]
        which: Which,
    },
}

impl Add {
    pub async fn run(self) -> anyhow::Result<()> {
        let Add::Node { which } = self;
        send(&which, &Command::AddNode).await
    }
}

/// What can be taken away.
#[derive(Subcommand)]
pub enum Remove {
    /// A node: its kubelet, its kube-proxy and its Node object
    Node {
        /// The node, as `kubectl get nodes` names it
        node: String,
        #[command(flatten)]
        which: Which,
    },
}

impl Remove {
    pub async fn run(self) -> anyhow::Result<()> {
        let Remove::Node { node, which } = self;
        send(&which, &Command::RemoveNode(node)).await
    }
}

async fn send(which: &Which, command: &Command) -> anyhow::Result<()> {
    let layout = which.layout()?;
    layout.require()?;
    Ok(say(act(&layout, command).await?)?)
}
