//! The task that connects to one peer and keeps sending.

use std::{sync::Arc, time::Duration};

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

async fn run(mut route: Route, inbox: Inbox, mut queue: mpsc::Receiver<Parcel>) {
    let mut retry = FIRST_RETRY;
    while !queue.is_closed() {
        match connect(&route).await {
            Ok(client) => {
                retry = FIRST_RETRY;
                inbox.report(Input::Connected { to: route.to });
                if let Err(error) = exchange(&route, client, &inbox, &mut queue).await {
                    tracing::debug!(peer = route.to, %error, "lost the connection");
                }
                route.epoch = route.epoch.wrapping_add(1);
            }
            Err(error) => tracing::debug!(peer = route.to, address = %route.address, %error, "could not connect"),
        }
        inbox.report(Input::Unreachable { to: route.to });
        sleep(retry).await;
        retry = (retry * 2).min(LAST_RETRY);
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
    queue: &mut mpsc::Receiver<Parcel>,
) -> Result<(), tonic::Status> {
    let (frames, outgoing) = mpsc::channel(FRAMES);
    let mut connection = Connection { route, frames, sequence: 0 };
    tokio::select! {
        reply = client.exchange(ReceiverStream::new(outgoing)) => reply.map(drop),
        () = connection.pump(inbox, queue) => Ok(()),
    }
}

struct Connection<'a> {
    route: &'a Route,
    frames: mpsc::Sender<Frame>,
    sequence: u64,
}

impl Connection<'_> {
    async fn pump(&mut self, inbox: &Inbox, queue: &mut mpsc::Receiver<Parcel>) {
        let mut next = None;
        loop {
            let first = match next.take() {
                Some(parcel) => Some(parcel),
                None => queue.recv().await,
            };
            match first {
                None => return,
                Some(Parcel::Snapshot { message, frozen }) => {
                    let ok = self.snapshot(&message, &frozen).await;
                    inbox.report(Input::SnapshotSent { to: self.route.to, ok });
                }
                Some(Parcel::Message(first)) => {
                    let mut messages = Vec::new();
                    let mut size = add(&mut messages, &first);
                    while size < FRAME {
                        match queue.try_recv() {
                            Ok(Parcel::Message(message)) => size += add(&mut messages, &message),
                            Ok(parcel) => {
                                next = Some(parcel);
                                break;
                            }
                            Err(_) => break,
                        }
                    }
                    if !self.send(messages, None).await {
                        return;
                    }
                }
            }
        }
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
        let end = SnapshotChunk { index: frozen.index, term: frozen.term, offset, data: Bytes::new(), last: true, message };
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
