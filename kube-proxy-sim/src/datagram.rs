//! Datagrams on a stream: each after its length in two bytes, as `Node.Dial` and `Proxy.Dial` carry them (and RFC 7766 DNS
//! over TCP).

use bytes::{Buf, BufMut, Bytes, BytesMut};

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

#[cfg(test)]
mod tests {
    use super::*;

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
