//! A transaction as an entry of the raft log: the body, encoded once by whoever commits, and a header that each attempt
//! writes anew.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Door, Key, Origin, Outcome, Precondition, RequestId, Transaction, Write,
    codec::{Malformed, Reader, Writer},
    intern::Interner,
};

const VERSION: u8 = 1;

/// Who attempts, so that an attempt repeated applies once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: RequestId,
    /// The client has the answers to all its requests below this one, so their outcomes need not be remembered (Ongaro's
    /// thesis, section 6.3).
    pub(crate) oldest: u64,
}

impl Header {
    pub(crate) fn encode(&self) -> Bytes {
        let mut writer = Writer(Vec::with_capacity(24));
        writer.number(self.id.client);
        writer.number(self.id.sequence);
        writer.number(self.id.sequence - self.oldest.min(self.id.sequence));
        writer.0.into()
    }

    pub(crate) fn decode(bytes: Bytes) -> Result<Self, Malformed> {
        let mut reader = Reader::new(bytes);
        let id = RequestId { client: reader.number()?, sequence: reader.number()? };
        let behind = reader.number()?;
        let oldest = id.sequence.checked_sub(behind).ok_or(Malformed("header"))?;
        Ok(Self { id, oldest })
    }
}

/// The body of a command.
pub(crate) fn encode(transaction: &Transaction) -> Bytes {
    let values: usize =
        transaction.writes.iter().map(|write| if let Write::Put { value, .. } = write { value.len() } else { 0 }).sum();
    let mut writer = Writer(Vec::with_capacity(values + 256));
    writer.byte(VERSION);
    writer.number(transaction.preconditions.len() as u64);
    for precondition in &transaction.preconditions {
        write_precondition(&mut writer, precondition);
    }
    writer.number(transaction.writes.len() as u64);
    for write in &transaction.writes {
        match write {
            Write::Delete { key } => {
                writer.byte(0);
                write_key(&mut writer, key);
            }
            Write::Put { key, value, stamp, index, expires_ms } => {
                writer.byte(1);
                write_key(&mut writer, key);
                writer.bytes(value);
                writer.option(*stamp, |writer, at| writer.number(u64::from(at)));
                writer.option(index.as_deref(), Writer::string);
                writer.option(*expires_ms, Writer::number);
            }
        }
    }
    write_origin(&mut writer, &transaction.origin);
    writer.0.into()
}

/// The transaction in a body; values share the body's memory.
pub(crate) fn decode(body: Bytes, interner: &mut Interner) -> Result<Transaction, Malformed> {
    let mut reader = Reader::new(body);
    if reader.byte()? != VERSION {
        return Err(Malformed("command version"));
    }
    let mut preconditions = Vec::with_capacity(reader.count()?);
    for _ in 0..preconditions.capacity() {
        preconditions.push(read_precondition(&mut reader, interner)?);
    }
    let mut writes = Vec::with_capacity(reader.count()?);
    for _ in 0..writes.capacity() {
        writes.push(match reader.byte()? {
            0 => Write::Delete { key: read_key(&mut reader, interner)? },
            1 => Write::Put {
                key: read_key(&mut reader, interner)?,
                value: reader.bytes()?,
                stamp: reader.option(read_u32)?,
                index: reader.option(|reader| reader.interned(interner))?,
                expires_ms: reader.option(Reader::number)?,
            },
            _ => return Err(Malformed("write")),
        });
    }
    let origin = read_origin(&mut reader, interner)?;
    Ok(Transaction { preconditions, writes, origin })
}

pub(crate) fn read_u32(reader: &mut Reader) -> Result<u32, Malformed> {
    u32::try_from(reader.number()?).map_err(|_| Malformed("offset"))
}

pub(crate) fn write_key(writer: &mut Writer, key: &Key) {
    writer.string(&key.topic);
    writer.string(&key.name);
}

pub(crate) fn read_key(reader: &mut Reader, interner: &mut Interner) -> Result<Key, Malformed> {
    Ok(Key { topic: reader.interned(interner)?, name: reader.string()? })
}

fn write_precondition(writer: &mut Writer, precondition: &Precondition) {
    match precondition {
        Precondition::Absent(key) => {
            writer.byte(0);
            write_key(writer, key);
        }
        Precondition::Exists(key) => {
            writer.byte(1);
            write_key(writer, key);
        }
        Precondition::Modified(key, revision) => {
            writer.byte(2);
            write_key(writer, key);
            writer.number(*revision);
        }
    }
}

fn read_precondition(reader: &mut Reader, interner: &mut Interner) -> Result<Precondition, Malformed> {
    let kind = reader.byte()?;
    let key = read_key(reader, interner)?;
    match kind {
        0 => Ok(Precondition::Absent(key)),
        1 => Ok(Precondition::Exists(key)),
        2 => Ok(Precondition::Modified(key, reader.number()?)),
        _ => Err(Malformed("precondition")),
    }
}

pub(crate) fn write_origin(writer: &mut Writer, origin: &Origin) {
    writer.string(&origin.user);
    writer.string(&origin.agent);
    writer.byte(match origin.door {
        Door::Rest => 0,
        Door::Grpc => 1,
        Door::Internal => 2,
    });
    writer.string(&origin.verb);
    writer.number(origin.time_us);
    writer.string(&origin.trace_id);
    writer.number(origin.cause);
    writer.string(&origin.note);
}

pub(crate) fn read_origin(reader: &mut Reader, interner: &mut Interner) -> Result<Origin, Malformed> {
    let user = reader.interned(interner)?;
    let agent = reader.interned(interner)?;
    let door = match reader.byte()? {
        0 => Door::Rest,
        1 => Door::Grpc,
        2 => Door::Internal,
        _ => return Err(Malformed("door")),
    };
    let verb = reader.interned(interner)?;
    let time_us = reader.number()?;
    let trace_id = reader.string()?;
    let cause = reader.number()?;
    let note = reader.interned(interner)?;
    Ok(Origin { user, agent, door, verb, time_us, trace_id, cause, note })
}

pub(crate) fn write_outcome(writer: &mut Writer, outcome: &Outcome) {
    match outcome {
        Outcome::Committed(revision) => {
            writer.byte(0);
            writer.number(*revision);
        }
        Outcome::Conflict(precondition, found) => {
            writer.byte(1);
            write_precondition(writer, precondition);
            writer.option(*found, Writer::number);
        }
    }
}

pub(crate) fn read_outcome(reader: &mut Reader, interner: &mut Interner) -> Result<Outcome, Malformed> {
    match reader.byte()? {
        0 => Ok(Outcome::Committed(reader.number()?)),
        1 => Ok(Outcome::Conflict(read_precondition(reader, interner)?, reader.option(Reader::number)?)),
        _ => Err(Malformed("outcome")),
    }
}

/// An origin for what the store does by itself.
pub(crate) fn internal_origin(verb: &str, note: &str, time_us: u64) -> Origin {
    let empty: Arc<str> = Arc::from("");
    Origin {
        user: Arc::from("store"),
        agent: Arc::from("kubelab-store"),
        door: Door::Internal,
        verb: Arc::from(verb),
        time_us,
        trace_id: empty,
        cause: 0,
        note: Arc::from(note),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_transaction_survives_the_log() {
        let key = Key::new("apps/deployments", "default/web");
        let transaction = Transaction {
            preconditions: vec![
                Precondition::Absent(key.clone()),
                Precondition::Exists(key.clone()),
                Precondition::Modified(key.clone(), 42),
            ],
            writes: vec![
                Write::Put {
                    key: key.clone(),
                    value: Bytes::from_static(b"{}"),
                    stamp: Some(1),
                    index: Some("node-1".into()),
                    expires_ms: Some(9),
                },
                Write::Delete { key },
            ],
            origin: internal_origin("create", "", 7),
        };
        let read = decode(encode(&transaction), &mut Interner::default()).unwrap();
        assert_eq!(read.preconditions, transaction.preconditions);
        assert_eq!(read.writes, transaction.writes);
        assert_eq!(read.origin, transaction.origin);
    }

    #[test]
    fn a_header_names_its_attempt() {
        let header = Header { id: RequestId { client: u64::MAX, sequence: 300 }, oldest: 17 };
        assert_eq!(Header::decode(header.encode()).unwrap(), header);
    }
}
