//! The log: numbered segments, of which the last is written to.

use std::{collections::VecDeque, io};

use bytes::Bytes;
use raft::eraftpb::{ConfState, Entry, HardState};

use super::{DiskError, Files, frame};
use crate::consensus::LogWrite;

/// A segment that has grown to this size is followed by a new one.
const SEGMENT: u64 = 4 << 20;
const PREFIX: &str = "log-";

struct Segment {
    name: String,
    number: u64,
    /// The newest index of an entry in it.
    last: u64,
}

/// The log, open for writing.
pub(crate) struct Wal<F> {
    files: F,
    segments: VecDeque<Segment>,
    written: u64,
    synced: u64,
    hard_state: HardState,
    members: Option<ConfState>,
    buffer: Vec<u8>,
}

/// What a log held when it was opened.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Replay {
    pub(crate) hard_state: HardState,
    pub(crate) members: Option<ConfState>,
    /// Index and term of the snapshot that the log began anew after.
    pub(crate) reset: (u64, u64),
    pub(crate) entries: VecDeque<Entry>,
}

impl Replay {
    fn take(&mut self, write: LogWrite) {
        if let Some(reset) = write.reset {
            self.reset = reset;
            self.entries.clear();
        }
        if let Some(hard_state) = write.hard_state {
            self.hard_state = hard_state;
        }
        if let Some(members) = write.members {
            self.members = Some(members);
        }
        for entry in write.entries {
            while self.entries.back().is_some_and(|last| last.index >= entry.index) {
                self.entries.pop_back();
            }
            if self.entries.back().is_some_and(|last| last.index + 1 != entry.index) {
                // Removed segments can come back in a crash, not all of them; what counts is that the end is whole.
                self.entries.clear();
            }
            self.entries.push_back(entry);
        }
    }
}

fn failed(what: &'static str) -> impl FnOnce(io::Error) -> DiskError {
    move |error| DiskError::Failed(what, error)
}

impl<F: Files> Wal<F> {
    /// Opens the log in a folder, which may be empty, and cuts off a torn tail.
    pub(crate) fn open(mut files: F) -> Result<(Self, Replay), DiskError> {
        let mut segments = VecDeque::new();
        let mut replay = Replay::default();
        let mut names = files.list().map_err(failed("list the log"))?;
        names.retain(|name| name.starts_with(PREFIX));
        names.sort();
        let mut written = 0;
        for (place, name) in names.iter().enumerate() {
            let is_last = place + 1 == names.len();
            let file = Bytes::from(files.read(name).map_err(failed("read the log"))?);
            let (end, last) = read_segment(name, &file, is_last, &mut replay)?;
            if end < file.len() {
                tracing::warn!(segment = %name, from = end, bytes = file.len() - end, "cut off a torn tail of the log");
                files.truncate(name, end as u64).map_err(failed("cut off a torn tail"))?;
                files.sync(name).map_err(failed("cut off a torn tail"))?;
            }
            written = end as u64;
            let number = name.trim_start_matches(PREFIX).parse().map_err(|_| DiskError::Damaged {
                file: name.clone(),
                at: 0,
                what: "not the name of a log segment",
            })?;
            segments.push_back(Segment { name: name.clone(), number, last });
        }
        let hard_state = replay.hard_state.clone();
        let members = replay.members.clone();
        // What was read may stand in the page cache only, as after a killed process: nothing may be built on it before it
        // is synced.
        let mut wal = Self { files, segments, written, synced: 0, hard_state, members, buffer: Vec::new() };
        if !wal.segments.is_empty() {
            wal.sync()?;
        }
        Ok((wal, replay))
    }

    /// Writes batches, not yet synced. After [`DiskError::Full`] the log is as before.
    pub(crate) fn append<'a>(&mut self, writes: impl IntoIterator<Item = &'a LogWrite>) -> Result<(), DiskError> {
        if self.segments.is_empty() || self.written >= SEGMENT {
            self.rotate()?;
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        let mut newest = 0;
        for write in writes {
            frame::encode(&mut buffer, self.synced as u32, write);
            newest = write.entries.iter().map(|entry| entry.index).fold(newest, u64::max);
            if let Some(hard_state) = &write.hard_state {
                self.hard_state = hard_state.clone();
            }
            if write.members.is_some() {
                self.members.clone_from(&write.members);
            }
        }
        let result = self.write(&buffer);
        buffer.shrink_to(1 << 20);
        self.buffer = buffer;
        if let (Ok(()), Some(segment)) = (&result, self.segments.back_mut()) {
            segment.last = segment.last.max(newest);
        }
        result
    }

    fn write(&mut self, data: &[u8]) -> Result<(), DiskError> {
        let Some(segment) = self.segments.back() else { return Ok(()) };
        match self.files.append(&segment.name, data) {
            Ok(()) => {
                self.written += data.len() as u64;
                Ok(())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
                // A part may have been written.
                self.files.truncate(&segment.name, self.written).map_err(failed("undo a write to a full disk"))?;
                Err(DiskError::Full)
            }
            Err(error) => Err(DiskError::Failed("write to the log", error)),
        }
    }

    /// Makes all that was written last. A failure is final.
    pub(crate) fn sync(&mut self) -> Result<(), DiskError> {
        if let Some(segment) = self.segments.back()
            && self.synced < self.written
        {
            self.files.sync(&segment.name).map_err(failed("sync the log"))?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// Begins a new segment; the one before is synced whole, so that damage in it is never a torn tail.
    fn rotate(&mut self) -> Result<(), DiskError> {
        self.sync()?;
        let number = self.segments.back().map_or(1, |segment| segment.number + 1);
        let name = format!("{PREFIX}{number:016}");
        let head = LogWrite {
            hard_state: Some(self.hard_state.clone()),
            members: self.members.clone(),
            ..LogWrite::default()
        };
        let before = (self.written, self.synced);
        (self.written, self.synced) = (0, 0);
        self.segments.push_back(Segment { name: name.clone(), number, last: 0 });
        let mut buffer = Vec::new();
        frame::encode(&mut buffer, 0, &head);
        if let Err(error) = self.write(&buffer) {
            self.segments.pop_back();
            (self.written, self.synced) = before;
            self.files.remove(&name).map_err(failed("undo a write to a full disk"))?;
            return Err(error);
        }
        self.sync()?;
        self.files.sync_folder().map_err(failed("sync the folder of the log"))
    }

    /// Removes the segments whose entries a snapshot covers.
    pub(crate) fn compact(&mut self, index: u64) -> Result<(), DiskError> {
        while self.segments.len() > 1
            && self.segments[0].last <= index
            && let Some(segment) = self.segments.pop_front()
        {
            self.files.remove(&segment.name).map_err(failed("remove an old segment"))?;
        }
        Ok(())
    }
}

/// Replays a segment; where its whole frames end, and the newest index.
fn read_segment(name: &str, file: &Bytes, is_last: bool, replay: &mut Replay) -> Result<(usize, u64), DiskError> {
    let damaged = |at: usize, what| DiskError::Damaged { file: name.to_owned(), at: at as u64, what };
    let (mut at, mut last) = (0, 0);
    while at < file.len() {
        let Some(frame) = frame::decode(file, at) else {
            if !is_last || frame::synced_after(file, at) > at as u64 {
                return Err(damaged(at, "a checksum does not match"));
            }
            break;
        };
        last = frame.write.entries.iter().map(|entry| entry.index).fold(last, u64::max);
        replay.take(frame.write);
        at = frame.next;
    }
    Ok((at, last))
}
