//! The handle that the apiserver holds.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    sync::Arc,
    thread,
    time::Duration,
};

use raft::eraftpb::ConfState;
use tokio::{
    net::TcpListener,
    sync::{Mutex, oneshot, watch},
    task::spawn_blocking,
    time::timeout,
};

use crate::{
    Cursor, Error, Journal, Outcome, Revision, Scope, State, Transaction, command,
    consensus::{Config, Input, Node},
    disk::{Beginning, DirFiles, Writer, export, import, recover},
    driver::{Driver, Inbox, Request, Waiting},
    members,
    options::Options,
    peer::{Peers, Tls, serve},
    view::View,
};

/// The largest transaction; etcd's is 1.5 MiB, and a transaction may hold an object and a little more.
const TRANSACTION: usize = 2 << 20;
/// How long [`Store::at_least`] waits: as long as upstream's watch cache (`blockTimeout`).
const AT_LEAST: Duration = Duration::from_secs(3);

/// A change of members is proposed again after this,
const CHANGE_RETRY: Duration = Duration::from_millis(500);
/// so many times.
const CHANGE_TRIES: usize = 20;

/// What a member is within its raft group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Orders the writes.
    Leader,
    /// Follows a leader.
    Follower,
    /// Knows no leader.
    Candidate,
}

/// A member's own view of its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// This member.
    pub id: u64,
    /// Its place.
    pub role: Role,
    /// The leader that it knows; 0 for none.
    pub leader: u64,
    /// Its term.
    pub term: u64,
    /// The revision it has applied.
    pub revision: Revision,
    /// Who votes.
    pub voters: Vec<u64>,
    /// Who only follows, as new members do at first.
    pub learners: Vec<u64>,
    /// The alarm: this member's disk is full, so it refuses writes.
    pub disk_full: bool,
}

/// One member of the replicated store. Cheap to clone; it stops when the last clone is dropped.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    view: Arc<View>,
    inbox: Inbox,
    member: watch::Receiver<Member>,
    stop: watch::Sender<bool>,
    thread: Mutex<Option<thread::JoinHandle<()>>>,
}

impl Store {
    /// Starts a member: reads what its disk holds, listens for its peers, and begins to take part. Returns at once, with
    /// or without a leader.
    pub async fn open(options: Options) -> Result<Self, Error> {
        let disk = |error: &dyn std::fmt::Display| Error::Disk(format!("{}: {error}", options.data_dir.display()));
        let files = DirFiles::open(options.data_dir.clone()).map_err(|error| disk(&error))?;
        let founders = ConfState { voters: options.peers.keys().copied().collect(), ..ConfState::default() };
        let (wal, recovered) = {
            let (files, founders) = (files.clone(), founders.clone());
            let (join, restore) = (options.join, options.restore.clone());
            let reading = spawn_blocking(move || {
                let saved = restore.as_deref().map(import).transpose()?.unwrap_or_default();
                recover(files, if join { Beginning::Join } else { Beginning::Found(founders, Box::new(saved)) })
            });
            reading.await.map_err(|_| Error::Stopped)?.map_err(|error| disk(&error))?
        };
        let tls = options.tls.as_ref().map(Tls::read).transpose().map_err(|error| Error::Peers(error.to_string()))?;
        let listener = TcpListener::bind(options.peer_listen)
            .await
            .map_err(|error| Error::Peers(format!("listen on {}: {error}", options.peer_listen)))?;

        let epoch = rand::random();
        let config = Config {
            id: options.id,
            epoch,
            // 400 to 700 ms: half a dozen heartbeats may be lost, and a dead leader is replaced within a second.
            election: 8..14,
            heartbeat: 2,
            snapshot_entries: 10_000,
            snapshot_bytes: 8 << 20,
            snapshot_part: 2,
            keep: 1_000,
        };
        let view = Arc::new(View::new(options.history));
        let node = Node::new(config, recovered, Arc::clone(&view))?;
        let (inbox, requests) = Inbox::new();
        let runtime = tokio::runtime::Handle::current();
        let mut peers = Peers {
            id: options.id,
            epoch,
            tls: tls.clone(),
            inbox: inbox.clone(),
            runtime: runtime.clone(),
            senders: BTreeMap::new(),
            cut: BTreeSet::new(),
        };
        options.peers.iter().for_each(|(id, address)| peers.join(*id, address.clone()));
        let (stop, stopping) = watch::channel(false);
        let serving = serve(options.id, inbox.clone(), listener, tls, stopping);
        runtime.spawn(async move {
            if let Err(error) = serving.await {
                tracing::error!(%error, "no longer listening for peers");
            }
        });
        let unknown = Member {
            id: options.id,
            role: Role::Candidate,
            leader: 0,
            term: 0,
            revision: 0,
            voters: founders.voters,
            learners: Vec::new(),
            disk_full: false,
        };
        let (member_sender, member) = watch::channel(unknown);
        let reports = inbox.clone();
        let writer =
            Writer::spawn(wal, files.clone(), move |report| reports.disk(report)).map_err(|error| disk(&error))?;
        let driver = Driver {
            node,
            view: Arc::clone(&view),
            writer,
            files,
            peers,
            inbox: inbox.clone(),
            member: member_sender,
            now_ms: options.now_ms,
            on_fatal: options.on_fatal,
            waiting: Waiting::default(),
        };
        let thread = thread::Builder::new().name("store-raft".into()).spawn(move || driver.run(&requests));
        let thread = Mutex::new(Some(thread.map_err(|error| disk(&error))?));
        Ok(Self(Arc::new(Inner { view, inbox, member, stop, thread })))
    }

    /// Proposes a transaction and waits until it is committed and applied here.
    pub async fn commit(&self, transaction: Transaction) -> Result<Outcome, Error> {
        let body = command::encode(&transaction);
        if body.len() > TRANSACTION {
            return Err(Error::TooLarge { bytes: body.len(), limit: TRANSACTION });
        }
        let (reply, answer) = oneshot::channel();
        self.0.inbox.request(Request::Commit { body, reply })?;
        answer.await.map_err(|_| Error::Stopped)?
    }

    /// What this member has applied; may be behind the leader.
    pub fn local(&self) -> Arc<State> {
        self.0.view.state()
    }

    /// A state that holds every write acknowledged before this call (ReadIndex, batched with other callers').
    pub async fn latest(&self) -> Result<Arc<State>, Error> {
        let (reply, answer) = oneshot::channel();
        self.0.inbox.request(Request::Read { reply })?;
        answer.await.map_err(|_| Error::Stopped)??;
        Ok(self.local())
    }

    /// Waits until this member has applied `revision`, for three seconds at most; then [`Error::Future`].
    pub async fn at_least(&self, revision: Revision) -> Result<Arc<State>, Error> {
        let mut revisions = self.0.view.revisions();
        let reached = revisions.wait_for(|applied| *applied >= revision);
        if timeout(AT_LEAST, reached).await.is_err() {
            return Err(Error::Future { asked: revision, current: self.local().revision() });
        }
        Ok(self.local())
    }

    /// The state exactly at `revision`, rebuilt from the watch history.
    pub fn at(&self, revision: Revision) -> Result<Arc<State>, Error> {
        self.0.view.at(revision)
    }

    /// A cursor that yields what comes after `revision`. A revision that this member has not applied yet is
    /// [`Error::Future`]; wait for it with [`Store::at_least`].
    pub fn watch(&self, scope: Scope, after: Revision) -> Result<Cursor, Error> {
        Cursor::new(Arc::clone(&self.0.view), scope, after)
    }

    /// The remembered writes of one key, oldest first, and the write at one revision: what `why` is told from.
    pub fn journal(&self) -> Journal {
        Journal(Arc::clone(&self.0.view))
    }

    /// This member's view of its group, and every change of it. The revision in it may be a tick old.
    pub fn member(&self) -> watch::Receiver<Member> {
        self.0.member.clone()
    }

    /// Saves what this member has applied to a new file, from which a new group can begin ([`Options::restore`]).
    pub async fn save(&self, path: PathBuf) -> Result<Revision, Error> {
        let (reply, answer) = oneshot::channel();
        self.0.inbox.request(Request::Freeze { reply })?;
        let frozen = answer.await.map_err(|_| Error::Stopped)?;
        let revision = frozen.state.revision();
        let written =
            spawn_blocking(move || export(&path, &frozen).map_err(|error| format!("{}: {error}", path.display())));
        written.await.map_err(|_| Error::Stopped)?.map_err(Error::Disk)?;
        Ok(revision)
    }

    /// Adds, promotes or removes a member, and waits until this one sees it done. One change at a time.
    pub async fn change_members(&self, change: members::Change) -> Result<(), Error> {
        let mut member = self.member();
        // A change may be lost, or refused while another one is under way.
        for _ in 0..CHANGE_TRIES {
            self.0.inbox.request(Request::Input(Box::new(Input::Change(change.clone()))))?;
            match timeout(CHANGE_RETRY, member.wait_for(|member| change.is_done(member))).await {
                Ok(done) => return done.map(drop).map_err(|_| Error::Stopped),
                Err(_) => continue,
            }
        }
        Err(Error::Unavailable(format!("no quorum agreed to {change:?} in time")))
    }

    /// A fault put in on purpose: from now on, nothing is sent to these peers and nothing taken from them. Replaces the
    /// peers of the call before.
    pub fn cut(&self, peers: BTreeSet<u64>) -> Result<(), Error> {
        self.0.inbox.request(Request::Cut(peers))
    }

    /// Stops this member: ends its waits and watches, and returns once its disk is closed.
    pub async fn shutdown(&self) {
        self.0.stop();
        if let Some(thread) = self.0.thread.lock().await.take() {
            let _ = spawn_blocking(move || thread.join()).await;
        }
    }
}

impl Inner {
    fn stop(&self) {
        self.stop.send_replace(true);
        if self.inbox.request(Request::Stop).is_err() {
            let inbox = self.inbox.clone();
            thread::spawn(move || inbox.deliver(Request::Stop));
        }
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.stop();
    }
}
