//! Things of which there is one of each in the cluster, such as a Service's address: claimed in the transaction that
//! writes the object that needs it, so that two apiservers never give it twice.

use bytes::Bytes;
use jiff::Timestamp;
use kubelab_store::{Key, Precondition, State, Write};

use crate::registry::scan;

/// What a write claims and gives back. A claim is a key of an internal topic; it is taken with the precondition that
/// nobody else holds it.
pub struct Claims<'a> {
    state: &'a State,
    owner: String,
    taken: Vec<Key>,
    released: Vec<Key>,
    /// Objects that come along, with their bytes, and objects that go.
    coming: Vec<(Key, Bytes)>,
    going: Vec<Key>,
    random: u64,
    now: Timestamp,
}

impl<'a> Claims<'a> {
    /// No claims yet, for an object with this key.
    pub fn new(state: &'a State, owner: &Key) -> Self {
        Self {
            state,
            owner: owner.to_string(),
            taken: Vec::new(),
            released: Vec::new(),
            coming: Vec::new(),
            going: Vec::new(),
            random: rand::random(),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// Begins to look for something free where this number says, so that a plan made again finds the same.
    #[must_use]
    pub fn drawing(self, random: u64) -> Self {
        Self { random, ..self }
    }

    /// Where to begin to look in a range.
    pub fn start(&self, range: std::ops::Range<u32>) -> u32 {
        let span = range.end.saturating_sub(range.start).max(1);
        range.start + u32::try_from(self.random % u64::from(span)).unwrap_or_default()
    }

    /// The same, for a write at this time.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        Self { now, ..self }
    }

    /// What this write drew.
    pub fn random(&self) -> u64 {
        self.random
    }

    /// The namespace and the name of the object that claims.
    pub fn owner(&self) -> (&str, &str) {
        let key = self.owner.rsplit_once('/').unwrap_or_default();
        (key.0.rsplit_once('/').map_or("", |(_, namespace)| namespace), key.1)
    }

    /// An object is stored there, as far as this state knows.
    pub fn exists(&self, key: &Key) -> bool {
        self.state.get(key).is_some()
    }

    /// Another object is to be written along, where there is none yet; with room for its revision.
    pub fn accompany(&mut self, key: Key, object: Bytes) {
        self.coming.push((key, object));
    }

    /// An object that came along goes.
    pub fn dismiss(&mut self, key: Key) {
        self.going.push(key);
    }

    /// When the object is written.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// It is held by this object, as far as this state knows.
    pub fn is_own(&self, pool: &str, item: &str) -> bool {
        let key = Self::key(pool, item);
        let held = self.state.get(&key).is_some_and(|entry| entry.value == self.owner.as_bytes());
        self.taken.contains(&key) || (held && !self.released.contains(&key))
    }

    fn key(pool: &str, item: &str) -> Key {
        Key::new(format!("internal/{pool}"), item)
    }

    /// Nobody holds it, as far as this state knows.
    pub fn is_free(&self, pool: &str, item: &str) -> bool {
        let key = Self::key(pool, item);
        self.released.contains(&key) || (!self.taken.contains(&key) && self.state.get(&key).is_none())
    }

    /// Takes it. The write fails, and is planned again, if somebody else was faster.
    pub fn take(&mut self, pool: &str, item: &str) {
        let key = Self::key(pool, item);
        match self.released.iter().position(|released| *released == key) {
            Some(index) => drop(self.released.swap_remove(index)),
            None => self.taken.push(key),
        }
    }

    /// Gives it back.
    pub fn release(&mut self, pool: &str, item: &str) {
        self.released.push(Self::key(pool, item));
    }

    /// What the transaction must demand and write.
    pub fn into_parts(self) -> (Vec<Precondition>, Vec<Write>) {
        let coming = self.coming.iter().map(|(key, _)| key);
        let preconditions = self.taken.iter().chain(coming).cloned().map(Precondition::Absent).collect();
        let value = Bytes::from(self.owner);
        let put = |key| Write::Put { key, value: value.clone(), stamp: None, index: None, expires_ms: None };
        let mut writes: Vec<_> = self.taken.into_iter().map(put).collect();
        writes.extend(self.released.into_iter().chain(self.going).map(|key| Write::Delete { key }));
        writes.extend(self.coming.into_iter().map(|(key, value)| {
            let stamp = scan::stamp_place(&value);
            Write::Put { key, value, stamp, index: None, expires_ms: None }
        }));
        (preconditions, writes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claim_is_taken_only_where_nobody_holds_it() {
        let state = State::default();
        let mut claims = Claims::new(&state, &Key::new("core/services", "default/web"));
        assert!(claims.is_free("addresses", "10.96.0.7"));
        claims.take("addresses", "10.96.0.7");
        assert!(!claims.is_free("addresses", "10.96.0.7"));
        claims.release("addresses", "10.96.0.8");
        let (preconditions, writes) = claims.into_parts();
        assert_eq!(preconditions, [Precondition::Absent(Key::new("internal/addresses", "10.96.0.7"))]);
        assert!(matches!(&writes[..], [Write::Put { .. }, Write::Delete { key }] if &*key.name == "10.96.0.8"));
    }

    #[test]
    fn an_owner_is_known_by_its_key() {
        let state = State::default();
        let owner = |topic: &str, name: &str| {
            let claims = Claims::new(&state, &Key::new(topic, name));
            let (namespace, name) = claims.owner();
            (namespace.to_owned(), name.to_owned())
        };
        assert_eq!(owner("core/services", "default/web"), ("default".to_owned(), "web".to_owned()));
    }

    #[test]
    fn what_an_update_keeps_is_not_written() {
        let state = State::default();
        let mut claims = Claims::new(&state, &Key::new("core/services", "default/web"));
        claims.release("addresses", "10.96.0.8");
        claims.take("addresses", "10.96.0.8");
        assert!(claims.into_parts().1.is_empty());
    }
}
