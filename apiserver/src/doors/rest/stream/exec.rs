//! `pods/{name}/exec` and `pods/{name}/attach`. Source: `pkg/registry/core/pod/rest/subresources.go`.

use futures::stream;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use kubelab_api::Error;
use kubelab_proto::node::{
    ExecReply, ExecRequest, ExecStart, TerminalSize, exec_reply::Step as Reply, exec_request::Step,
    node_client::NodeClient,
};
use tokio::sync::mpsc;
use tonic::{Code, Status, Streaming, transport::Channel};

use super::{
    super::{answer, query::Query},
    Stream, container,
    session::{Input, Output, Session, Wants, exited, failed, pair},
    spdy, uid,
    upgrade::{self, Kind},
    websocket,
};
use crate::{doors::Body, nodes::unreachable};

/// Messages on their way to the node.
const WAITING: usize = 8;

/// What is asked of a program.
fn start(query: &Query, is_attach: bool) -> (String, ExecStart) {
    let flag = |name: &str| query.flag(name);
    let command = query.all("command").into_iter().map(str::to_owned).collect();
    let start = ExecStart {
        command: if is_attach { Vec::new() } else { command },
        stdin: flag("stdin").unwrap_or(false),
        stdout: flag("stdout").unwrap_or(false),
        stderr: flag("stderr").unwrap_or(false),
        tty: flag("tty").unwrap_or(false),
        ..ExecStart::default()
    };
    (query.get("container").unwrap_or_default().to_owned(), start)
}

/// Answers by leaving HTTP.
pub async fn serve(stream: Stream, request: Request<Incoming>) -> Result<Response<Body>, Error> {
    let is_attach = stream.connect.subresource == "attach";
    let (container, mut start) = start(&stream.query, is_attach);
    let pod = stream.pod().await?;
    start.container = container::choose(&pod, &container)?;
    start.pod_uid = uid(&pod);
    let node = stream.node_of(&pod).await?;
    let kind = upgrade::kind(request.headers())?;
    if !start.stdin && !start.stdout && !start.stderr {
        return Err(Error::bad_request("you must specify at least 1 of stdin, stdout, stderr"));
    }
    if !is_attach && start.command.is_empty() {
        return Err(Error::bad_request("you must specify at least one command for the container"));
    }
    let client = stream.doors.nodes.client(&node)?;
    let place = stream.doors.nodes.enter()?;
    let wants = Wants { stdin: start.stdin, stdout: start.stdout, stderr: start.stderr, tty: start.tty };
    let command = start.command.clone();
    let asked = ask(client, start, is_attach).await;
    // Without streams to tell of it there, a SPDY client hears of a refusal before it leaves HTTP.
    let (asked, kind) = match (asked, kind) {
        (Err(refusal), Kind::Spdy) => {
            return Ok(answer::text(StatusCode::INTERNAL_SERVER_ERROR, refused(&refusal)));
        }
        asked => asked,
    };
    let served: &[&str] = if kind == Kind::Spdy { &spdy::PROTOCOLS } else { &websocket::PROTOCOLS };
    let upgrade = upgrade::accept(kind, request, served)?;
    let shutdown = stream.doors.shutdown.clone();
    tokio::spawn(async move {
        let Ok(upgraded) = upgrade.connection.await else { return };
        let (session, wire) = pair();
        let carrying = async {
            match kind {
                Kind::Spdy => spdy::carry(upgraded, &upgrade.protocol, wants, wire).await,
                Kind::WebSocket => {
                    websocket::carry(websocket::open(upgraded).await, &upgrade.protocol, wants, wire).await;
                }
            }
        };
        let running = async {
            match asked {
                Ok((requests, replies)) => bridge(session, &command, requests, replies).await,
                Err(refusal) => {
                    let status = failed(format!("unable to upgrade connection: {}", refused(&refusal)));
                    let _ = session.output.send(Output::Status(status)).await;
                }
            }
        };
        tokio::select! {
            // Once the program has ended, what it wrote is still carried to the client.
            ((), ()) = async { tokio::join!(carrying, running) } => {}
            () = shutdown.cancelled() => {}
        }
        drop(place);
    });
    Ok(upgrade.response)
}

/// A node's refusal, in the kubelet's words.
fn refused(status: &Status) -> String {
    match status.code() {
        Code::FailedPrecondition => status.message().to_owned(),
        _ => format!("error dialing backend: {}", unreachable(status)),
    }
}

type Asked = (mpsc::Sender<ExecRequest>, Streaming<ExecReply>);

/// Asks the node for the program.
async fn ask(mut client: NodeClient<Channel>, start: ExecStart, is_attach: bool) -> Result<Asked, Status> {
    let (send, requests) = mpsc::channel(WAITING);
    // The channel is empty and the receiver is here.
    let _ = send.try_send(ExecRequest { step: Some(Step::Start(start)) });
    let requests =
        stream::unfold(requests, async |mut requests: mpsc::Receiver<_>| Some((requests.recv().await?, requests)));
    let requests = Box::pin(requests);
    let replies = if is_attach { client.attach(requests).await? } else { client.exec(requests).await? };
    Ok((send, replies.into_inner()))
}

/// Carries between the client and the node, until the program ends or the client is gone.
async fn bridge(
    session: Session,
    command: &[String],
    requests: mpsc::Sender<ExecRequest>,
    mut replies: Streaming<ExecReply>,
) {
    let Session { mut input, output } = session;
    let sending = async {
        while let Some(next) = input.recv().await {
            let step = match next {
                Input::Stdin(data) => Step::Stdin(data),
                Input::StdinClosed => Step::StdinClosed(true),
                Input::Resize { width, height } => {
                    Step::Resize(TerminalSize { width: width.into(), height: height.into() })
                }
            };
            if requests.send(ExecRequest { step: Some(step) }).await.is_err() {
                break;
            }
        }
        // The program may go on without input; it ends with the request, when the client is gone.
        output.closed().await;
    };
    let receiving = async {
        loop {
            let next = match replies.message().await {
                Ok(Some(ExecReply { step: Some(Reply::Stdout(data)) })) => Output::Stdout(data),
                Ok(Some(ExecReply { step: Some(Reply::Stderr(data)) })) => Output::Stderr(data),
                Ok(Some(ExecReply { step: Some(Reply::ExitCode(code)) })) => Output::Status(exited(command, code)),
                Ok(Some(ExecReply { step: None })) => continue,
                Ok(None) => Output::Status(failed("the node ended the stream")),
                Err(status) => Output::Status(failed(format!("error dialing backend: {}", unreachable(&status)))),
            };
            let last = matches!(next, Output::Status(_));
            if output.send(next).await.is_err() || last {
                return;
            }
        }
    };
    tokio::select! {
        () = receiving => {}
        () = sending => {}
    }
}
