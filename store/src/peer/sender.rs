//! The task that connects to one peer and keeps sending.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use bytes::Bytes;
use kubelab_proto::raft::{Frame, SnapshotChunk, raft_client::RaftClient};
use protobuf::Message as _;
use raft::eraftpb::Message;
use tokio::{
    sync::mpsc::{self, error::TrySendError},
    time::sleep,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};

use super::Tls;
use crate::{consensus::Input, driver::Inbox, snapshot::Frozen};

/// Parcels that wait for a connection.
const QUEUE: usize = 4096;
/// Messages that wait while there is no connection; raft sends the rest again.
const BACKLOG: usize = 64;
/// Frames on their way into the connection.
const FRAMES: usize = 4;
/// A frame takes no more messages once it has reached this size; with the largest message it stays below tonic's 4 MiB.
const FRAME: usize = 1 << 20;
const FIRST_RETRY: Duration = Duration::from_millis(10);
const LAST_RETRY: Duration = Duration::from_millis(500);
const CONNECT: Duration = Duration::from_secs(1);

/// What is sent.
pub(crate) enum Parcel {
    Message(Message),
    Snapshot { message: Message, frozen: Arc<Frozen> },
}

/// Between whom.
pub(crate) struct Route {
    pub(crate) from: u64,
    /// The sender's start; the connections count on from it.
    pub(crate) epoch: u64,
    pub(crate) to: u64,
    pub(crate) address: String,
    pub(crate) tls: Option<Tls>,
}

/// A handle on the task; it ends when the handle is dropped.
pub(crate) struct Sender(mpsc::Sender<Parcel>);

impl Sender {
    pub(crate) fn spawn(route: Route, inbox: Inbox, runtime: &tokio::runtime::Handle) -> Self {
        let (parcels, queue) = mpsc::channel(QUEUE);
        runtime.spawn(run(route, inbox, queue));
        Self(parcels)
    }

    /// Queues a parcel; `false` if there is no room, which counts as a loss.
    pub(crate) fn send(&self, parcel: Parcel) -> bool {
        !matches!(self.0.try_send(parcel), Err(TrySendError::Full(_)))
    }
}

async fn run(mut route: Route, inbox: Inbox, queue: mpsc::Receiver<Parcel>) {
    let mut outbound = Outbound { queue, backlog: VecDeque::new() };
    let mut retry = FIRST_RETRY;
    while !outbound.queue.is_closed() {
        match connect(&route).await {
            Ok(client) => {
                retry = FIRST_RETRY;
                inbox.report(Input::Connected);
                if let Err(error) = exchange(&route, client, &inbox, &mut outbound).await {
                    tracing::debug!(peer = route.to, %error, "lost the connection");
                }
                route.epoch = route.epoch.wrapping_add(1);
            }
            Err(error) => tracing::debug!(peer = route.to, address = %route.address, %error, "could not connect"),
        }
        inbox.report(Input::Unreachable { to: route.to });
        if outbound.set_aside() {
            inbox.report(Input::SnapshotSent { to: route.to, ok: false });
        }
        sleep(retry).await;
        retry = (retry * 2).min(LAST_RETRY);
    }
}

/// What is to be sent: first what has waited for the connection.
struct Outbound {
    queue: mpsc::Receiver<Parcel>,
    backlog: VecDeque<Parcel>,
}

impl Outbound {
    async fn next(&mut self) -> Option<Parcel> {
        match self.backlog.pop_front() {
            Some(parcel) => Some(parcel),
            None => self.queue.recv().await,
        }
    }

    fn try_next(&mut self) -> Option<Parcel> {
        self.backlog.pop_front().or_else(|| self.queue.try_recv().ok())
    }

    /// There is no connection: only the newest messages wait for one. Whether a snapshot was among the rest.
    fn set_aside(&mut self) -> bool {
        while let Ok(parcel) = self.queue.try_recv() {
            self.backlog.push_back(parcel);
        }
        let before = self.backlog.len();
        self.backlog.retain(|parcel| matches!(parcel, Parcel::Message(_)));
        let had_snapshot = self.backlog.len() < before;
        let old = self.backlog.len().saturating_sub(BACKLOG);
        self.backlog.drain(..old);
        had_snapshot
    }
}

async fn connect(route: &Route) -> Result<RaftClient<Channel>, tonic::transport::Error> {
    let scheme = if route.tls.is_some() { "https" } else { "http" };
    let mut endpoint = Endpoint::from_shared(format!("{scheme}://{}", route.address))?
        .connect_timeout(CONNECT)
        .http2_keep_alive_interval(Duration::from_secs(2))
        .keep_alive_timeout(Duration::from_secs(3))
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(4 << 20);
    if let Some(tls) = &route.tls {
        endpoint = endpoint.tls_config(tls.client())?;
    }
    Ok(RaftClient::new(endpoint.connect().await?))
}

/// Sends until the connection or the queue ends.
async fn exchange(
    route: &Route,
    mut client: RaftClient<Channel>,
    inbox: &Inbox,
    outbound: &mut Outbound,
) -> Result<(), tonic::Status> {
    let (frames, outgoing) = mpsc::channel(FRAMES);
    let mut connection = Connection { route, frames, sequence: 0, in_snapshot: false };
    let result = tokio::select! {
        reply = client.exchange(ReceiverStream::new(outgoing)) => reply.map(drop),
        () = connection.pump(inbox, outbound) => Ok(()),
    };
    if connection.in_snapshot {
        inbox.report(Input::SnapshotSent { to: route.to, ok: false });
    }
    result
}

struct Connection<'a> {
    route: &'a Route,
    frames: mpsc::Sender<Frame>,
    sequence: u64,
    /// The leader waits to hear how it went.
    in_snapshot: bool,
}

impl Connection<'_> {
    async fn pump(&mut self, inbox: &Inbox, outbound: &mut Outbound) {
        while let Some(parcel) = outbound.next().await {
            let ok = match parcel {
                Parcel::Message(first) => self.messages(first, outbound).await,
                Parcel::Snapshot { message, frozen } => {
                    self.in_snapshot = true;
                    let ok = self.snapshot(&message, &frozen).await;
                    if ok {
                        self.in_snapshot = false;
                        inbox.report(Input::SnapshotSent { to: self.route.to, ok });
                    }
                    ok
                }
            };
            if !ok {
                return;
            }
        }
    }

    /// Sends a message and those that wait behind it, as far as they fit into a frame.
    async fn messages(&mut self, first: Message, outbound: &mut Outbound) -> bool {
        let mut messages = Vec::new();
        let mut size = add(&mut messages, &first);
        while size < FRAME {
            match outbound.try_next() {
                Some(Parcel::Message(message)) => size += add(&mut messages, &message),
                Some(snapshot) => {
                    outbound.backlog.push_front(snapshot);
                    break;
                }
                None => break,
            }
        }
        self.send(messages, None).await
    }

    async fn snapshot(&mut self, message: &Message, frozen: &Frozen) -> bool {
        let mut offset = 0;
        for data in frozen.chunks() {
            let length = data.len() as u64;
            let chunk =
                SnapshotChunk { index: frozen.index, term: frozen.term, offset, data, ..SnapshotChunk::default() };
            if !self.send(Vec::new(), Some(chunk)).await {
                return false;
            }
            offset += length;
        }
        let message = Bytes::from(message.write_to_bytes().unwrap_or_default());
        let end =
            SnapshotChunk { index: frozen.index, term: frozen.term, offset, data: Bytes::new(), last: true, message };
        self.send(Vec::new(), Some(end)).await
    }

    async fn send(&mut self, messages: Vec<Bytes>, snapshot: Option<SnapshotChunk>) -> bool {
        self.sequence += 1;
        let Route { from, epoch, .. } = *self.route;
        self.frames.send(Frame { from, epoch, sequence: self.sequence, messages, snapshot }).await.is_ok()
    }
}

fn add(messages: &mut Vec<Bytes>, message: &Message) -> usize {
    let bytes = message.write_to_bytes().unwrap_or_default();
    let size = bytes.len();
    messages.push(bytes.into());
    size
}
