//! The server's side of a connection: streams that the client opens, read and written beside each other.

use std::{collections::HashMap, io};

use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadHalf, WriteHalf, split},
    sync::mpsc,
    task::JoinHandle,
};

use crate::{
    frame::{Decoder, Encoder, Frame},
    headers::Headers,
};

/// Streams at a time. `kubectl port-forward` opens two for each connection that it forwards.
const MAX_STREAMS: usize = 512;

/// Frames of one stream that wait to be read, before the connection waits for that stream.
const WAITING: usize = 16;

/// Frames that wait to be sent, before their writers wait.
const SENDING: usize = 32;

/// The most data that is sent in one frame.
const CHUNK: usize = 32 << 10;

/// Why a stream is refused: too many of them. Source: SPDY/3.1, section 2.6.3.
const REFUSED_STREAM: u32 = 3;

/// What the writer is told.
enum Out {
    Frame(Frame),
    Close,
}

/// A connection. Dropped, it is cut.
pub struct Connection {
    incoming: mpsc::Receiver<Stream>,
    out: mpsc::Sender<Out>,
    reader: Task,
    writer: Task,
}

/// Ends with its handle.
struct Task(JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A stream that the client opened.
pub struct Stream {
    /// What it is for.
    pub headers: Headers,
    /// What the client sends on it.
    pub receiver: Receiver,
    /// What is sent to the client on it.
    pub sender: Sender,
}

/// What the client sends on a stream.
pub struct Receiver(mpsc::Receiver<Bytes>);

impl Receiver {
    /// The next bytes; `None` once the client has finished the stream, or the connection has ended.
    pub async fn receive(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }
}

/// Sends to the client on a stream. Dropped, the stream is finished.
pub struct Sender {
    stream: u32,
    out: mpsc::Sender<Out>,
    finished: bool,
}

/// The connection has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the connection has ended")]
pub struct Closed;

impl Sender {
    /// Sends bytes, as soon as there is room.
    pub async fn send(&self, mut data: Bytes) -> Result<(), Closed> {
        while !data.is_empty() {
            let data = data.split_to(data.len().min(CHUNK));
            let frame = Frame::Data { stream: self.stream, data, fin: false };
            self.out.send(Out::Frame(frame)).await.map_err(|_| Closed)?;
        }
        Ok(())
    }

    /// Tells the client that nothing more comes.
    pub async fn finish(mut self) {
        self.finished = true;
        let _ = self.out.send(Out::Frame(self.last())).await;
    }

    fn last(&self) -> Frame {
        Frame::Data { stream: self.stream, data: Bytes::new(), fin: true }
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        if !self.finished {
            // A writer that is this far behind has no room for it, and its client sees the connection's end instead.
            let _ = self.out.try_send(Out::Frame(self.last()));
        }
    }
}

impl Connection {
    /// Serves the streams of a connection that was just upgraded to SPDY/3.1.
    pub fn new<T: AsyncRead + AsyncWrite + Send + 'static>(io: T) -> Self {
        let (read, write) = split(io);
        let (out, to_send) = mpsc::channel(SENDING);
        let (opened, incoming) = mpsc::channel(WAITING);
        let reader = Reader { opened, out: out.clone(), streams: HashMap::new(), last: 0 };
        let read = async move {
            if let Err(error) = reader.run(read).await {
                tracing::debug!(%error, "a SPDY connection broke");
            }
        };
        let write = async move {
            if let Err(error) = send_all(to_send, write).await {
                tracing::debug!(%error, "a SPDY connection cannot be written to");
            }
        };
        Self { incoming, out, reader: Task(tokio::spawn(read)), writer: Task(tokio::spawn(write)) }
    }

    /// The next stream that the client opens; `None` once it is gone.
    pub async fn accept(&mut self) -> Option<Stream> {
        self.incoming.recv().await
    }

    /// Sends what waits to be sent, says goodbye, and ends the connection.
    pub async fn close(mut self) {
        let _ = self.out.send(Out::Close).await;
        // The writer ends by itself, or with the client.
        let _ = (&mut self.writer.0).await;
        drop(self.reader);
    }
}

async fn send_all<T: AsyncWrite>(mut to_send: mpsc::Receiver<Out>, mut write: WriteHalf<T>) -> io::Result<()> {
    let mut encoder = Encoder::default();
    let mut buffer = BytesMut::new();
    let mut last = 0;
    let mut open = true;
    while open && let Some(first) = to_send.recv().await {
        let mut next = Some(first);
        while let Some(out) = next {
            let frame = match out {
                Out::Frame(frame) => frame,
                Out::Close => {
                    open = false;
                    Frame::GoAway { last }
                }
            };
            if let Frame::SynReply { stream, .. } = &frame {
                last = *stream;
            }
            encoder.encode(&frame, &mut buffer).map_err(io::Error::other)?;
            next = if open && buffer.len() < CHUNK { to_send.try_recv().ok() } else { None };
        }
        write.write_all_buf(&mut buffer).await?;
        write.flush().await?;
    }
    write.shutdown().await
}

/// Brings frames to their streams.
struct Reader {
    opened: mpsc::Sender<Stream>,
    out: mpsc::Sender<Out>,
    /// What the client may still send on.
    streams: HashMap<u32, mpsc::Sender<Bytes>>,
    last: u32,
}

impl Reader {
    async fn run<T: AsyncRead>(mut self, mut read: ReadHalf<T>) -> io::Result<()> {
        let mut decoder = Decoder::default();
        let mut buffer = BytesMut::with_capacity(CHUNK);
        loop {
            while let Some(frame) = decoder.decode(&mut buffer).map_err(io::Error::other)? {
                if !self.take(frame).await {
                    return Ok(());
                }
            }
            if read.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        }
    }

    /// Says whether the connection goes on.
    async fn take(&mut self, frame: Frame) -> bool {
        match frame {
            Frame::SynStream { stream, headers, fin, .. } => return self.open(stream, headers, fin).await,
            Frame::Data { stream, data, fin } => {
                if let Some(receiver) = self.streams.get(&stream)
                    && !data.is_empty()
                {
                    // A stream that nobody reads any more swallows what comes.
                    let _ = receiver.send(data).await;
                }
                if fin {
                    self.streams.remove(&stream);
                }
            }
            Frame::Headers { stream, fin: true, .. } | Frame::Reset { stream, .. } => {
                self.streams.remove(&stream);
            }
            // The client's pings have odd numbers; others would be answers to ours. Source: section 2.6.5.
            Frame::Ping(id) if id % 2 == 1 => return self.out.send(Out::Frame(Frame::Ping(id))).await.is_ok(),
            Frame::GoAway { .. } => return false,
            _ => {}
        }
        true
    }

    async fn open(&mut self, stream: u32, headers: Headers, fin: bool) -> bool {
        // The client's streams have odd numbers that grow. Source: section 2.3.2.
        if stream.is_multiple_of(2) || stream <= self.last {
            return false;
        }
        self.last = stream;
        self.streams.retain(|_, receiver| !receiver.is_closed());
        if self.streams.len() >= MAX_STREAMS {
            let refusal = Frame::Reset { stream, status: REFUSED_STREAM };
            return self.out.send(Out::Frame(refusal)).await.is_ok();
        }
        let (data, receiver) = mpsc::channel(WAITING);
        if !fin {
            self.streams.insert(stream, data);
        }
        let reply = Frame::SynReply { stream, headers: Headers::default(), fin: false };
        if self.out.send(Out::Frame(reply)).await.is_err() {
            return false;
        }
        let sender = Sender { stream, out: self.out.clone(), finished: false };
        self.opened.send(Stream { headers, receiver: Receiver(receiver), sender }).await.is_ok()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tokio::io::{DuplexStream, duplex};

    use super::*;

    /// The client's side, frame by frame.
    struct Client {
        io: DuplexStream,
        encoder: Encoder,
        decoder: Decoder,
        buffer: BytesMut,
    }

    impl Client {
        fn new() -> (Self, Connection) {
            let (ours, theirs) = duplex(1 << 16);
            let client =
                Self { io: ours, encoder: Encoder::default(), decoder: Decoder::default(), buffer: BytesMut::new() };
            (client, Connection::new(theirs))
        }

        async fn send(&mut self, frame: Frame) {
            let mut out = BytesMut::new();
            self.encoder.encode(&frame, &mut out).unwrap();
            self.io.write_all(&out).await.unwrap();
        }

        async fn open(&mut self, stream: u32, kind: &str) {
            let headers = Headers(vec![("streamtype".into(), kind.into())]);
            self.send(Frame::SynStream { stream, headers, fin: false, unidirectional: false }).await;
        }

        /// The next frame; `None` at the end.
        async fn next(&mut self) -> Option<Frame> {
            loop {
                if let Some(frame) = self.decoder.decode(&mut self.buffer).unwrap() {
                    return Some(frame);
                }
                if self.io.read_buf(&mut self.buffer).await.unwrap() == 0 {
                    return None;
                }
            }
        }
    }

    fn data(stream: u32, text: &str, fin: bool) -> Frame {
        Frame::Data { stream, data: Bytes::copy_from_slice(text.as_bytes()), fin }
    }

    fn reply(stream: u32) -> Option<Frame> {
        Some(Frame::SynReply { stream, headers: Headers::default(), fin: false })
    }

    #[tokio::test]
    async fn a_stream_carries_bytes_both_ways_and_ends_on_each_side() {
        let (mut client, mut connection) = Client::new();
        client.open(1, "stdin").await;
        assert_eq!(client.next().await, reply(1));
        let mut stream = connection.accept().await.unwrap();
        assert_eq!(stream.headers.get("streamtype"), Some("stdin"));
        client.send(data(1, "hello", false)).await;
        client.send(data(1, "!", true)).await;
        assert_eq!(stream.receiver.receive().await.unwrap(), "hello");
        assert_eq!(stream.receiver.receive().await.unwrap(), "!");
        assert_eq!(stream.receiver.receive().await, None);
        stream.sender.send(Bytes::from_static(b"bye")).await.unwrap();
        stream.sender.finish().await;
        assert_eq!(client.next().await, Some(data(1, "bye", false)));
        assert_eq!(client.next().await, Some(data(1, "", true)));
        connection.close().await;
        assert_eq!(client.next().await, Some(Frame::GoAway { last: 1 }));
        assert_eq!(client.next().await, None);
    }

    #[tokio::test]
    async fn pings_are_answered() {
        let (mut client, _connection) = Client::new();
        client.send(Frame::Ping(2)).await;
        client.send(Frame::Ping(3)).await;
        assert_eq!(client.next().await, Some(Frame::Ping(3)));
    }

    #[tokio::test]
    async fn there_are_only_so_many_streams() {
        let (mut client, mut connection) = Client::new();
        let accepted = tokio::spawn(async move {
            let mut streams = Vec::new();
            while let Some(stream) = connection.accept().await {
                streams.push(stream);
            }
            streams.len()
        });
        for n in 0..MAX_STREAMS as u32 {
            client.open(2 * n + 1, "data").await;
            assert_eq!(client.next().await, reply(2 * n + 1));
        }
        let one_more = 2 * MAX_STREAMS as u32 + 1;
        client.open(one_more, "data").await;
        assert_eq!(client.next().await, Some(Frame::Reset { stream: one_more, status: REFUSED_STREAM }));
        client.send(Frame::GoAway { last: 0 }).await;
        assert_eq!(accepted.await.unwrap(), MAX_STREAMS);
    }

    #[tokio::test]
    async fn a_peer_that_breaks_the_rules_is_left() {
        for frame in [2_u32, 0] {
            let (mut client, mut connection) = Client::new();
            client.open(frame, "data").await;
            assert!(connection.accept().await.is_none(), "{frame}");
        }
        let (mut client, mut connection) = Client::new();
        client.io.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
        assert!(connection.accept().await.is_none());
    }
}
