//! How `kubelab` commands speak to a running lab: a line of JSON each way, over a Unix socket in the lab's folder.

use std::io;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{UnixListener, UnixStream},
    sync::{mpsc, oneshot},
};

use super::status::Status;
use crate::lab::Layout;

/// What can be asked of a running lab.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// How is everyone?
    Status,
    /// Kill this component at once and leave it dead.
    Kill(String),
    /// Stop this component's clock.
    Pause(String),
    /// Let a paused component go on.
    Resume(String),
    /// Stop this component if it runs, and start it.
    Restart(String),
    /// One more node.
    AddNode,
    /// One node less.
    RemoveNode(String),
    /// End the lab; its data stays.
    Down,
}

/// The answer: what was done, or why not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply {
    /// How everyone is.
    Status(Status),
    /// It was done; in words.
    Done(String),
    /// It was not done; why, and what to do.
    Refused(String),
}

/// A command and where its answer goes.
pub type Call = (Command, oneshot::Sender<Reply>);

/// The longest line that is read.
const LIMIT: u64 = 1 << 20;

/// Takes commands until dropped.
pub async fn serve(listener: UnixListener, calls: mpsc::Sender<Call>) {
    while let Ok((stream, _)) = listener.accept().await {
        let calls = calls.clone();
        tokio::spawn(async move {
            if let Err(error) = answer(stream, calls).await {
                tracing::debug!(%error, "a command's caller went away");
            }
        });
    }
}

async fn answer(mut stream: UnixStream, calls: mpsc::Sender<Call>) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(LIMIT)).read_line(&mut line).await?;
    let reply = match serde_json::from_str(&line) {
        Ok(command) => {
            let (sender, receiver) = oneshot::channel();
            let sent = calls.send((command, sender)).await.is_ok();
            let stopping = Reply::Refused("the lab is stopping".into());
            if sent { receiver.await.unwrap_or(stopping) } else { stopping }
        }
        Err(error) => Reply::Refused(format!("not a command of this version of kubelab: {error}")),
    };
    let mut line = serde_json::to_vec(&reply)?;
    line.push(b'\n');
    writer.write_all(&line).await
}

/// Asks a running lab. A lab that is not running is an error that says how to start it.
pub async fn call(layout: &Layout, command: &Command) -> anyhow::Result<Reply> {
    let not_running = || format!("the lab in {} is not running; start it with `kubelab up`", layout.root().display());
    let mut stream = UnixStream::connect(layout.control_socket()).await.with_context(not_running)?;
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut reply = String::new();
    BufReader::new(stream).read_line(&mut reply).await?;
    if reply.is_empty() {
        bail!("the lab stopped before it answered; `kubelab status` tells more");
    }
    serde_json::from_str(&reply).context("the lab was started by another version of kubelab; restart it")
}

/// Asks a running lab to do something and gives its words.
pub async fn act(layout: &Layout, command: &Command) -> anyhow::Result<String> {
    match call(layout, command).await? {
        Reply::Done(words) => Ok(words),
        Reply::Refused(why) => bail!(why),
        Reply::Status(_) => bail!("the lab answered another question; is it another version of kubelab?"),
    }
}
