//! A program's streams in SPDY/3.1: the client opens one stream for each and says in a header which it is.
//! Source: `createStreams` in `k8s.io/kubelet/pkg/cri/streaming/remotecommand/httpstream.go`.

use std::time::Duration;

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use kubelab_spdy::{Connection, Receiver, Sender};
use tokio::time::timeout;

use super::session::{Input, Output, Wants, Wire, encode, resize};

/// The versions of a program's streams.
pub const PROTOCOLS: [&str; 5] = ["v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io", ""];

/// How long a client may take to open its streams. Source: `DefaultStreamCreationTimeout`.
const STREAM_CREATION: Duration = Duration::from_secs(30);

/// The streams that a client opened.
#[derive(Default)]
struct Streams {
    stdin: Option<Receiver>,
    resize: Option<Receiver>,
    stdout: Option<Sender>,
    stderr: Option<Sender>,
    error: Option<Sender>,
    /// Halves that are not used, kept open for as long as the others.
    rest: Vec<(Option<Receiver>, Option<Sender>)>,
}

/// How many streams a client opens.
fn expected(protocol: &str, wants: Wants) -> usize {
    let resizes = wants.tty && (protocol.starts_with("v4") || protocol.starts_with("v3"));
    let wanted = [true, wants.stdin, wants.stdout, wants.stderr && !wants.tty, resizes];
    wanted.into_iter().filter(|wanted| *wanted).count()
}

/// Carries a session until either side ends it.
pub async fn carry(upgraded: Upgraded, protocol: &str, wants: Wants, wire: Wire) {
    let mut connection = Connection::new(TokioIo::new(upgraded));
    let opening = open(&mut connection, expected(protocol, wants));
    let Ok(Some(streams)) = timeout(STREAM_CREATION, opening).await else { return };
    let Streams { stdin, resize: sizes, stdout, stderr, error, rest } = streams;
    let Wire { input, mut output } = wire;
    let typing = async {
        if let Some(mut stdin) = stdin {
            while let Some(data) = stdin.receive().await {
                if input.send(Input::Stdin(data)).await.is_err() {
                    break;
                }
            }
            let _ = input.send(Input::StdinClosed).await;
        }
    };
    let resizing = async {
        if let Some(mut sizes) = sizes {
            while let Some(data) = sizes.receive().await {
                for size in data.split(|byte| *byte == b'\n').filter_map(resize) {
                    let _ = input.send(size).await;
                }
            }
        }
    };
    // Nothing more is opened; this tells when the client is gone.
    let leaving = async { while connection.accept().await.is_some() {} };
    let writing = async {
        while let Some(output) = output.recv().await {
            let sent = match output {
                Output::Stdout(data) => send(stdout.as_ref(), data).await,
                Output::Stderr(data) => send(stderr.as_ref(), data).await,
                Output::Status(status) => {
                    if let Some(status) = encode(&status, protocol.starts_with("v4")) {
                        let _ = send(error.as_ref(), status).await;
                    }
                    break;
                }
            };
            if sent.is_err() {
                return;
            }
        }
        for sender in [stdout, stderr, error].into_iter().flatten() {
            sender.finish().await;
        }
    };
    tokio::select! {
        () = writing => {}
        () = leaving => {}
        ((), (), ()) = async { tokio::join!(typing, resizing, std::future::pending()) } => {}
    }
    drop(rest);
    connection.close().await;
}

async fn send(sender: Option<&Sender>, data: bytes::Bytes) -> Result<(), kubelab_spdy::connection::Closed> {
    match sender {
        Some(sender) => sender.send(data).await,
        None => Ok(()),
    }
}

async fn open(connection: &mut Connection, count: usize) -> Option<Streams> {
    let mut streams = Streams::default();
    for _ in 0..count {
        let stream = connection.accept().await?;
        let (receiver, sender) = (stream.receiver, stream.sender);
        match stream.headers.get("streamtype")? {
            "stdin" => {
                streams.stdin = Some(receiver);
                streams.rest.push((None, Some(sender)));
            }
            "resize" => {
                streams.resize = Some(receiver);
                streams.rest.push((None, Some(sender)));
            }
            "stdout" => {
                streams.stdout = Some(sender);
                streams.rest.push((Some(receiver), None));
            }
            "stderr" => {
                streams.stderr = Some(sender);
                streams.rest.push((Some(receiver), None));
            }
            "error" => {
                streams.error = Some(sender);
                streams.rest.push((Some(receiver), None));
            }
            _ => return None,
        }
    }
    Some(streams)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_streams_are_awaited_as_clients_open() {
        let all = Wants { stdin: true, stdout: true, stderr: true, tty: false };
        for (protocol, wants, count) in [
            ("v4.channel.k8s.io", all, 4),
            ("v4.channel.k8s.io", Wants { tty: true, ..all }, 4),
            ("v2.channel.k8s.io", Wants { tty: true, ..all }, 3),
            ("v4.channel.k8s.io", Wants { stdout: true, ..Wants::default() }, 2),
        ] {
            assert_eq!(expected(protocol, wants), count, "{protocol} {wants:?}");
        }
    }
}
