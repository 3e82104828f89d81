//! Datagrams, as a program sees them that reads and writes: each write is one, and each read.

use kubelab_wire::datagram;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex, split};

/// What fits in each direction before the sender waits: one datagram at least.
const BUFFER: usize = 64 << 10;

/// A connection that carries each datagram after its length, without the lengths.
pub fn plain(framed: DuplexStream) -> DuplexStream {
    let (ours, theirs) = duplex(BUFFER);
    let (mut read, mut write) = split(theirs);
    let (mut heard, mut said) = split(framed);
    tokio::spawn(async move {
        let mut buffer = vec![0; datagram::LONGEST];
        while let Ok(length @ 1..) = read.read(&mut buffer).await {
            if datagram::write(&mut said, &buffer[..length]).await.is_err() {
                return;
            }
        }
        said.shutdown().await.ok();
    });
    tokio::spawn(async move {
        while let Ok(heard) = datagram::read(&mut heard).await {
            if write.write_all(&heard).await.is_err() {
                return;
            }
        }
        write.shutdown().await.ok();
    });
    ours
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn lengths_come_and_go() {
        let (framed, mut wire) = duplex(BUFFER);
        let mut program = plain(framed);
        program.write_all(b"hello").await.unwrap();
        let mut sent = [0; 7];
        wire.read_exact(&mut sent).await.unwrap();
        assert_eq!(&sent, b"\x00\x05hello");
        wire.write_all(b"\x00\x02hi").await.unwrap();
        let mut heard = [0; 2];
        program.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"hi");
        drop(program);
        assert_eq!(wire.read(&mut sent).await.unwrap(), 0, "the end is passed on");
    }
}
