//! The thread that writes: whatever has queued up goes to the disk in one write and one sync.

use std::{
    sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use super::{DiskError, Files, Wal, save};
use crate::consensus::Persist;

/// How long to wait before a full disk is tried again.
const FULL: Duration = Duration::from_millis(500);
/// The queue holds every write that a node may have outstanding, and then some.
const QUEUE: usize = 1024;

/// What the writer has done.
#[derive(Debug)]
pub(crate) enum Report {
    Persisted { number: u64 },
    Full(bool),
    Failed(DiskError),
}

enum Job {
    Persist(Box<Persist>),
    Compact(u64),
}

/// A handle on the thread; dropping it ends the thread once the queue is empty.
pub(crate) struct Writer {
    jobs: Option<SyncSender<Job>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn spawn<F: Files>(
        wal: Wal<F>,
        files: F,
        report: impl FnMut(Report) + Send + 'static,
    ) -> std::io::Result<Self> {
        let (jobs, queue) = sync_channel(QUEUE);
        let thread = thread::Builder::new().name("store-disk".into()).spawn(move || run(wal, files, &queue, report))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread) })
    }

    pub(crate) fn persist(&self, persist: Persist) {
        self.send(Job::Persist(Box::new(persist)));
    }

    pub(crate) fn compact(&self, index: u64) {
        self.send(Job::Compact(index));
    }

    fn send(&self, job: Job) {
        // A writer that is gone has reported why.
        if let Some(jobs) = &self.jobs {
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run<F: Files>(mut wal: Wal<F>, mut files: F, queue: &Receiver<Job>, mut report: impl FnMut(Report)) {
    let mut group = Vec::new();
    let mut compact = None;
    let mut full = false;
    loop {
        let first = if group.is_empty() {
            queue.recv().map_err(|_| RecvTimeoutError::Disconnected)
        } else {
            queue.recv_timeout(FULL)
        };
        match first {
            Ok(job) => take(job, &mut group, &mut compact),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        while let Ok(job) = queue.try_recv() {
            take(job, &mut group, &mut compact);
        }
        match write_all(&mut wal, &mut files, &mut group) {
            Ok(number) => {
                if std::mem::take(&mut full) {
                    report(Report::Full(false));
                }
                if let Some(number) = number {
                    report(Report::Persisted { number });
                }
            }
            Err(DiskError::Full) => {
                if !std::mem::replace(&mut full, true) {
                    report(Report::Full(true));
                }
            }
            Err(error) => return report(Report::Failed(error)),
        }
        if let Some(index) = compact.take()
            && let Err(error) = wal.compact(index)
        {
            return report(Report::Failed(error));
        }
    }
}

fn take(job: Job, group: &mut Vec<Persist>, compact: &mut Option<u64>) {
    match job {
        Job::Persist(persist) => group.push(*persist),
        Job::Compact(index) => *compact = Some(index),
    }
}

/// Writes a group in order with as few syncs as it allows, and empties it; the number up to which all is synced, if that
/// grew. On [`DiskError::Full`] the group keeps what is not written.
pub(crate) fn write_all<F: Files>(
    wal: &mut Wal<F>,
    files: &mut F,
    group: &mut Vec<Persist>,
) -> Result<Option<u64>, DiskError> {
    let mut number = None;
    while !group.is_empty() {
        if let Some(frozen) = &group[0].install {
            save(files, frozen)?;
        }
        let more = group[1..].iter().take_while(|persist| persist.install.is_none()).count();
        let run = &group[..more + 1];
        wal.append(run.iter().map(|persist| &persist.write))?;
        let newest = run.iter().filter_map(|persist| persist.number).next_back();
        if newest.is_some() {
            wal.sync()?;
        }
        number = newest.or(number);
        group.drain(..more + 1);
    }
    Ok(number)
}
