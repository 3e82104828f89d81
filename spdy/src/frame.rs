//! Frames, and how they look on the wire. Source: SPDY/3.1, sections 2.2 and 2.6.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::headers::{Headers, Packer, Unpacker};

/// The largest frame that is taken. Go's clients send at most 32 KiB of data in one.
pub const MAX_FRAME: usize = 1 << 20;

const VERSION: u16 = 3;
const HEAD: usize = 8;
const FIN: u8 = 0x01;
const UNIDIRECTIONAL: u8 = 0x02;
/// The bit that tells control frames from data.
const CONTROL: u16 = 0x8000;
const STREAM_MASK: u32 = 0x7fff_ffff;

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// Not SPDY/3.
    #[error("the peer speaks version {0} of SPDY; only 3 is known")]
    Version(u16),
    /// A control frame that is too short for its kind.
    #[error("a frame of kind {0} is too short")]
    Short(u16),
    /// A frame or a header block past its limit.
    #[error("a frame is too large")]
    TooLarge,
    /// Headers that cannot be read.
    #[error("a header block cannot be read")]
    Headers,
}

/// One frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// A stream begins.
    SynStream {
        /// Which.
        stream: u32,
        /// What it is for.
        headers: Headers,
        /// Its sender will send nothing on it.
        fin: bool,
        /// Its receiver may send nothing on it.
        unidirectional: bool,
    },
    /// A stream is accepted.
    SynReply {
        /// Which.
        stream: u32,
        /// What is said to it.
        headers: Headers,
        /// Its sender will send nothing on it.
        fin: bool,
    },
    /// A stream ends at once.
    Reset {
        /// Which.
        stream: u32,
        /// Why.
        status: u32,
    },
    /// Is somebody there?
    Ping(u32),
    /// No more streams.
    GoAway {
        /// The last one that was accepted.
        last: u32,
    },
    /// More headers.
    Headers {
        /// Of which stream.
        stream: u32,
        /// What they are.
        headers: Headers,
        /// Its sender will send nothing more on it.
        fin: bool,
    },
    /// Bytes.
    Data {
        /// Of which stream.
        stream: u32,
        /// Themselves.
        data: Bytes,
        /// The last.
        fin: bool,
    },
    /// Something that needs no answer: settings, windows, what later versions may have.
    Other(u16),
}

/// Turns bytes into frames.
#[derive(Default)]
pub struct Decoder {
    headers: Unpacker,
}

impl Decoder {
    /// Takes the next frame from the buffer, once it is whole.
    pub fn decode(&mut self, buffer: &mut BytesMut) -> Result<Option<Frame>, Error> {
        if buffer.len() < HEAD {
            return Ok(None);
        }
        let length = usize::from(buffer[5]) << 16 | usize::from(buffer[6]) << 8 | usize::from(buffer[7]);
        if length > MAX_FRAME {
            return Err(Error::TooLarge);
        }
        if buffer.len() < HEAD + length {
            buffer.reserve(HEAD + length - buffer.len());
            return Ok(None);
        }
        let mut head = buffer.split_to(HEAD);
        let body = buffer.split_to(length).freeze();
        let first = head.get_u32();
        let fin = head[0] & FIN != 0;
        if first >> 31 == 0 {
            return Ok(Some(Frame::Data { stream: first, data: body, fin }));
        }
        let version = (first >> 16) as u16 & !CONTROL;
        if version != VERSION {
            return Err(Error::Version(version));
        }
        self.control(first as u16, head[0], body).map(Some)
    }

    fn control(&mut self, kind: u16, flags: u8, mut body: Bytes) -> Result<Frame, Error> {
        let needed = match kind {
            1 => 10,
            2 | 6 | 8 => 4,
            3 | 7 => 8,
            _ => return Ok(Frame::Other(kind)),
        };
        if body.len() < needed {
            return Err(Error::Short(kind));
        }
        let fin = flags & FIN != 0;
        let first = body.get_u32();
        let stream = first & STREAM_MASK;
        Ok(match kind {
            1 => {
                // The stream that it belongs to, and its priority.
                body.advance(6);
                let headers = self.headers.unpack(&body)?;
                Frame::SynStream { stream, headers, fin, unidirectional: flags & UNIDIRECTIONAL != 0 }
            }
            2 => Frame::SynReply { stream, headers: self.headers.unpack(&body)?, fin },
            3 => Frame::Reset { stream, status: body.get_u32() },
            6 => Frame::Ping(first),
            7 => Frame::GoAway { last: stream },
            _ => Frame::Headers { stream, headers: self.headers.unpack(&body)?, fin },
        })
    }
}

/// Turns frames into bytes.
#[derive(Default)]
pub struct Encoder {
    headers: Packer,
}

impl Encoder {
    /// Appends a frame to what is to be sent. Data must fit a frame.
    pub fn encode(&mut self, frame: &Frame, out: &mut BytesMut) -> Result<(), Error> {
        match frame {
            Frame::Data { stream, data, fin } => {
                if data.len() > MAX_FRAME {
                    return Err(Error::TooLarge);
                }
                out.put_u32(*stream);
                out.put_u32(u32::from(u8::from(*fin)) << 24 | data.len() as u32);
                out.put_slice(data);
            }
            Frame::SynStream { stream, headers, fin, unidirectional } => {
                let flags = u8::from(*fin) | if *unidirectional { UNIDIRECTIONAL } else { 0 };
                let mut body = [&stream.to_be_bytes()[..], &[0; 6]].concat();
                body.extend(self.headers.pack(headers)?);
                control(1, flags, &body, out);
            }
            Frame::SynReply { stream, headers, fin } => self.with_headers(2, *stream, headers, *fin, out)?,
            Frame::Headers { stream, headers, fin } => self.with_headers(8, *stream, headers, *fin, out)?,
            Frame::Reset { stream, status } => {
                control(3, 0, &[stream.to_be_bytes(), status.to_be_bytes()].concat(), out);
            }
            Frame::Ping(id) => control(6, 0, &id.to_be_bytes(), out),
            Frame::GoAway { last } => control(7, 0, &[last.to_be_bytes(), [0; 4]].concat(), out),
            Frame::Other(_) => {}
        }
        Ok(())
    }

    fn with_headers(
        &mut self,
        kind: u16,
        stream: u32,
        headers: &Headers,
        fin: bool,
        out: &mut BytesMut,
    ) -> Result<(), Error> {
        let mut body = stream.to_be_bytes().to_vec();
        body.extend(self.headers.pack(headers)?);
        control(kind, u8::from(fin), &body, out);
        Ok(())
    }
}

fn control(kind: u16, flags: u8, body: &[u8], out: &mut BytesMut) {
    out.put_u16(CONTROL | VERSION);
    out.put_u16(kind);
    out.put_u32(u32::from(flags) << 24 | body.len() as u32);
    out.put_slice(body);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn bytes(hex: &str) -> BytesMut {
        let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    /// Frames as the specification draws them.
    #[test]
    fn golden_frames() {
        let data = |stream, data: &'static [u8], fin| Frame::Data { stream, data: Bytes::from_static(data), fin };
        for (frame, wire) in [
            (data(1, b"hi", false), "00000001 00 000002 6869"),
            (data(3, b"", true), "00000003 01 000000"),
            (Frame::Reset { stream: 5, status: 3 }, "8003 0003 00 000008 00000005 00000003"),
            (Frame::Ping(7), "8003 0006 00 000004 00000007"),
            (Frame::GoAway { last: 9 }, "8003 0007 00 000008 00000009 00000000"),
        ] {
            let mut out = BytesMut::new();
            Encoder::default().encode(&frame, &mut out).unwrap();
            assert_eq!(hex(&out), hex(&bytes(wire)), "{frame:?}");
            assert_eq!(Decoder::default().decode(&mut out).unwrap(), Some(frame));
            assert!(out.is_empty());
        }
    }

    /// A stream with the header `streamtype: error`, its block packed by zlib itself.
    #[test]
    fn a_stream_is_opened() {
        let packed = "78 f9 e3 c6 a7 c2 02 a6 23 46 70 3a 2b 29 4a 4d cc 85 16 25 ac a9 a0 80 06 00 00 00 ff ff";
        let mut wire = bytes(&format!("8003 0001 02 {:06x} 00000001 00000000 0000 {packed}", 10 + bytes(packed).len()));
        let headers = Headers(vec![("streamtype".into(), "error".into())]);
        let expected = Frame::SynStream { stream: 1, headers, fin: false, unidirectional: true };
        assert_eq!(Decoder::default().decode(&mut wire).unwrap().as_ref(), Some(&expected));
        let mut ours = BytesMut::new();
        Encoder::default().encode(&expected, &mut ours).unwrap();
        assert_eq!(Decoder::default().decode(&mut ours).unwrap(), Some(expected));
    }

    #[test]
    fn a_frame_in_pieces_waits_until_it_is_whole() {
        let headers = Headers(vec![("streamtype".into(), "stdin".into())]);
        let mut out = BytesMut::new();
        let frame = Frame::SynReply { stream: 1, headers, fin: true };
        Encoder::default().encode(&frame, &mut out).unwrap();
        let (mut decoder, mut buffer) = (Decoder::default(), BytesMut::new());
        let last = out.len() - 1;
        for byte in &out[..last] {
            buffer.put_u8(*byte);
            assert_eq!(decoder.decode(&mut buffer), Ok(None));
        }
        buffer.put_u8(out[last]);
        assert_eq!(decoder.decode(&mut buffer), Ok(Some(frame)));
    }

    #[test]
    fn what_is_not_spdy_is_refused() {
        for (wire, expected) in [
            ("8002 0001 00 000004 00000001", Err(Error::Version(2))),
            ("8003 0001 00 000004 00000001", Err(Error::Short(1))),
            ("8003 0007 00 000004 00000001", Err(Error::Short(7))),
            ("00000001 00 ffffff", Err(Error::TooLarge)),
            ("8003 0004 00 000004 00000000", Ok(Some(Frame::Other(4)))),
            ("8003 0009 00 000008 00000001 00000001", Ok(Some(Frame::Other(9)))),
        ] {
            assert_eq!(Decoder::default().decode(&mut bytes(wire)), expected, "{wire}");
        }
    }
}
