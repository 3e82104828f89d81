//! A program's streams, neutral to the protocol that the client speaks.

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Status, StatusCause, StatusDetails};
use kubelab_api::Error;
use tokio::sync::mpsc;

/// Messages that wait in each direction.
const WAITING: usize = 8;

/// Which streams a client wants. Source: `PodExecOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Wants {
    pub stdin: bool,
    pub stdout: bool,
    pub stderr: bool,
    pub tty: bool,
}

/// What a client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// Bytes for the program.
    Stdin(Bytes),
    /// No more of them.
    StdinClosed,
    /// Its terminal has this size now.
    Resize {
        /// In columns.
        width: u16,
        /// In rows.
        height: u16,
    },
}

/// What a client gets.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// What the program wrote.
    Stdout(Bytes),
    /// What it wrote as errors.
    Stderr(Bytes),
    /// How it ended: the last.
    Status(Box<Status>),
}

/// The server's ends of both.
pub struct Session {
    /// From the client; ends with it.
    pub input: mpsc::Receiver<Input>,
    /// To the client; fails when it is gone.
    pub output: mpsc::Sender<Output>,
}

/// The protocol's ends of both.
pub struct Wire {
    /// To the server.
    pub input: mpsc::Sender<Input>,
    /// From the server.
    pub output: mpsc::Receiver<Output>,
}

/// A session, and what carries it.
pub fn pair() -> (Session, Wire) {
    let (input, from_client) = mpsc::channel(WAITING);
    let (to_client, output) = mpsc::channel(WAITING);
    (Session { input: from_client, output: to_client }, Wire { input, output })
}

/// The size in a resize message. Source: `TerminalSize` in `k8s.io/client-go/tools/remotecommand`.
pub fn resize(json: &[u8]) -> Option<Input> {
    #[derive(serde::Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Size {
        width: u16,
        height: u16,
    }
    let Size { width, height } = serde_json::from_slice(json).ok()?;
    Some(Input::Resize { width, height })
}

/// How a program that exited with this code is told of. Source: `writeStatus` in `k8s.io/kubelet/pkg/cri/streaming`.
pub fn exited(command: &[String], code: i32) -> Box<Status> {
    if code == 0 {
        return Box::new(Status { status: Some("Success".to_owned()), ..Status::default() });
    }
    let message = format!(
        "command terminated with non-zero exit code: error executing command [{}], exit code {code}",
        command.join(" ")
    );
    let cause =
        StatusCause { reason: Some("ExitCode".to_owned()), message: Some(code.to_string()), ..Default::default() };
    Box::new(Status {
        status: Some("Failure".to_owned()),
        reason: Some("NonZeroExitCode".to_owned()),
        details: Some(StatusDetails { causes: Some(vec![cause]), ..StatusDetails::default() }),
        message: Some(message),
        ..Status::default()
    })
}

/// How a failure of ours is told of.
pub fn failed(cause: impl std::fmt::Display) -> Box<Status> {
    Box::new(Error::internal(cause).to_status())
}

/// A status as the error stream carries it: JSON since v4, a text before. `None`: nothing to say.
pub fn encode(status: &Status, as_json: bool) -> Option<Bytes> {
    if as_json {
        return serde_json::to_vec(status).ok().map(Bytes::from);
    }
    let failed = status.status.as_deref() != Some("Success");
    failed.then(|| {
        let message = status.message.as_deref().unwrap_or_default();
        Bytes::from(format!("error executing remote command: {message}"))
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_exit_code_is_a_cause() {
        let json = |status: &Status| serde_json::from_slice::<Value>(&encode(status, true).unwrap()).unwrap();
        let ended = json(&exited(&["false".into()], 1));
        assert_eq!(ended["reason"], "NonZeroExitCode");
        assert_eq!(ended["details"]["causes"], json!([{"reason": "ExitCode", "message": "1"}]));
        assert_eq!(
            ended["message"],
            "command terminated with non-zero exit code: error executing command [false], exit code 1"
        );
        assert_eq!(json(&exited(&[], 0))["status"], "Success");
        assert_eq!(encode(&exited(&[], 0), false), None);
        assert!(encode(&failed("x"), false).unwrap().starts_with(b"error executing remote command: Internal error"));
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!(resize(br#"{"Width":80,"Height":24}"#), Some(Input::Resize { width: 80, height: 24 }));
        assert_eq!(resize(b"{}"), None);
    }
}
