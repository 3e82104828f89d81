//! A dialled connection as a stream of bytes.

use kubelab_proto::node::{DialReply, DialRequest};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split},
    sync::mpsc,
};
use tonic::Streaming;

/// What fits in each direction before the sender waits.
const BUFFER: usize = 64 << 10;

/// Joins the two halves of a dial. Each side's end is passed on to the other.
pub fn join(send: mpsc::Sender<DialRequest>, mut receive: Streaming<DialReply>) -> DuplexStream {
    let (ours, theirs) = duplex(BUFFER);
    let (mut read, mut write) = split(theirs);
    tokio::spawn(async move {
        loop {
            let mut data = bytes::BytesMut::with_capacity(16 << 10);
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
        let _ = write.shutdown().await;
    });
    ours
}
