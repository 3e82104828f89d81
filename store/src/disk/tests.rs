#![allow(clippy::unwrap_used)]

use std::sync::mpsc::{Receiver, channel};

use raft::eraftpb::{ConfState, Entry, HardState};

use super::{Beginning, DiskError, Files, Report, Wal, Writer, recover, save};
use crate::{
    Key, Transaction, Write,
    command::{self, Header, internal_origin},
    consensus::{LogWrite, Persist},
    machine::Machine,
    sim::disk::SimDisk,
    snapshot::Frozen,
};

fn entry(index: u64, term: u64) -> Entry {
    Entry { index, term, data: vec![index as u8; 50].into(), ..Entry::default() }
}

fn write(entries: Vec<Entry>) -> LogWrite {
    let commit = entries.first().map_or(0, |entry| entry.index - 1);
    let hard_state = HardState { term: 1, commit, ..HardState::default() };
    LogWrite { hard_state: Some(hard_state), entries, ..LogWrite::default() }
}

fn founders() -> ConfState {
    ConfState { voters: vec![1, 2, 3], ..ConfState::default() }
}

fn last_segment(disk: &SimDisk) -> String {
    disk.list().unwrap().into_iter().rfind(|name| name.starts_with("log-")).unwrap()
}

/// A log of ten entries, each synced.
fn log() -> SimDisk {
    let disk = SimDisk::default();
    let (mut wal, _) = recover(disk.clone(), Beginning::Join).unwrap();
    for index in 1..=10 {
        wal.append([&write(vec![entry(index, 1)])]).unwrap();
        wal.sync().unwrap();
    }
    disk
}

fn indexes(disk: &SimDisk) -> Result<Vec<u64>, DiskError> {
    let (_, recovered) = recover(disk.clone(), Beginning::Join)?;
    Ok(recovered.entries.iter().map(|entry| entry.index).collect())
}

#[test]
fn a_torn_tail_is_truncated() {
    let whole = log();
    let name = last_segment(&whole);
    let content = whole.read(&name).unwrap();
    let (mut wal, _) = Wal::open(whole.clone()).unwrap();
    wal.append([&write(vec![entry(11, 1)])]).unwrap();
    let torn = whole.read(&name).unwrap();
    for length in content.len()..torn.len() {
        let mut disk = SimDisk::default();
        disk.append(&name, &torn[..length]).unwrap();
        assert_eq!(indexes(&disk).unwrap(), (1..=10).collect::<Vec<_>>(), "torn at {length}");
        assert_eq!(disk.read(&name).unwrap().len(), content.len());
    }
}

#[test]
fn a_log_goes_on_after_a_torn_tail() {
    let mut disk = log();
    let name = last_segment(&disk);
    disk.append(&name, b"klab and then the power failed").unwrap();
    let (mut wal, _) = Wal::open(disk.clone()).unwrap();
    wal.append([&write(vec![entry(11, 1)])]).unwrap();
    wal.sync().unwrap();
    assert_eq!(indexes(&disk).unwrap(), (1..=11).collect::<Vec<_>>());
}

#[test]
fn a_bad_checksum_in_the_middle_stops_the_replica() {
    let length = log().read(&last_segment(&log())).unwrap().len();
    let mut stopped = 0;
    for bit in (0..length * 8).step_by(7) {
        let disk = log();
        disk.flip(&last_segment(&disk), bit);
        match indexes(&disk) {
            Err(DiskError::Damaged { .. }) => stopped += 1,
            // Nothing was written after the last frame, so nothing tells damage from a torn write.
            Ok(found) => assert_eq!(found, (1..=9).collect::<Vec<_>>(), "bit {bit}"),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(stopped > length, "most of the log is before its last frame");
}

#[test]
fn a_full_disk_leaves_the_log_as_it_was() {
    let disk = log();
    let (mut wal, _) = Wal::open(disk.clone()).unwrap();
    disk.set_full(true);
    assert!(matches!(wal.append([&write(vec![entry(11, 1)])]), Err(DiskError::Full)));
    disk.set_full(false);
    wal.append([&write(vec![entry(11, 1)])]).unwrap();
    wal.sync().unwrap();
    assert_eq!(indexes(&disk).unwrap(), (1..=11).collect::<Vec<_>>());
}

#[test]
fn a_failed_sync_is_final() {
    let disk = log();
    let (mut wal, _) = Wal::open(disk.clone()).unwrap();
    wal.append([&write(vec![entry(11, 1)])]).unwrap();
    disk.fail_in(1);
    assert!(matches!(wal.sync(), Err(DiskError::Failed(..))));
}

#[test]
fn conflicting_entries_replace_what_follows() {
    let disk = log();
    let (mut wal, _) = Wal::open(disk.clone()).unwrap();
    wal.append([&write(vec![entry(6, 2), entry(7, 2)])]).unwrap();
    wal.sync().unwrap();
    let (_, recovered) = recover(disk, Beginning::Join).unwrap();
    let found: Vec<_> = recovered.entries.iter().map(|entry| (entry.index, entry.term)).collect();
    assert_eq!(found[4..], [(5, 1), (6, 2), (7, 2)]);
}

fn frozen(index: u64) -> Frozen {
    let mut machine = Machine::default();
    for sequence in 1..=index {
        let put = Write::Put {
            key: Key::new("pods", format!("p{sequence}")),
            value: vec![b'v'; 2000].into(),
            stamp: Some(0),
            index: None,
            expires_ms: None,
        };
        let body = command::encode(&Transaction {
            preconditions: Vec::new(),
            writes: vec![put],
            origin: internal_origin("create", "", 0),
        });
        let header = Header { id: crate::RequestId { client: 1, sequence }, oldest: sequence };
        machine.apply(sequence, header, body, &mut Vec::new()).unwrap();
    }
    Frozen {
        index,
        term: 1,
        conf_state: founders(),
        floor: index,
        state: machine.state().clone(),
        sessions: machine.sessions().clone(),
        ..Frozen::default()
    }
}

#[test]
fn a_snapshot_covers_the_log_before_it() {
    let mut disk = log();
    save(&mut disk, &frozen(4)).unwrap();
    save(&mut disk, &frozen(8)).unwrap();
    let (_, recovered) = recover(disk.clone(), Beginning::Join).unwrap();
    assert_eq!((recovered.frozen.index, recovered.frozen.state.len()), (8, 8));
    assert_eq!(recovered.entries.iter().map(|entry| entry.index).collect::<Vec<_>>(), [9, 10]);
    assert_eq!(recovered.hard_state.commit, 9);
    assert_eq!(recovered.frozen.state.hash(), frozen(8).state.hash());
    assert_eq!(disk.list().unwrap().iter().filter(|name| name.starts_with("snapshot-")).count(), 1);
}

#[test]
fn a_snapshot_installed_before_the_log_began_anew_wins() {
    let mut disk = log();
    save(&mut disk, &frozen(1000)).unwrap();
    let (_, recovered) = recover(disk.clone(), Beginning::Join).unwrap();
    assert_eq!((recovered.entries.len(), recovered.hard_state.commit), (0, 1000));
    let (mut wal, _) = Wal::open(disk.clone()).unwrap();
    wal.append([&write(vec![entry(1001, 2)])]).unwrap();
    wal.sync().unwrap();
    assert_eq!(indexes(&disk).unwrap(), [1001]);
}

#[test]
fn a_damaged_snapshot_stops_the_replica() {
    let mut disk = log();
    save(&mut disk, &frozen(1000)).unwrap();
    let name = disk.list().unwrap().into_iter().find(|name| name.starts_with("snapshot-")).unwrap();
    let length = disk.read(&name).unwrap().len();
    assert!(length > crate::snapshot::CHUNK, "more than one chunk");
    disk.flip(&name, length * 4);
    assert!(matches!(recover(disk, Beginning::Join), Err(DiskError::Damaged { .. })));
}

#[test]
fn a_snapshot_cut_short_is_not_taken() {
    let mut disk = log();
    save(&mut disk, &frozen(8)).unwrap();
    let name = disk.list().unwrap().into_iter().find(|name| name.starts_with("snapshot-")).unwrap();
    let content = disk.read(&name).unwrap();
    disk.truncate(&name, content.len() as u64 - 1).unwrap();
    assert!(matches!(recover(disk.clone(), Beginning::Join), Err(DiskError::Damaged { .. })));
    disk.rename(&name, &format!("{name}.unfinished")).unwrap();
    let (_, recovered) = recover(disk.clone(), Beginning::Join).unwrap();
    assert_eq!((recovered.frozen.index, recovered.entries.len()), (0, 10));
}

#[test]
fn segments_rotate_and_old_ones_go() {
    let disk = SimDisk::default();
    let (mut wal, _) = recover(disk.clone(), Beginning::Join).unwrap();
    let large = |index| Entry { data: vec![1; 1 << 20].into(), ..entry(index, 1) };
    for index in 1..=20 {
        wal.append([&write(vec![large(index)])]).unwrap();
        wal.sync().unwrap();
    }
    let segments = || disk.list().unwrap().len();
    assert!(segments() >= 4);
    assert_eq!(indexes(&disk).unwrap().len(), 20);
    save(&mut disk.clone(), &frozen(15)).unwrap();
    wal.compact(15).unwrap();
    assert!(segments() <= 4, "{:?}", disk.list());
    assert_eq!(indexes(&disk).unwrap(), [16, 17, 18, 19, 20]);
}

/// A writer on the log of a disk, and what it reports.
fn writer(disk: &SimDisk) -> (Writer, Receiver<Report>) {
    let (wal, _) = Wal::open(disk.clone()).unwrap();
    let (reports, reported) = channel();
    let writer = Writer::spawn(wal, disk.clone(), move |report| drop(reports.send(report))).unwrap();
    (writer, reported)
}

fn persist(index: u64) -> Persist {
    Persist { number: Some(index), install: None, write: write(vec![entry(index, 1)]) }
}

#[test]
fn what_queues_up_is_written_together_and_reported_in_order() {
    let disk = log();
    let (writer, reported) = writer(&disk);
    (11..=200).for_each(|index| writer.persist(persist(index)));
    drop(writer);
    let numbers: Vec<_> =
        reported.iter().map(|report| matches!(report, Report::Persisted { number } if number <= 200)).collect();
    assert!(!numbers.is_empty() && numbers.len() <= 190 && numbers.iter().all(|ok| *ok));
    assert_eq!(indexes(&disk).unwrap().len(), 200);
}

#[test]
fn a_failed_sync_is_reported_and_nothing_follows() {
    let disk = log();
    let (writer, reported) = writer(&disk);
    disk.fail_in(1);
    writer.persist(persist(11));
    assert!(matches!(reported.recv().unwrap(), Report::Failed(DiskError::Failed(..))));
    writer.persist(persist(12));
    assert!(reported.recv().is_err(), "never tried again");
}

#[test]
fn a_full_disk_is_reported_and_tried_again() {
    let disk = log();
    disk.set_full(true);
    let (writer, reported) = writer(&disk);
    writer.persist(persist(11));
    assert!(matches!(reported.recv().unwrap(), Report::Full(true)));
    disk.set_full(false);
    assert!(matches!(reported.recv().unwrap(), Report::Full(false)));
    assert!(matches!(reported.recv().unwrap(), Report::Persisted { number: 11 }));
    drop(writer);
    assert_eq!(indexes(&disk).unwrap().len(), 11);
}
