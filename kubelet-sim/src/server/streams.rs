//! Logs, exec and attach over gRPC.

use std::{pin::Pin, sync::Arc};

use bytes::Bytes;
use futures::{Stream, StreamExt, stream};
use jiff::Timestamp;
use kubelab_proto::node::{
    ExecReply, ExecRequest, ExecStart, LogsReply, LogsRequest, exec_reply::Step as Reply, exec_request::Step,
};
use tokio::{
    sync::{broadcast, mpsc},
    task::AbortHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use crate::{
    runtime::{NoContainer, Runtime, log::Wanted},
    shell::{
        session::Session,
        streams::{Chunk, Fd, Output},
    },
};

/// Messages that wait to be sent before their writer waits.
const WAITING: usize = 16;

/// The lines of a log.
pub type Logs = Pin<Box<dyn Stream<Item = Result<LogsReply, Status>> + Send>>;

/// What a program writes, and how it ends.
pub type Replies = Pin<Box<dyn Stream<Item = Result<ExecReply, Status>> + Send>>;

/// The lines of one run.
pub fn logs(runtime: &dyn Runtime, request: LogsRequest) -> Result<Logs, Status> {
    let wanted = Wanted {
        since: request.since_us.and_then(|since| Timestamp::from_microsecond(since).ok()),
        tail: request.tail_lines,
        limit: request.limit_bytes,
        timestamps: request.timestamps,
        stream: match request.stream.as_str() {
            "stdout" => Some(Fd::Stdout),
            "stderr" => Some(Fd::Stderr),
            _ => None,
        },
    };
    let lines = runtime.logs(&request.pod_uid, &request.container_id, wanted, request.follow);
    let lines = lines.ok_or_else(|| {
        let id = &request.container_id;
        Status::not_found(format!("unable to retrieve container logs for kubelab://{id}"))
    })?;
    Ok(Box::pin(ReceiverStream::new(lines).map(|data| Ok(LogsReply { data }))))
}

/// The message that names the container.
pub async fn first(mut sent: Streaming<ExecRequest>) -> Result<(ExecStart, Streaming<ExecRequest>), Status> {
    match sent.message().await?.and_then(|message| message.step) {
        Some(Step::Start(start)) => Ok((start, sent)),
        _ => Err(Status::invalid_argument("the first message names a container")),
    }
}

fn not_found(error: NoContainer) -> Status {
    Status::failed_precondition(error.to_string())
}

/// Runs a program beside a container's own.
pub fn exec(runtime: &dyn Runtime, start: ExecStart, sent: Streaming<ExecRequest>) -> Result<Replies, Status> {
    let (out, chunks) = mpsc::channel(WAITING);
    let (input, stdin) = mpsc::channel(WAITING);
    let session = Session {
        command: start.command,
        tty: start.tty,
        stdin: start.stdin.then_some(stdin),
        stdout: if start.stdout { Output::Pipe(out.clone(), Fd::Stdout) } else { Output::Null },
        stderr: if start.stderr { Output::Pipe(out, Fd::Stderr) } else { Output::Null },
    };
    let run = runtime.exec(&start.pod_uid, &start.container, session).map_err(not_found)?;
    let feeding = Task(tokio::spawn(feed(sent, Some(input), None)).abort_handle());
    // Whatever is left to be shown comes before the status: the run drops its outputs first.
    let status = stream::once(run).map(|status| Some(Reply::ExitCode(status)));
    let output = ReceiverStream::new(chunks).map(|chunk| Some(reply(chunk)));
    let replies = Ordered { output: Box::pin(output), status: Box::pin(status), ended: None, _feeding: feeding };
    Ok(Box::pin(replies.map(|step| Ok(ExecReply { step }))))
}

/// Output as it comes, while the program runs; its status last.
struct Ordered<A, B> {
    output: Pin<Box<A>>,
    status: Pin<Box<B>>,
    ended: Option<Option<Reply>>,
    _feeding: Task,
}

impl<A, B> Stream for Ordered<A, B>
where
    A: Stream<Item = Option<Reply>>,
    B: Stream<Item = Option<Reply>>,
{
    type Item = Option<Reply>;

    fn poll_next(
        mut self: Pin<&mut Self>,
        context: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Option<Reply>>> {
        use std::task::Poll;
        let this = &mut *self;
        // Polling the status is what runs the program.
        if this.ended.is_none()
            && let Poll::Ready(ended) = this.status.as_mut().poll_next(context)
        {
            this.ended = ended;
        }
        match this.output.as_mut().poll_next(context) {
            Poll::Ready(Some(chunk)) => Poll::Ready(Some(chunk)),
            Poll::Ready(None) => match this.ended.take() {
                Some(ended) if ended.is_some() => {
                    this.ended = Some(None);
                    Poll::Ready(Some(ended))
                }
                Some(_) => {
                    this.ended = Some(None);
                    Poll::Ready(None)
                }
                None => Poll::Pending,
            },
            Poll::Pending => Poll::Pending,
        }
    }
}

fn reply(chunk: Chunk) -> Reply {
    match chunk.fd {
        Fd::Stdout => Reply::Stdout(chunk.data),
        Fd::Stderr => Reply::Stderr(chunk.data),
    }
}

/// Ends with its handle.
struct Task(AbortHandle);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Brings what is sent to a program's input. `held` is let go of when there is no more.
async fn feed(mut sent: Streaming<ExecRequest>, mut input: Option<mpsc::Sender<Bytes>>, held: Option<Box<dyn Send>>) {
    let mut held = held;
    while let Ok(Some(message)) = sent.message().await {
        match message.step {
            Some(Step::Stdin(data)) => {
                if let Some(to) = &input
                    && !data.is_empty()
                    && to.send(data).await.is_err()
                {
                    input = None;
                }
            }
            Some(Step::StdinClosed(_)) => {
                input = None;
                held = None;
            }
            // Programs here draw nothing that depends on the terminal's size.
            _ => {}
        }
    }
    drop(held);
}

/// Connects to a container's own program.
pub fn attach(runtime: &Arc<dyn Runtime>, start: ExecStart, sent: Streaming<ExecRequest>) -> Result<Replies, Status> {
    let attached = runtime.attach(&start.pod_uid, &start.container).map_err(not_found)?;
    let input = attached.stdin.filter(|_| start.stdin);
    let left = {
        let (runtime, typed) = (Arc::clone(runtime), input.is_some());
        let (uid, name) = (start.pod_uid.clone(), start.container.clone());
        move || {
            if typed {
                runtime.detach(&uid, &name);
            }
        }
    };
    // However the task ends, by the client's end or by being cut short, whoever was attached has left.
    let leaving: Box<dyn Send> = Box::new(Leaving(Some(left)));
    let feeding = Task(tokio::spawn(feed(sent, input, Some(leaving))).abort_handle());
    let wants = move |fd| match fd {
        Fd::Stdout => start.stdout,
        Fd::Stderr => start.stderr || start.tty,
    };
    let state = (attached.output, feeding, false);
    let replies = stream::unfold(state, move |(mut output, feeding, ended)| async move {
        if ended {
            return None;
        }
        loop {
            match output.recv().await {
                Ok(chunk) if wants(chunk.fd) => {
                    return Some((Ok(ExecReply { step: Some(reply(chunk)) }), (output, feeding, false)));
                }
                // Who is too slow misses some, as with a real runtime.
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => {
                    return Some((Ok(ExecReply { step: Some(Reply::ExitCode(0)) }), (output, feeding, true)));
                }
            }
        }
    });
    Ok(Box::pin(replies))
}

/// Calls back even if the task that holds it is cut short.
struct Leaving<F: FnOnce()>(Option<F>);

impl<F: FnOnce()> Drop for Leaving<F> {
    fn drop(&mut self) {
        if let Some(left) = self.0.take() {
            left();
        }
    }
}
