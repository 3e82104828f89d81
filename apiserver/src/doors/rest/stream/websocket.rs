//! A program's streams in a WebSocket: one message is one channel's number and its bytes. Source: `pkg/util/wsstream` of
//! `k8s.io/apimachinery`, and KEP-4006 for v5, which can close a channel.

use std::time::Duration;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message,
        protocol::{CloseFrame, Role, WebSocketConfig, frame::coding::CloseCode},
    },
};

use super::session::{Input, Output, Wants, Wire, encode, resize};

/// The versions of a program's streams, the empty one for clients that name none.
pub const PROTOCOLS: [&str; 6] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
    "",
];

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
/// Closes the channel that its one byte names.
const CLOSE: u8 = 255;

/// The largest message that is taken.
const MAX_MESSAGE: usize = 1 << 20;

/// How long a client may take to say goodbye in its turn.
const GOODBYE: Duration = Duration::from_secs(5);

/// A WebSocket, from the server's side.
pub type Socket = WebSocketStream<TokioIo<Upgraded>>;

/// Speaks WebSocket on a connection that was changed to it.
pub async fn open(upgraded: Upgraded) -> Socket {
    let config = WebSocketConfig::default()
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE))
        .read_buffer_size(16 << 10)
        .write_buffer_size(0);
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await
}

/// The end of a WebSocket, in good order: clients take any other code, and none, for a failure.
pub fn goodbye() -> Message {
    Message::Close(Some(CloseFrame { code: CloseCode::Normal, reason: "".into() }))
}

/// How messages look in one version of the streams.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    base64: bool,
    /// Since v4, a program's end is a Status.
    pub status_is_json: bool,
    can_close: bool,
}

impl Format {
    /// The format of a version.
    pub fn of(protocol: &str) -> Self {
        Self {
            base64: protocol.contains("base64"),
            status_is_json: protocol.starts_with('v'),
            can_close: protocol.starts_with("v5"),
        }
    }

    /// A message for a channel.
    pub fn message(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            // The channel is a digit then.
            return Message::text(format!("{channel}{}", STANDARD.encode(data)));
        }
        let mut bytes = Vec::with_capacity(data.len() + 1);
        bytes.push(channel);
        bytes.extend_from_slice(data);
        Message::binary(bytes)
    }

    /// The channel and the bytes of a message; `None` if it carries none.
    pub fn split(self, message: Message) -> Option<(u8, Bytes)> {
        let mut data: Bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Text(text) => Bytes::copy_from_slice(text.as_bytes()),
            _ => return None,
        };
        if data.is_empty() {
            return None;
        }
        let channel = data.split_to(1)[0];
        if !self.base64 {
            return Some((channel, data));
        }
        let decoded = STANDARD.decode(&data).ok()?;
        Some((channel.checked_sub(b'0')?, decoded.into()))
    }
}

/// Carries a session until either side ends it.
pub async fn carry(socket: Socket, protocol: &str, wants: Wants, mut wire: Wire) {
    let format = Format::of(protocol);
    let (mut send, mut receive) = socket.split();
    // An empty message tells the client that its streams are open.
    let first = if wants.stdout { STDOUT } else { ERROR };
    if send.send(format.message(first, b"")).await.is_err() {
        return;
    }
    let mut input = Some(wire.input);
    let reading = async {
        while let Some(Ok(message)) = receive.next().await {
            if matches!(message, Message::Close(_)) {
                break;
            }
            let Some((channel, data)) = format.split(message) else { continue };
            let next = match channel {
                STDIN if wants.stdin && !data.is_empty() => Input::Stdin(data),
                CLOSE if format.can_close && data.first() == Some(&STDIN) => Input::StdinClosed,
                RESIZE => match resize(&data) {
                    Some(size) => size,
                    None => continue,
                },
                _ => continue,
            };
            if let Some(to) = &input
                && to.send(next).await.is_err()
            {
                // The program reads no more; its output goes on.
                input = None;
            }
        }
    };
    let writing = async {
        while let Some(output) = wire.output.recv().await {
            let (message, last) = match output {
                Output::Stdout(data) => (format.message(STDOUT, &data), false),
                Output::Stderr(data) => (format.message(STDERR, &data), false),
                Output::Status(status) => {
                    let Some(status) = encode(&status, format.status_is_json) else { break };
                    (format.message(ERROR, &status), true)
                }
            };
            if send.send(message).await.is_err() || last {
                break;
            }
        }
        let _ = send.send(goodbye()).await;
    };
    tokio::pin!(reading);
    tokio::select! {
        () = &mut reading => {}
        // A connection that is closed with bytes unread is reset, and takes the goodbye with it.
        () = writing => drop(timeout(GOODBYE, reading).await),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn messages_carry_a_channel() {
        for (protocol, channel, data, message) in [
            ("v5.channel.k8s.io", STDOUT, &b"hi"[..], Message::binary(&b"\x01hi"[..])),
            ("v4.channel.k8s.io", ERROR, b"", Message::binary(&b"\x03"[..])),
            ("v4.base64.channel.k8s.io", STDERR, b"hi", Message::text("2aGk=")),
            ("", STDIN, b"x", Message::binary(&b"\x00x"[..])),
        ] {
            let format = Format::of(protocol);
            assert_eq!(format.message(channel, data), message, "{protocol}");
            assert_eq!(format.split(message).unwrap(), (channel, Bytes::copy_from_slice(data)), "{protocol}");
        }
        let base64 = Format::of("base64.channel.k8s.io");
        for wrong in [Message::text(""), Message::text("0!"), Message::text("/aGk="), Message::Ping(Bytes::new())] {
            assert_eq!(base64.split(wrong.clone()), None, "{wrong:?}");
        }
    }

    #[test]
    fn only_the_newest_version_can_close_a_channel() {
        assert!(Format::of("v5.channel.k8s.io").can_close && !Format::of("v4.channel.k8s.io").can_close);
        assert!(!Format::of("channel.k8s.io").status_is_json);
    }
}
