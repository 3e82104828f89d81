//! The service that receives.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kubelab_proto::raft::{
    ExchangeReply, Frame, SnapshotChunk,
    raft_server::{Raft, RaftServer},
};
use protobuf::Message as _;
use raft::eraftpb::Message;
use tokio::{net::TcpListener, sync::watch};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, Streaming, transport::Server};

use super::{Tls, arrivals::Arrivals};
use crate::{consensus::Input, driver::Inbox, snapshot::Thawing};

/// Peers whose frames are counted; more than a group has.
const PEERS: usize = 64;

struct Service {
    id: u64,
    inbox: Inbox,
    arrivals: Mutex<HashMap<u64, Arrivals>>,
    stop: watch::Receiver<bool>,
}

/// Serves peers until `stop` says so.
pub(crate) async fn serve(
    id: u64,
    inbox: Inbox,
    listener: TcpListener,
    tls: Option<Tls>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), tonic::transport::Error> {
    let service = Service { id, inbox, arrivals: Mutex::default(), stop: stop.clone() };
    let mut server = Server::builder()
        .tcp_nodelay(true)
        .http2_keepalive_interval(Some(Duration::from_secs(5)))
        .initial_stream_window_size(4 << 20)
        .initial_connection_window_size(4 << 20);
    if let Some(tls) = &tls {
        server = server.tls_config(tls.server())?;
    }
    let stopped = async move { drop(stop.wait_for(|stop| *stop).await) };
    let incoming = TcpListenerStream::new(listener);
    server.add_service(RaftServer::new(service)).serve_with_incoming_shutdown(incoming, stopped).await
}

#[tonic::async_trait]
impl Raft for Service {
    async fn exchange(&self, request: Request<Streaming<Frame>>) -> Result<Response<ExchangeReply>, Status> {
        let mut frames = request.into_inner();
        let mut snapshot = None;
        let mut stop = self.stop.clone();
        loop {
            let frame = tokio::select! {
                frame = frames.message() => frame?,
                _ = stop.wait_for(|stop| *stop) => return Err(Status::unavailable("this member is shutting down")),
            };
            let Some(frame) = frame else { break };
            if !self.is_new(&frame) {
                continue;
            }
            for bytes in frame.messages {
                self.inbox.message(Input::Message(self.parse(&bytes, frame.from)?));
            }
            if let Some(chunk) = frame.snapshot {
                self.chunk(chunk, frame.from, &mut snapshot)?;
            }
        }
        Ok(Response::new(ExchangeReply {}))
    }
}

/// A snapshot of which a part has arrived.
struct Arriving {
    index: u64,
    term: u64,
    offset: u64,
    thawing: Thawing,
}

impl Service {
    fn is_new(&self, frame: &Frame) -> bool {
        let mut arrivals = self.arrivals.lock().unwrap_or_else(PoisonError::into_inner);
        if arrivals.len() >= PEERS && !arrivals.contains_key(&frame.from) {
            return false;
        }
        arrivals.entry(frame.from).or_default().is_new(frame.epoch, frame.sequence)
    }

    fn parse(&self, bytes: &[u8], from: u64) -> Result<Message, Status> {
        let message = Message::parse_from_bytes(bytes)
            .map_err(|error| Status::invalid_argument(format!("not a raft message: {error}")))?;
        if message.to != self.id || message.from != from {
            let (id, Message { from: sender, to, .. }) = (self.id, &message);
            return Err(Status::failed_precondition(format!(
                "a message from member {sender} to member {to} reached member {id} by way of member {from}; check the peers' addresses"
            )));
        }
        Ok(message)
    }

    fn chunk(&self, chunk: SnapshotChunk, from: u64, arriving: &mut Option<Arriving>) -> Result<(), Status> {
        if chunk.offset == 0 {
            let (index, term) = (chunk.index, chunk.term);
            *arriving = Some(Arriving { index, term, offset: 0, thawing: Thawing::default() });
        }
        let at = (chunk.index, chunk.term, chunk.offset);
        let Some(mut snapshot) = arriving.take_if(|it| (it.index, it.term, it.offset) == at) else {
            return Err(Status::out_of_range("a part of a snapshot is missing"));
        };
        let damaged = |error: crate::codec::Malformed| Status::data_loss(error.to_string());
        snapshot.offset += chunk.data.len() as u64;
        snapshot.thawing.push(chunk.data).map_err(damaged)?;
        if chunk.last {
            let frozen = Arc::new(snapshot.thawing.finish().map_err(damaged)?);
            let message = self.parse(&chunk.message, from)?;
            self.inbox.message(Input::Snapshot { message, frozen });
        } else {
            *arriving = Some(snapshot);
        }
        Ok(())
    }
}
