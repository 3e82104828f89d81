//! What a member shows of its replica: the newest state, the watch history, the journal. The replica publishes, everyone
//! else reads.
//!
//! Invariant: whoever sees an event in the history finds a state at or past its revision.

use std::sync::{
    Arc, PoisonError, RwLock,
    atomic::{AtomicBool, Ordering},
};

use arc_swap::ArcSwap;
use tokio::sync::{Notify, watch};

use crate::{
    Change, Error, Event, Revision, State,
    history::{Follow, History, HistoryLimits},
    journal::Ledger,
    snapshot::Frozen,
};

/// The published side of a replica.
pub(crate) struct View {
    state: ArcSwap<State>,
    history: RwLock<History>,
    ledger: RwLock<Ledger>,
    revision: watch::Sender<Revision>,
    stopped: AtomicBool,
}

impl View {
    pub(crate) fn new(limits: HistoryLimits) -> Self {
        Self {
            state: ArcSwap::default(),
            history: RwLock::new(History::new(limits, 0)),
            ledger: RwLock::default(),
            revision: watch::Sender::new(0),
            stopped: AtomicBool::new(false),
        }
    }

    pub(crate) fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// Publishes a state and the events that led to it.
    pub(crate) fn publish(&self, state: State, events: &[Arc<Event>]) {
        let revision = state.revision();
        self.ledger.write().unwrap_or_else(PoisonError::into_inner).enter(events);
        let mut wakes = Vec::new();
        {
            let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
            history.append(events, revision, &mut wakes);
            self.state.store(Arc::new(state));
        }
        self.wake(revision, &wakes);
    }

    /// Replaces everything by what a snapshot holds.
    pub(crate) fn restore(&self, frozen: &Frozen) {
        let revision = frozen.state.revision();
        let mut ledger = Ledger::default();
        frozen.records.iter().for_each(|record| ledger.push(Arc::clone(record)));
        *self.ledger.write().unwrap_or_else(PoisonError::into_inner) = ledger;
        let mut wakes = Vec::new();
        {
            let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
            history.restart(frozen.floor, &mut wakes);
            history.append(&frozen.events, revision, &mut Vec::new());
            self.state.store(Arc::new(frozen.state.clone()));
        }
        self.wake(revision, &wakes);
    }

    fn wake(&self, revision: Revision, wakes: &[Arc<Notify>]) {
        self.revision.send_replace(revision);
        wakes.iter().for_each(|wake| wake.notify_waiters());
    }

    /// Ends every wait.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        let everyone = self.history.read().unwrap_or_else(PoisonError::into_inner).everyone();
        everyone.iter().for_each(|wake| wake.notify_waiters());
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// The applied revision and its changes.
    pub(crate) fn revisions(&self) -> watch::Receiver<Revision> {
        self.revision.subscribe()
    }

    pub(crate) fn ledger<T>(&self, read: impl FnOnce(&Ledger) -> T) -> T {
        read(&self.ledger.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn history<T>(&self, read: impl FnOnce(&History) -> T) -> T {
        read(&self.history.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Begins to follow a trail from after a revision that the history still covers.
    pub(crate) fn follow(&self, follow: &Follow, after: Revision) -> Result<Arc<Notify>, Error> {
        let mut history = self.history.write().unwrap_or_else(PoisonError::into_inner);
        in_window(&history, after)?;
        Ok(history.follow(follow))
    }

    pub(crate) fn unfollow(&self, follow: &Follow) {
        self.history.write().unwrap_or_else(PoisonError::into_inner).unfollow(follow);
    }

    /// The state exactly at a revision: the newest one with the events since then undone.
    pub(crate) fn at(&self, revision: Revision) -> Result<Arc<State>, Error> {
        let history = self.history.read().unwrap_or_else(PoisonError::into_inner);
        let newest = self.state.load_full();
        if newest.revision() == revision {
            return Ok(newest);
        }
        in_window(&history, revision)?;
        let undo: Vec<_> = history.events().rev().take_while(|event| event.revision > revision).cloned().collect();
        drop(history);
        let mut state = State::clone(&newest);
        for event in undo {
            let before = match &event.change {
                Change::Put { before, .. } => before.as_ref(),
                Change::Delete { before, .. } => Some(before),
            };
            match before {
                Some(entry) => state.insert(event.key.clone(), Arc::clone(entry)),
                None => drop(state.remove(&event.key)),
            }
        }
        state.advance(revision);
        Ok(Arc::new(state))
    }
}

fn in_window(history: &History, revision: Revision) -> Result<(), Error> {
    if revision > history.head() {
        return Err(Error::Future { asked: revision, current: history.head() });
    }
    if revision < history.floor() {
        return Err(Error::Compacted { asked: revision, oldest: history.floor() });
    }
    Ok(())
}
