#![allow(clippy::unwrap_used)]

use std::{path::Path, sync::mpsc::Receiver, time::Duration};

use raft::eraftpb::{Message, MessageType};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::{net::TcpListener, runtime::Handle, sync::watch, task::spawn_blocking};

use super::{Parcel, PeerTls, Route, Sender, Tls, serve};
use crate::{
    Entry, Key, State,
    consensus::Input,
    driver::{Inbox, Request},
    snapshot::Frozen,
};

/// Member 1 sends, member 2 receives.
struct Link {
    sender: Sender,
    sent: Receiver<Request>,
    received: Option<Receiver<Request>>,
    _stop: watch::Sender<bool>,
}

async fn link(client: Option<Tls>, server: Option<Tls>) -> Link {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (inbox, received) = Inbox::new();
    let (stop, stopping) = watch::channel(false);
    tokio::spawn(serve(2, inbox, listener, server, stopping));
    let (inbox, sent) = Inbox::new();
    let route = Route { from: 1, epoch: 7, to: 2, address, tls: client };
    let sender = Sender::spawn(route, inbox, &Handle::current());
    Link { sender, sent, received: Some(received), _stop: stop }
}

impl Link {
    /// What the receiver gets next.
    async fn next(&mut self) -> Input {
        let received = self.received.take().unwrap();
        let (input, received) = spawn_blocking(move || {
            let request = received.recv_timeout(Duration::from_secs(10));
            (request, received)
        })
        .await
        .unwrap();
        self.received = Some(received);
        let Ok(Request::Input(input)) = input else { panic!("nothing arrives") };
        *input
    }
}

fn is(request: &Request, wanted: impl Fn(&Input) -> bool) -> bool {
    matches!(request, Request::Input(input) if wanted(input))
}

fn message(index: u64) -> Message {
    Message { msg_type: MessageType::MsgAppendResponse, from: 1, to: 2, index, ..Message::default() }
}

fn certificates(folder: &Path) -> PeerTls {
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let member = CertificateParams::new(vec!["127.0.0.1".to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let write = |name: &str, content: String| {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        path
    };
    PeerTls {
        ca: write("ca.pem", authority.pem()),
        cert: write("cert.pem", member.pem()),
        key: write("key.pem", key.serialize_pem()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_in_order() {
    let mut link = link(None, None).await;
    for index in 1..=100 {
        assert!(link.sender.send(Parcel::Message(message(index))));
    }
    for index in 1..=100 {
        let Input::Message(message) = link.next().await else { panic!("not a message") };
        assert_eq!(message.index, index);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutual_tls_lets_members_in_and_nobody_else() {
    let (ours, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let server = Tls::read(&certificates(ours.path())).unwrap();
    let mut friends = link(Some(server.clone()), Some(server.clone())).await;
    friends.sender.send(Parcel::Message(message(1)));
    assert!(matches!(friends.next().await, Input::Message(message) if message.index == 1));

    let stranger = Tls::read(&certificates(theirs.path())).unwrap();
    for client in [Some(stranger), None] {
        let link = link(client, Some(server.clone())).await;
        link.sender.send(Parcel::Message(message(1)));
        // Without TLS the connection is made, and lost with the first word; either way it ends as unreachable.
        let unreachable = spawn_blocking(move || {
            let mut sent = link.sent.iter();
            let found = sent.any(|request| is(&request, |input| matches!(input, Input::Unreachable { to: 2 })));
            (found, link.received.unwrap().try_recv().is_err())
        });
        assert_eq!(unreachable.await.unwrap(), (true, true));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_larger_than_a_message_arrives_whole() {
    let mut state = State::default();
    for number in 0..3000 {
        let entry = Entry {
            value: vec![number as u8; 3000].into(),
            stamp: None,
            created: 1,
            modified: 1,
            index: None,
            expires_ms: None,
        };
        state.insert(Key::new("pods", format!("p{number}")), entry.into());
    }
    state.advance(1);
    let frozen = Frozen { index: 9, term: 2, floor: 1, state, ..Frozen::default() };
    let mut link = link(None, None).await;
    let mut snapshot = Message { msg_type: MessageType::MsgSnapshot, ..message(0) };
    (snapshot.mut_snapshot().mut_metadata().index, snapshot.mut_snapshot().mut_metadata().term) = (9, 2);
    let hash = frozen.state.hash();
    link.sender.send(Parcel::Snapshot { message: snapshot, frozen: frozen.into() });
    link.sender.send(Parcel::Message(message(1)));
    let Input::Snapshot { message, frozen } = link.next().await else { panic!("not a snapshot") };
    assert_eq!((message.get_snapshot().get_metadata().index, frozen.index, frozen.term), (9, 9, 2));
    assert_eq!(frozen.state.hash(), hash);
    assert!(matches!(link.next().await, Input::Message(message) if message.index == 1));
    let reported = |request| is(&request, |input| matches!(input, Input::SnapshotSent { to: 2, ok: true }));
    assert!(link.sent.try_iter().any(reported), "success is reported to the leader");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_can_not_be_sent_is_reported() {
    let link = link(None, None).await;
    let route = Route { from: 1, epoch: 7, to: 3, address: "127.0.0.1:1".into(), tls: None };
    let (inbox, sent) = Inbox::new();
    let sender = Sender::spawn(route, inbox, &Handle::current());
    let snapshot = Message { msg_type: MessageType::MsgSnapshot, to: 3, ..message(0) };
    sender.send(Parcel::Snapshot { message: snapshot, frozen: Frozen::default().into() });
    let reported = spawn_blocking(move || {
        sent.iter().any(|request| is(&request, |input| matches!(input, Input::SnapshotSent { to: 3, ok: false })))
    });
    assert!(reported.await.unwrap());
    drop(link);
}
