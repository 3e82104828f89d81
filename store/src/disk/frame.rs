//! One batch of the log as bytes.
//!
//! A frame is a mark, the payload's length, how many bytes of the file were synced when the frame was written, a
//! checksum of all that, and the payload. The synced length tells damage from a torn tail: bytes that were never synced
//! may be lost in a crash, in any order, and are cut off; a bad frame before a later frame's synced length was once whole.

use bytes::Bytes;
use protobuf::Message as _;
use raft::eraftpb::{ConfState, Entry, EntryType, HardState};

use crate::{
    codec::{Malformed, Reader, Writer},
    consensus::LogWrite,
};

const MARK: [u8; 4] = *b"klab";
const HEADER: usize = 16;

/// Appends a frame to a buffer. `synced`: how much of the file is known to last.
pub(super) fn encode(buffer: &mut Vec<u8>, synced: u32, write: &LogWrite) {
    let start = buffer.len();
    buffer.extend_from_slice(&MARK);
    buffer.extend_from_slice(&[0; HEADER - 4]);
    let mut writer = Writer(std::mem::take(buffer));
    payload(&mut writer, write);
    *buffer = writer.0;
    let length = (buffer.len() - start - HEADER) as u32;
    buffer[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    buffer[start + 8..start + 12].copy_from_slice(&synced.to_le_bytes());
    let sum = checksum(&buffer[start + 4..start + 12], &buffer[start + HEADER..]);
    buffer[start + 12..start + 16].copy_from_slice(&sum.to_le_bytes());
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}

/// What stands at a place of a file.
pub(super) struct Frame {
    pub(super) write: LogWrite,
    /// Where the next one begins.
    pub(super) next: usize,
}

/// The frame at a place, if a whole one stands there.
pub(super) fn decode(file: &Bytes, at: usize) -> Option<Frame> {
    let (_, payload) = check(file, at)?;
    let next = payload.end;
    let write = parse(file.slice(payload)).ok()?;
    Some(Frame { write, next })
}

fn check(file: &[u8], at: usize) -> Option<(u64, std::ops::Range<usize>)> {
    let header = file.get(at..at + HEADER)?;
    let field = |from: usize| header[from..from + 4].try_into().map(u32::from_le_bytes).ok();
    let start = at + HEADER;
    let payload = start..start.checked_add(field(4)? as usize)?;
    let whole = header[..4] == MARK && checksum(&header[4..12], file.get(payload.clone())?) == field(12)?;
    whole.then_some((u64::from(field(8)?), payload))
}

/// How far the file was synced, as far as the whole frames after a bad one tell.
pub(super) fn synced_after(file: &[u8], bad: usize) -> u64 {
    let marks = file.windows(MARK.len()).enumerate().skip(bad + 1).filter(|(_, window)| *window == MARK);
    marks.filter_map(|(at, _)| check(file, at)).map(|(synced, _)| synced).max().unwrap_or(0)
}

fn payload(writer: &mut Writer, write: &LogWrite) {
    writer.option(write.reset, |writer, (index, term)| {
        writer.number(index);
        writer.number(term);
    });
    writer.option(write.hard_state.as_ref(), |writer, hard_state| {
        writer.number(hard_state.term);
        writer.number(hard_state.vote);
        writer.number(hard_state.commit);
    });
    writer.option(write.members.as_ref(), |writer, members| {
        writer.bytes(&members.write_to_bytes().unwrap_or_default());
    });
    writer.number(write.entries.len() as u64);
    for entry in &write.entries {
        writer.number(entry.index);
        writer.number(entry.term);
        writer.byte(entry.entry_type as u8);
        writer.bytes(&entry.context);
        writer.bytes(&entry.data);
    }
}

fn parse(payload: Bytes) -> Result<LogWrite, Malformed> {
    let mut reader = Reader::new(payload);
    let reset = reader.option(|reader| Ok((reader.number()?, reader.number()?)))?;
    let hard_state = reader.option(|reader| {
        Ok(HardState { term: reader.number()?, vote: reader.number()?, commit: reader.number()?, ..Default::default() })
    })?;
    let members =
        reader.option(|reader| ConfState::parse_from_bytes(&reader.bytes()?).map_err(|_| Malformed("members")))?;
    let mut entries = Vec::with_capacity(reader.count()?);
    for _ in 0..entries.capacity() {
        entries.push(Entry {
            index: reader.number()?,
            term: reader.number()?,
            entry_type: match reader.byte()? {
                0 => EntryType::EntryNormal,
                1 => EntryType::EntryConfChange,
                2 => EntryType::EntryConfChangeV2,
                _ => return Err(Malformed("entry type")),
            },
            // Copies, so that one entry does not keep a whole segment alive.
            context: Bytes::copy_from_slice(&reader.bytes()?),
            data: Bytes::copy_from_slice(&reader.bytes()?),
            ..Default::default()
        });
    }
    Ok(LogWrite { reset, hard_state, members, entries })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn write(index: u64) -> LogWrite {
        LogWrite {
            reset: Some((1, 2)),
            hard_state: Some(HardState { term: 3, vote: 1, commit: 9, ..Default::default() }),
            members: Some(ConfState { voters: vec![1, 2, 3], ..Default::default() }),
            entries: vec![Entry { index, term: 3, data: vec![7; 100].into(), ..Default::default() }],
        }
    }

    #[test]
    fn a_batch_is_found_again() {
        let mut file = Vec::new();
        encode(&mut file, 0, &write(1));
        encode(&mut file, 10, &write(2));
        let file = Bytes::from(file);
        let first = decode(&file, 0).unwrap();
        assert_eq!(first.write, write(1));
        let second = decode(&file, first.next).unwrap();
        assert_eq!((second.write, second.next), (write(2), file.len()));
        assert_eq!(synced_after(&file, 0), 10);
        assert!(decode(&file, file.len()).is_none());
    }

    #[test]
    fn every_flipped_bit_shows() {
        let mut file = Vec::new();
        encode(&mut file, 5, &write(1));
        for bit in 0..file.len() * 8 {
            let mut damaged = file.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(decode(&damaged.into(), 0).is_none(), "bit {bit}");
        }
    }
}
