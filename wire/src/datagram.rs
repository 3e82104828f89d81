//! Datagrams on a stream: each after its length in two bytes, as `Node.Dial` and `Proxy.Dial` carry them (and RFC 7766 DNS
//! over TCP).

use std::io;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The longest datagram.
pub const LONGEST: usize = 65_535;

/// A datagram after its length.
pub fn frame(datagram: &[u8]) -> Bytes {
    let datagram = &datagram[..datagram.len().min(LONGEST)];
    let mut framed = BytesMut::with_capacity(2 + datagram.len());
    framed.put_u16(u16::try_from(datagram.len()).unwrap_or(u16::MAX));
    framed.put_slice(datagram);
    framed.freeze()
}

/// The next datagram, if all of it is here.
pub fn unframe(heard: &mut BytesMut) -> Option<Bytes> {
    let length = usize::from(u16::from_be_bytes([*heard.first()?, *heard.get(1)?]));
    if heard.len() < 2 + length {
        return None;
    }
    heard.advance(2);
    Some(heard.split_to(length).freeze())
}

/// Reads the next datagram of a stream.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Vec<u8>> {
    let mut datagram = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut datagram).await?;
    Ok(datagram)
}

/// Writes a datagram to a stream.
pub async fn write(stream: &mut (impl AsyncWrite + Unpin), datagram: &[u8]) -> io::Result<()> {
    stream.write_all(&frame(datagram)).await
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[tokio::test]
    async fn what_is_written_is_read() {
        let (mut ours, mut theirs) = tokio::io::duplex(64);
        write(&mut ours, b"one").await.unwrap();
        write(&mut ours, b"").await.unwrap();
        assert_eq!((read(&mut theirs).await.unwrap(), read(&mut theirs).await.unwrap()), (b"one".to_vec(), Vec::new()));
        drop(ours);
        assert!(read(&mut theirs).await.is_err(), "the end");
    }

    #[test]
    fn frames_come_apart_wherever_they_were_cut() {
        let sent = [frame(b"one"), frame(b""), frame(b"three")].concat();
        for cut in 0..=sent.len() {
            let (mut heard, mut datagrams) = (BytesMut::new(), Vec::new());
            for part in [&sent[..cut], &sent[cut..]] {
                heard.extend_from_slice(part);
                while let Some(datagram) = unframe(&mut heard) {
                    datagrams.push(datagram);
                }
            }
            assert_eq!(datagrams, ["one", "", "three"], "cut at {cut}");
        }
    }
}
