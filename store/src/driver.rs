//! The thread that turns the crank: it brings time, requests, messages and the disk's reports to the node, and carries
//! out what the node wants.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::{
    Error, Member, Outcome,
    consensus::{Input, Node, Output},
    disk::{DirFiles, Report, Writer, save},
    peer::{Parcel, Peers},
    snapshot::Frozen,
    view::View,
};

/// One tick of raft's clock.
pub(crate) const TICK: Duration = Duration::from_millis(50);
/// Ticks between looks for keys whose time has come.
const EXPIRY: u64 = 20;
/// Requests that wait for the thread.
const QUEUE: usize = 8 * 1024;
/// Requests taken at a time.
const BATCH: usize = 1024;

/// What the thread is asked.
pub(crate) enum Request {
    Input(Box<Input>),
    Commit {
        body: Bytes,
        reply: oneshot::Sender<Result<Outcome, Error>>,
    },
    Read {
        reply: oneshot::Sender<Result<(), Error>>,
    },
    Freeze {
        reply: oneshot::Sender<Arc<Frozen>>,
    },
    /// Pretends that there is no way to or from these peers.
    Cut(BTreeSet<u64>),
    Fatal(String),
    Stop,
}

/// The way to the thread.
#[derive(Clone)]
pub(crate) struct Inbox(SyncSender<Request>);

impl Inbox {
    pub(crate) fn new() -> (Self, Receiver<Request>) {
        let (sender, receiver) = sync_channel(QUEUE);
        (Self(sender), receiver)
    }

    /// A client's request.
    pub(crate) fn request(&self, request: Request) -> Result<(), Error> {
        self.0.try_send(request).map_err(|error| match error {
            TrySendError::Full(_) => Error::Unavailable("too many requests are waiting".into()),
            TrySendError::Disconnected(_) => Error::Stopped,
        })
    }

    /// A peer's message; lost if there is no room.
    pub(crate) fn message(&self, input: Input) {
        let _ = self.0.try_send(Request::Input(Box::new(input)));
    }

    /// A report of the network that should not be lost, though the node lives on if it is.
    pub(crate) fn report(&self, input: Input) {
        let _ = self.0.try_send(Request::Input(Box::new(input)));
    }

    /// What must not be lost; waits for room. Never called by the driver's own thread.
    pub(crate) fn deliver(&self, request: Request) {
        let _ = self.0.send(request);
    }

    /// The disk's reports.
    pub(crate) fn disk(&self, report: Report) {
        self.deliver(match report {
            Report::Persisted { number } => Request::Input(Box::new(Input::Persisted { number })),
            Report::Full(full) => Request::Input(Box::new(Input::DiskFull(full))),
            Report::Failed(error) => Request::Fatal(error.to_string()),
        });
    }
}

/// What the thread works with.
pub(crate) struct Driver {
    pub(crate) node: Node,
    pub(crate) view: Arc<View>,
    pub(crate) writer: Writer,
    pub(crate) files: DirFiles,
    pub(crate) peers: Peers,
    pub(crate) inbox: Inbox,
    pub(crate) member: watch::Sender<Member>,
    pub(crate) now_ms: fn() -> u64,
    pub(crate) on_fatal: fn(&str),
    pub(crate) waiting: Waiting,
}

/// Who waits for an answer, by token.
#[derive(Default)]
pub(crate) struct Waiting {
    newest: u64,
    commits: HashMap<u64, oneshot::Sender<Result<Outcome, Error>>>,
    reads: HashMap<u64, oneshot::Sender<Result<(), Error>>>,
}

enum Flow {
    On,
    Stop,
}

impl Driver {
    /// Runs until told to stop.
    pub(crate) fn run(mut self, requests: &Receiver<Request>) {
        let mut inputs = Vec::new();
        let mut next_tick = Instant::now() + TICK;
        let mut ticks = 0;
        loop {
            let wait = next_tick.saturating_duration_since(Instant::now());
            let mut flow = match requests.recv_timeout(wait) {
                Ok(request) => self.take(request, &mut inputs),
                Err(RecvTimeoutError::Timeout) => Flow::On,
                Err(RecvTimeoutError::Disconnected) => Flow::Stop,
            };
            while let (Flow::On, true) = (&flow, inputs.len() < BATCH) {
                match requests.try_recv() {
                    Ok(request) => flow = self.take(request, &mut inputs),
                    Err(_) => break,
                }
            }
            if let Flow::Stop = flow {
                return self.view.stop();
            }
            let now = Instant::now();
            if now >= next_tick {
                ticks += 1;
                inputs.push(Input::Tick);
                if ticks % EXPIRY == 0 {
                    inputs.push(Input::Expire { now_ms: (self.now_ms)() });
                }
                // A process that was stopped for a while does not make up for the ticks that it missed.
                next_tick = (next_tick + TICK).max(now);
            }
            for output in self.node.step(inputs.drain(..)) {
                if let Flow::Stop = self.carry_out(output) {
                    return self.view.stop();
                }
            }
        }
    }

    fn take(&mut self, request: Request, inputs: &mut Vec<Input>) -> Flow {
        match request {
            Request::Input(input) if self.is_cut(&input) => {}
            Request::Input(input) => inputs.push(*input),
            Request::Freeze { reply } => drop(reply.send(self.node.freeze())),
            Request::Cut(peers) => self.peers.cut = peers,
            Request::Commit { body, reply } => {
                let token = self.waiting.token();
                self.waiting.commits.insert(token, reply);
                inputs.push(Input::Propose { token, body });
            }
            Request::Read { reply } => {
                let token = self.waiting.token();
                self.waiting.reads.insert(token, reply);
                inputs.push(Input::Read { token });
            }
            Request::Fatal(reason) => {
                (self.on_fatal)(&reason);
                return Flow::Stop;
            }
            Request::Stop => return Flow::Stop,
        }
        Flow::On
    }

    fn carry_out(&mut self, output: Output) -> Flow {
        match output {
            Output::Send(message) => {
                let to = message.to;
                self.peers.send(to, Parcel::Message(message));
            }
            Output::SendSnapshot { message, frozen } => {
                let to = message.to;
                if !self.peers.send(to, Parcel::Snapshot { message, frozen }) {
                    self.inbox.message(Input::SnapshotSent { to, ok: false });
                }
            }
            Output::Persist(persist) => self.writer.persist(persist),
            Output::Save(frozen) => self.save(frozen),
            Output::Compact { index } => self.writer.compact(index),
            Output::Answer { token, result } => {
                if let Some(reply) = self.waiting.commits.remove(&token) {
                    let _ = reply.send(result.map_err(|refusal| Error::Unavailable(refusal.to_string())));
                }
            }
            Output::Readable { token, result } => {
                if let Some(reply) = self.waiting.reads.remove(&token) {
                    let _ = reply.send(result.map_err(|refusal| Error::Unavailable(refusal.to_string())));
                }
            }
            Output::Joined { id, address } => self.peers.join(id, address),
            Output::Left { id } => self.peers.leave(id),
            Output::Member(member) => {
                self.member.send_replace(member);
            }
            Output::Fatal(reason) => {
                (self.on_fatal)(&reason);
                return Flow::Stop;
            }
        }
        Flow::On
    }

    fn is_cut(&self, input: &Input) -> bool {
        match input {
            Input::Message(message) | Input::Snapshot { message, .. } => self.peers.cut.contains(&message.from),
            _ => false,
        }
    }

    /// Writes a snapshot on a thread of its own: it may take long, and the log goes on meanwhile.
    fn save(&self, frozen: Arc<Frozen>) {
        let (mut files, inbox) = (self.files.clone(), self.inbox.clone());
        let index = frozen.index;
        let spawned = thread::Builder::new().name("store-snapshot".into()).spawn(move || {
            let result = save(&mut files, &frozen);
            if let Err(error) = &result {
                tracing::error!(index, %error, "could not save a snapshot; the log is kept");
            }
            inbox.deliver(Request::Input(Box::new(Input::Saved { index, written: result.ok() })));
        });
        if spawned.is_err() {
            self.inbox.message(Input::Saved { index, written: None });
        }
    }
}

impl Waiting {
    fn token(&mut self) -> u64 {
        self.newest += 1;
        self.newest
    }
}
