//! What was started with `&`.

use std::collections::BTreeMap;

use brush_parser::ast;
use tokio::task::{AbortHandle, JoinSet};

use super::{
    evaluate::{Outcome, Shell, status_of},
    streams::Streams,
    world::Signal,
};

/// Commands at once with `&`.
const MAX_JOBS: usize = 16;

/// Jobs that have ended and whose status is still known.
const MAX_ENDED: usize = 64;

/// The first job's process id. Lower ones belong to the container's first process and to what it runs.
const FIRST_PID: u32 = 10;

/// What `wait` says when a signal came: 128 + SIGTERM.
const INTERRUPTED: i32 = 143;

/// A shell's jobs. Dropped, they have ended.
#[derive(Default)]
pub struct Jobs {
    running: JoinSet<(u32, i32)>,
    handles: BTreeMap<u32, AbortHandle>,
    ended: BTreeMap<u32, i32>,
    started: u32,
}

impl Jobs {
    /// `$!`
    pub fn last(&self) -> Option<u32> {
        self.started.checked_sub(1).map(|count| FIRST_PID + count)
    }

    /// Ends a job, as a signal does; says whether there was one.
    pub fn signal(&mut self, pid: u32, signal: Signal) -> bool {
        if signal == Signal::None {
            return self.handles.contains_key(&pid);
        }
        let handle = self.handles.remove(&pid);
        if let Some(handle) = &handle {
            handle.abort();
            self.keep(pid, INTERRUPTED);
        }
        handle.is_some()
    }

    /// Waits for the next job that ends; says whether there was one to wait for.
    async fn next(&mut self) -> bool {
        match self.running.join_next().await {
            Some(Ok((pid, status))) => {
                self.handles.remove(&pid);
                self.keep(pid, status);
                true
            }
            Some(Err(_)) => true,
            None => false,
        }
    }

    fn keep(&mut self, pid: u32, status: i32) {
        self.ended.insert(pid, status);
        if self.ended.len() > MAX_ENDED {
            self.ended.pop_first();
        }
    }
}

impl Shell {
    /// Starts commands beside what runs.
    pub fn start(&mut self, commands: ast::AndOrList, streams: Streams) {
        while let Some(ended) = self.jobs.running.try_join_next() {
            if let Ok((pid, status)) = ended {
                self.jobs.handles.remove(&pid);
                self.jobs.keep(pid, status);
            }
        }
        if self.jobs.running.len() >= MAX_JOBS {
            return;
        }
        let mut job = self.clone();
        job.deepen();
        let pid = FIRST_PID + self.jobs.started;
        self.jobs.started += 1;
        let handle = self.jobs.running.spawn(async move {
            let outcome = job.and_or(&commands, &streams).await;
            (pid, status_of(outcome, &job))
        });
        self.jobs.handles.insert(pid, handle);
    }

    /// Waits for all that was started with `&`.
    pub async fn wait(&mut self) {
        while self.jobs.next().await {}
    }

    /// `wait`, `wait $!`: until these have ended, or a signal comes that is trapped.
    pub async fn wait_for(&mut self, pids: &[u32], streams: &Streams) -> Outcome {
        loop {
            let missing = pids.iter().find(|pid| !self.jobs.ended.contains_key(pid));
            if missing.is_some_and(|pid| !self.jobs.handles.contains_key(pid)) {
                return Ok(127);
            }
            if !pids.is_empty() && missing.is_none() {
                let last = pids.last().and_then(|pid| self.jobs.ended.get(pid));
                return Ok(last.copied().unwrap_or_default());
            }
            let world = self.world.clone();
            let listens = self.listens();
            tokio::select! {
                more = self.jobs.next() => if !more {
                    return Ok(0);
                },
                () = world.signals.came(), if listens => {
                    self.answer_signals(streams).await?;
                    return Ok(INTERRUPTED);
                }
            }
        }
    }
}
