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
        state.settle(revision);
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Cursor, Entry, Key, Scope, command::internal_origin};

    fn view(events: usize) -> Arc<View> {
        Arc::new(View::new(HistoryLimits { events, bytes: 1 << 20 }))
    }

    /// Writes `topic/name` with an index at the next revision.
    fn write(view: &View, topic: &str, name: &str, index: Option<&str>) {
        let mut state = State::clone(&view.state());
        let revision = state.revision() + 1;
        let key = Key::new(topic, name);
        let after = Arc::new(Entry {
            value: revision.to_string().into(),
            stamp: None,
            created: revision,
            modified: revision,
            index: index.map(Arc::from),
            expires_ms: None,
        });
        let before = state.get(&key).cloned();
        state.insert(key.clone(), Arc::clone(&after));
        state.advance(revision);
        let origin = Arc::new(internal_origin("update", "", 0));
        view.publish(state, &[Arc::new(Event { revision, key, change: Change::Put { after, before }, origin })]);
    }

    fn watch(view: &Arc<View>, topic: &str, index: Option<&str>, after: Revision) -> Result<Cursor, Error> {
        let scope = Scope { topic: topic.into(), prefix: "".into(), index: index.map(Arc::from) };
        Cursor::new(Arc::clone(view), scope, after)
    }

    fn revisions(cursor: &mut Cursor) -> Vec<Revision> {
        cursor.poll().unwrap().events.iter().map(|event| event.revision).collect()
    }

    /// kube-apiserver #24004: a watch that starts one off.
    #[test]
    fn a_watch_begins_right_after_its_revision() {
        let view = view(100);
        (0..5).for_each(|_| write(&view, "pods", "a", None));
        for after in 0..=5 {
            assert_eq!(revisions(&mut watch(&view, "pods", None, after).unwrap()), (after + 1..=5).collect::<Vec<_>>());
        }
        assert!(matches!(watch(&view, "pods", None, 6), Err(Error::Future { asked: 6, current: 5 })));
    }

    #[test]
    fn an_index_is_left_and_entered() {
        let view = view(100);
        write(&view, "pods", "a", Some("node-1"));
        write(&view, "pods", "a", Some("node-2"));
        write(&view, "pods", "a", Some("node-2"));
        write(&view, "pods", "b", None);
        assert_eq!(revisions(&mut watch(&view, "pods", Some("node-1"), 0).unwrap()), [1, 2]);
        assert_eq!(revisions(&mut watch(&view, "pods", Some("node-2"), 0).unwrap()), [2, 3]);
        assert_eq!(revisions(&mut watch(&view, "pods", Some("node-3"), 0).unwrap()), [0; 0]);
    }

    /// kube-apiserver #87292: a watch on a quiet type falls behind though it has missed nothing.
    #[test]
    fn a_quiet_watch_does_not_fall_behind() {
        let view = view(10);
        let mut quiet = watch(&view, "nodes", None, 0).unwrap();
        let mut behind = watch(&view, "pods", None, 0).unwrap();
        (0..50).for_each(|_| write(&view, "pods", "a", None));
        assert!(matches!(behind.poll(), Err(Error::Compacted { asked: 0, oldest: 40 })));
        let batch = quiet.poll().unwrap();
        assert_eq!((batch.events.len(), batch.revision), (0, 50));
        assert!(matches!(watch(&view, "nodes", None, 39), Err(Error::Compacted { .. })), "a new one can't know");
        write(&view, "nodes", "n", None);
        assert_eq!(revisions(&mut quiet), [51]);
    }

    #[test]
    fn the_past_is_rebuilt() {
        let view = view(100);
        for name in ["a", "b", "a", "c"] {
            write(&view, "pods", name, None);
        }
        let at = |revision| -> Vec<String> {
            let state = view.at(revision).unwrap();
            assert_eq!(state.revision(), revision);
            state.iter().map(|(key, entry)| format!("{}={}", key.name, entry.modified)).collect()
        };
        assert_eq!(at(0), [""; 0]);
        assert_eq!(at(2), ["a=1", "b=2"]);
        assert_eq!(at(3), ["a=3", "b=2"]);
        assert_eq!(at(4), ["a=3", "b=2", "c=4"]);
        assert!(matches!(view.at(5), Err(Error::Future { .. })));
    }

    #[test]
    fn idle_trails_leave_nothing_behind() {
        let view = view(10);
        (0..100).for_each(|number| write(&view, "pods", "a", Some(&format!("node-{number}"))));
        let cursors: Vec<_> = (0..20).map(|n| watch(&view, "pods", Some(&format!("x-{n}")), 95).unwrap()).collect();
        assert_eq!(
            view.history(History::trails),
            1 + 11 + 20,
            "the topic, the ten newest and the one left, the watched"
        );
        drop(cursors);
        assert_eq!(view.history(History::trails), 1 + 11);
    }

    #[tokio::test(start_paused = true)]
    async fn only_whom_it_concerns_is_woken() {
        let view = view(100);
        let mut pods = watch(&view, "pods", None, 0).unwrap();
        let mut nodes = watch(&view, "nodes", None, 0).unwrap();
        let began = tokio::time::Instant::now();
        let idle = Duration::from_secs(60);
        let (seen, quiet, ()) =
            tokio::join!(pods.next(idle), nodes.next(idle), async { write(&view, "pods", "a", None) });
        assert_eq!(seen.unwrap().events.len(), 1);
        let quiet = quiet.unwrap();
        assert_eq!((quiet.events.len(), quiet.revision, began.elapsed()), (0, 1, idle));
        let (stopped, ()) = tokio::join!(pods.next(idle), async { view.stop() });
        assert!(matches!(stopped, Err(Error::Stopped)));
    }
}
