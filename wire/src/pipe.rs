//! A dialled connection, `Node.Dial` or `Proxy.Dial`, as a stream of bytes.

use bytes::BytesMut;
use kubelab_proto::node::{DialReply, DialRequest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    sync::mpsc,
};
use tonic::Streaming;

/// Bytes read at a time.
const CHUNK: usize = 16 << 10;

/// Joins the two halves of a dial. Each side's end is passed on to the other. `buffer`: what fits into each direction before
/// the sender waits, in bytes.
pub fn join(send: mpsc::Sender<DialRequest>, mut receive: Streaming<DialReply>, buffer: usize) -> DuplexStream {
    let (ours, theirs) = duplex(buffer);
    let (mut read, mut write) = split(theirs);
    tokio::spawn(async move {
        loop {
            let mut data = BytesMut::with_capacity(CHUNK);
            match read.read_buf(&mut data).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            if send.send(DialRequest { data: data.freeze(), ..Default::default() }).await.is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        while let Ok(Some(reply)) = receive.message().await {
            if write.write_all(&reply.data).await.is_err() {
                return;
            }
        }
        write.shutdown().await.ok();
    });
    ours
}
