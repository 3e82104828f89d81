//! A replica frozen at one log index, and its form on disk and between peers.
//!
//! The form is a series of chunks of about [`CHUNK`] bytes, each holding whole items, so that neither side needs the
//! whole in memory. Beside the state it holds the journal and the watch history, so that watches resume on a replica
//! that was restarted or sent a snapshot. An event is written as what it replaced, newest first: what came after it is
//! known by then.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::ConfState;

use crate::{
    Change, Entry, Event, Key, Revision, State,
    codec::{Malformed, Reader, Writer},
    command::{read_key, read_origin, read_u32, write_key, write_origin},
    intern::Interner,
    journal::Record,
    machine::last,
    sessions::Sessions,
};

/// The size that a chunk may pass by one item: with the largest object well below tonic's 4 MiB.
pub(crate) const CHUNK: usize = 1 << 20;
const VERSION: u64 = 1;

/// A replica at one log index. Shares its memory with the living one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Frozen {
    pub(crate) index: u64,
    pub(crate) term: u64,
    pub(crate) conf_state: ConfState,
    /// Where members that joined later are reached.
    pub(crate) joined: BTreeMap<u64, String>,
    pub(crate) state: State,
    pub(crate) sessions: Sessions,
    /// The events after this revision are here.
    pub(crate) floor: Revision,
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) records: Vec<Arc<Record>>,
}

enum Item<'a> {
    Start,
    Entry(&'a Key, &'a Entry),
    Session(u64),
    Record(&'a Record),
    Event(&'a Event),
    End,
}

impl Frozen {
    /// The chunks, encoded as they are asked for.
    pub(crate) fn chunks(&self) -> impl Iterator<Item = Bytes> + '_ {
        let mut items = std::iter::once(Item::Start)
            .chain(self.state.iter().map(|(key, entry)| Item::Entry(key, entry)))
            .chain(self.sessions.clients().map(Item::Session))
            .chain(self.records.iter().map(|record| Item::Record(record)))
            .chain(self.events.iter().rev().map(|event| Item::Event(event)))
            .chain(std::iter::once(Item::End));
        std::iter::from_fn(move || {
            let mut writer = Writer::default();
            while writer.0.len() < CHUNK
                && let Some(item) = items.next()
            {
                self.write(&mut writer, &item);
            }
            (!writer.0.is_empty()).then(|| writer.0.into())
        })
    }

    fn write(&self, writer: &mut Writer, item: &Item<'_>) {
        match item {
            Item::Start => {
                writer.byte(0);
                writer.number(VERSION);
                writer.number(self.index);
                writer.number(self.term);
                writer.bytes(&self.conf_state.write_to_bytes().unwrap_or_default());
                writer.number(self.joined.len() as u64);
                for (id, address) in &self.joined {
                    writer.number(*id);
                    writer.string(address);
                }
                writer.number(self.state.revision());
                writer.number(self.floor);
            }
            Item::Entry(key, entry) => {
                writer.byte(1);
                write_key(writer, key);
                write_entry(writer, entry);
            }
            Item::Session(client) => {
                writer.byte(2);
                self.sessions.write(*client, writer);
            }
            Item::Record(record) => {
                writer.byte(3);
                writer.number(record.revision);
                writer.number(record.keys.len() as u64);
                record.keys.iter().for_each(|key| write_key(writer, key));
                write_origin(writer, &record.origin);
            }
            Item::Event(event) => {
                writer.byte(4);
                writer.number(event.revision);
                write_key(writer, &event.key);
                let (deleted, before) = match &event.change {
                    Change::Put { before, .. } => (0, before.as_ref()),
                    Change::Delete { before, .. } => (1, Some(before)),
                };
                writer.byte(deleted);
                writer.option(before, |writer, entry| write_entry(writer, entry));
                let recorded = self.records.binary_search_by_key(&event.revision, |record| record.revision).is_ok();
                writer.option((!recorded).then_some(&event.origin), |writer, origin| write_origin(writer, origin));
            }
            Item::End => writer.byte(5),
        }
    }
}

fn write_entry(writer: &mut Writer, entry: &Entry) {
    writer.bytes(&entry.value);
    writer.option(entry.stamp, |writer, (at, length)| {
        writer.number(u64::from(at));
        writer.byte(length);
    });
    writer.number(entry.created);
    writer.number(entry.modified);
    writer.option(entry.index.as_deref(), Writer::string);
    writer.option(entry.expires_ms, Writer::number);
}

fn read_entry(reader: &mut Reader, interner: &mut Interner) -> Result<Arc<Entry>, Malformed> {
    // A copy, so that one small value does not keep a whole chunk alive.
    let value = Bytes::copy_from_slice(&reader.bytes()?);
    let stamp = reader.option(|reader| Ok((read_u32(reader)?, reader.byte()?)))?;
    if stamp.is_some_and(|(at, length)| at as usize + length as usize > value.len()) {
        return Err(Malformed("stamp"));
    }
    Ok(Arc::new(Entry {
        value,
        stamp,
        created: reader.number()?,
        modified: reader.number()?,
        index: reader.option(|reader| reader.interned(interner))?,
        expires_ms: reader.option(Reader::number)?,
    }))
}

/// A snapshot being read, chunk by chunk.
#[derive(Default)]
pub(crate) struct Thawing {
    frozen: Frozen,
    interner: Interner,
    /// What each key of the events held after the event to be read next; `None` for nothing.
    after: HashMap<Key, Option<Arc<Entry>>>,
    complete: bool,
}

impl Thawing {
    /// Takes the next chunk.
    pub(crate) fn push(&mut self, chunk: Bytes) -> Result<(), Malformed> {
        let mut reader = Reader::new(chunk);
        while !reader.is_empty() {
            self.item(&mut reader)?;
        }
        Ok(())
    }

    /// The whole, if it was.
    pub(crate) fn finish(mut self) -> Result<Frozen, Malformed> {
        if !self.complete {
            return Err(Malformed("snapshot: it ends early"));
        }
        self.frozen.events.reverse();
        Ok(self.frozen)
    }

    fn item(&mut self, reader: &mut Reader) -> Result<(), Malformed> {
        let (frozen, interner) = (&mut self.frozen, &mut self.interner);
        match reader.byte()? {
            0 => {
                if reader.number()? != VERSION {
                    return Err(Malformed("snapshot version"));
                }
                frozen.index = reader.number()?;
                frozen.term = reader.number()?;
                let conf_state = ConfState::parse_from_bytes(&reader.bytes()?);
                frozen.conf_state = conf_state.map_err(|_| Malformed("snapshot members"))?;
                for _ in 0..reader.count()? {
                    frozen.joined.insert(reader.number()?, reader.string()?.to_string());
                }
                frozen.state.settle(reader.number()?);
                frozen.floor = reader.number()?;
            }
            1 => {
                let key = read_key(reader, interner)?;
                frozen.state.insert(key, read_entry(reader, interner)?);
            }
            2 => frozen.sessions.read(reader, interner)?,
            3 => {
                let revision = reader.number()?;
                let mut keys = Vec::with_capacity(reader.count()?);
                for _ in 0..keys.capacity() {
                    let key = read_key(reader, interner)?;
                    keys.push(frozen.state.get_key_value(&key).map_or(key, |(known, _)| known.clone()));
                }
                let origin = Arc::new(read_origin(reader, interner)?);
                frozen.records.push(Arc::new(Record { revision, keys, origin }));
            }
            4 => {
                let event = self.event(reader)?;
                self.frozen.events.push(event);
            }
            5 => self.complete = true,
            _ => return Err(Malformed("snapshot item")),
        }
        Ok(())
    }

    fn event(&mut self, reader: &mut Reader) -> Result<Arc<Event>, Malformed> {
        let revision = reader.number()?;
        let key = read_key(reader, &mut self.interner)?;
        let deleted = reader.byte()? == 1;
        let before = reader.option(|reader| read_entry(reader, &mut self.interner))?;
        let known = || self.frozen.records.binary_search_by_key(&revision, |record| record.revision);
        let origin = match reader.option(|reader| read_origin(reader, &mut self.interner))? {
            Some(origin) => Arc::new(origin),
            None => Arc::clone(&self.frozen.records[known().map_err(|_| Malformed("event without origin"))?].origin),
        };
        let after = match self.after.insert(key.clone(), before.clone()) {
            Some(after) => after,
            None => self.frozen.state.get(&key).cloned(),
        };
        let change = match (deleted, after, before) {
            (false, Some(after), before) => Change::Put { after, before },
            (true, _, Some(before)) => Change::Delete { last: last(&before, revision), before },
            _ => return Err(Malformed("event")),
        };
        Ok(Arc::new(Event { revision, key, change, origin }))
    }
}
