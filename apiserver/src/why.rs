//! Why an object is as it is: its own writes, and what led to them, back to whoever began it.

use std::collections::BTreeMap;

use kubelab_store::{Journal, Key, Record, Revision};

/// The most writes of the object itself that are told; of more, the newest.
const OWN: usize = 256;

/// The most writes that are told in all.
const ALL: usize = 1024;

/// The remembered writes. The store's [`Journal`], or a test's.
pub trait Records {
    /// The write at one revision.
    fn at(&self, revision: Revision) -> Option<Record>;
    /// The writes of one key, oldest first.
    fn of(&self, key: &Key) -> Vec<Record>;
}

impl Records for Journal {
    fn at(&self, revision: Revision) -> Option<Record> {
        self.get(revision)
    }

    fn of(&self, key: &Key) -> Vec<Record> {
        self.of_key(key)
    }
}

/// One write, and the key that the story is about there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// What was written.
    pub key: Key,
    /// When, by whom and why.
    pub record: Record,
}

/// The causal chain of one object, oldest hop first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Chain {
    /// The writes.
    pub hops: Vec<Hop>,
    /// It begins before the oldest remembered revision.
    pub truncated: bool,
}

/// Follows the causes of an object's writes back to where they began.
pub fn chain(records: &impl Records, key: &Key) -> Chain {
    let mut own = records.of(key);
    let mut truncated = own.len() > OWN;
    own.drain(..own.len().saturating_sub(OWN));

    let mut hops: BTreeMap<Revision, Hop> = BTreeMap::new();
    let mut causes: Vec<Revision> = Vec::new();
    for record in own {
        causes.push(record.origin.cause);
        hops.insert(record.revision, Hop { key: key.clone(), record });
    }
    while let Some(revision) = causes.pop() {
        if revision == 0 || hops.contains_key(&revision) {
            continue;
        }
        let found = records.at(revision).filter(|_| hops.len() < ALL);
        let Some((record, key)) = found.and_then(|record| record.keys.first().cloned().map(|key| (record, key))) else {
            truncated = true;
            continue;
        };
        causes.push(record.origin.cause);
        hops.insert(revision, Hop { key, record });
    }
    Chain { hops: hops.into_values().collect(), truncated }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use kubelab_store::{Door, Origin};

    use super::*;

    struct Written(Vec<Record>);

    impl Records for Written {
        fn at(&self, revision: Revision) -> Option<Record> {
            self.0.iter().find(|record| record.revision == revision).cloned()
        }

        fn of(&self, key: &Key) -> Vec<Record> {
            self.0.iter().filter(|record| record.keys.contains(key)).cloned().collect()
        }
    }

    fn record(revision: Revision, topic: &str, name: &str, cause: Revision) -> Record {
        let origin = Origin {
            user: "someone".into(),
            agent: "test".into(),
            door: Door::Grpc,
            verb: "update".into(),
            time_us: revision,
            trace_id: "".into(),
            cause,
            note: "".into(),
        };
        Record { revision, keys: vec![Key::new(topic, name)], origin: Arc::new(origin) }
    }

    fn revisions(chain: &Chain) -> Vec<Revision> {
        chain.hops.iter().map(|hop| hop.record.revision).collect()
    }

    #[test]
    fn a_pod_is_told_back_to_the_command_that_began_it() {
        let written = Written(vec![
            record(1, "core/namespaces", "default", 0),
            record(5, "apps/deployments", "default/web", 0),
            record(6, "apps/replicasets", "default/web-1", 5),
            record(7, "core/pods", "default/other", 6),
            record(8, "core/pods", "default/web-1-a", 6),
            record(9, "core/pods", "default/web-1-a", 8),
            record(11, "core/pods", "default/web-1-a", 9),
        ]);
        let chain = chain(&written, &Key::new("core/pods", "default/web-1-a"));
        assert_eq!(revisions(&chain), [5, 6, 8, 9, 11]);
        assert_eq!(&*chain.hops[0].key.topic, "apps/deployments");
        assert!(!chain.truncated);
    }

    #[test]
    fn what_is_forgotten_is_admitted() {
        let written = Written(vec![record(8, "core/pods", "default/a", 6)]);
        let chain = chain(&written, &Key::new("core/pods", "default/a"));
        assert_eq!((revisions(&chain), chain.truncated), (vec![8], true));
    }

    #[test]
    fn circles_and_long_lives_end() {
        let lease = (1..=1000).map(|revision| record(revision, "core/leases", "default/a", revision % 1000 + 1));
        let chain = chain(&Written(lease.collect()), &Key::new("core/leases", "default/a"));
        assert!(chain.truncated);
        assert!(chain.hops.len() <= 1000);
        let unknown = super::chain(&Written(Vec::new()), &Key::new("core/pods", "default/a"));
        assert_eq!(unknown, Chain::default());
    }
}
