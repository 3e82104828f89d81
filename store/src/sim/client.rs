//! A client that writes and reads, one operation at a time.

use bytes::Bytes;

use super::{checker::Checker, rng::Rng};
use crate::{
    Key, Precondition, Revision, Transaction, Write,
    command::{self, internal_origin},
    consensus::Input,
};

const NAMES: u64 = 6;

/// One client.
pub(super) struct Client {
    id: usize,
    /// The operation under way.
    pub(super) token: Option<u64>,
    began: u64,
    /// Some revision that it has heard of.
    heard: Revision,
}

fn key(rng: &mut Rng) -> Key {
    let topic = if rng.percent(70) { "pods" } else { "nodes" };
    Key::new(topic, format!("{}/{}", rng.range(0, 2), rng.range(0, NAMES)))
}

impl Client {
    pub(super) fn new(id: usize) -> Self {
        Self { id, token: None, began: 0, heard: 0 }
    }

    /// Whether it rests: nothing is under way, and it began none since.
    pub(super) fn is_done(&self, calm_at: u64) -> bool {
        // One operation in calm shows that the group works again.
        self.token.is_none() && self.began > calm_at
    }

    pub(super) fn learn(&mut self, revision: Revision) {
        self.heard = revision;
    }

    /// The next operation.
    pub(super) fn next(
        &mut self,
        token: u64,
        known: Revision,
        now: u64,
        rng: &mut Rng,
        checker: &mut Checker,
    ) -> Input {
        self.token = Some(token);
        self.began = now;
        if rng.percent(30) {
            return Input::Read { token };
        }
        let first = key(rng);
        let preconditions = match rng.range(0, 6) {
            0 => vec![Precondition::Absent(first.clone())],
            1 => vec![Precondition::Exists(first.clone())],
            2 => vec![Precondition::Modified(first.clone(), self.heard)],
            3 => vec![Precondition::Modified(first.clone(), known)],
            _ => vec![],
        };
        let mut writes = vec![self.write(first, token, now, rng)];
        while rng.percent(25) {
            let key = key(rng);
            writes.push(self.write(key, token, now, rng));
        }
        let origin = internal_origin("update", &token.to_string(), now * 1000);
        let transaction = Transaction { preconditions, writes, origin };
        checker.invoked(token, transaction.clone());
        Input::Propose { token, body: command::encode(&transaction) }
    }

    fn write(&self, key: Key, token: u64, now: u64, rng: &mut Rng) -> Write {
        if rng.percent(20) {
            return Write::Delete { key };
        }
        Write::Put {
            key,
            value: Bytes::from(format!("-{}-{token}", self.id)),
            stamp: Some(0),
            index: rng.percent(60).then(|| format!("node-{}", rng.range(0, 3)).into()),
            expires_ms: rng.percent(10).then(|| now + rng.range(100, 2000)),
        }
    }
}
