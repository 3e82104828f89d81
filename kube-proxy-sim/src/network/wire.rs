//! Bytes from one connection to the other.

use std::{sync::Arc, time::Duration};

use bytes::BytesMut;
use futures::StreamExt;
use kubelab_client::clock;
use kubelab_proto::node::{DialReply, DialRequest};
use kubelab_wire::datagram::{LONGEST, frame, unframe};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket, tcp::OwnedReadHalf},
    sync::mpsc,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Replies, Sender};
use crate::dial::Pipe;

/// Messages on their way before the sender waits.
const WAITING: usize = 8;
/// How long answers to datagrams may take once the client has said all.
const LINGER: Duration = Duration::from_secs(5);
/// Bytes read at a time.
const CHUNK: usize = 16 << 10;

/// A real connection as a pipe.
pub fn join(stream: TcpStream) -> Pipe {
    let (read, mut write) = stream.into_split();
    let (send, mut requests) = mpsc::channel::<DialRequest>(WAITING);
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            if write.write_all(&request.data).await.is_err() {
                return;
            }
        }
        write.shutdown().await.ok();
    });
    Pipe { send, receive: replies(read) }
}

/// A real socket of datagrams as a pipe. Datagrams know no end: answers may come for a while after the client has said all, as
/// long as somebody listens.
pub fn join_datagrams(socket: UdpSocket) -> Pipe {
    let socket = Arc::new(socket);
    let (send, mut requests) = mpsc::channel::<DialRequest>(WAITING);
    let (heard, replies) = mpsc::channel(WAITING);
    let listened = heard.clone();
    tokio::spawn(async move {
        let passed = async {
            let mut sent = BytesMut::new();
            while let Some(request) = requests.recv().await {
                sent.extend_from_slice(&request.data);
                while let Some(datagram) = unframe(&mut sent) {
                    let _ = socket.send(&datagram).await;
                }
            }
            clock::sleep(LINGER).await;
        };
        let brought = async {
            let mut buffer = vec![0; LONGEST];
            while let Ok(length) = socket.recv(&mut buffer).await {
                if heard.send(Ok(DialReply { data: frame(&buffer[..length]) })).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = passed => {}
            () = brought => {}
            () = listened.closed() => {}
        }
    });
    Pipe { send, receive: ReceiverStream::new(replies).boxed() }
}

/// A connection that keeps something for as long as it brings data.
pub fn holding(pipe: Pipe, held: impl Send + 'static) -> Pipe {
    let Pipe { send, receive } = pipe;
    let receive = receive.map(move |reply| {
        let _held = &held;
        reply
    });
    Pipe { send, receive: receive.boxed() }
}

fn replies(read: OwnedReadHalf) -> Replies {
    let chunks = futures::stream::unfold((read, BytesMut::new()), async |(mut read, mut buffer)| {
        buffer.reserve(CHUNK);
        match read.read_buf(&mut buffer).await {
            Ok(0) => None,
            Ok(_) => Some((Ok(DialReply { data: buffer.split().freeze() }), (read, buffer))),
            Err(error) => Some((Err(Status::aborted(error.to_string())), (read, buffer))),
        }
    });
    chunks.boxed()
}

/// Passes on what a client sends, until it has sent all or nobody listens.
pub async fn pass(mut sent: Streaming<DialRequest>, send: Sender) {
    while let Ok(Some(message)) = sent.message().await {
        if send.send(DialRequest { data: message.data, ..Default::default() }).await.is_err() {
            return;
        }
    }
}
