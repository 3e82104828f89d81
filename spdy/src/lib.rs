//! The part of SPDY/3.1 that Kubernetes' streaming clients speak: kubectl before 1.30 for exec, attach and port-forward,
//! and every kubectl within the WebSocket of a port-forward.
//! Source: <https://www.chromium.org/spdy/spdy-protocol/spdy-protocol-draft3-1/>.
//!
//! ```text
//! bytes ─► frame::Decoder ─► Connection ─► Stream: a program's stdin, or one end of a forwarded connection
//! bytes ◄─ frame::Encoder ◄──────┴──────── Stream
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`headers`] | header blocks, compressed with SPDY's dictionary (pure) |
//! | [`frame`] | frames, and how they look on the wire (pure) |
//! | [`connection`] | the server's side of a connection, and its streams |
//!
//! Only the client opens streams. Like Go's `spdystream`, on the other side of all our connections, we leave flow control to
//! TCP: windows are neither announced nor kept. Everything that a client can make us keep has a bound.

pub mod connection;
pub mod frame;
pub mod headers;

pub use connection::{Connection, Receiver, Sender, Stream};
pub use frame::Error;
pub use headers::Headers;
