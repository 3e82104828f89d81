//! Keys that wait for a worker. Source of the promises: client-go's `util/workqueue`.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap, VecDeque},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::Notify;

use crate::{
    Cause,
    clock::{self, Instant},
};

mod metrics;

use self::metrics::{Metrics, Working};

/// client-go's default rate limiter: 5 ms, doubling with each failure, 1000 s at most.
const FIRST_BACKOFF: Duration = Duration::from_millis(5);
const LAST_BACKOFF: Duration = Duration::from_secs(1000);

/// A work queue with client-go's promises: a key waits once however often it is added, is never worked on twice at the
/// same time, and comes back later after failures (5 ms doubling to 1000 s, as client-go's default limiter). It keeps the
/// first cause that a waiting key was added with. Cheap to clone.
pub struct Queue<T> {
    shared: Arc<Shared<T>>,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// A key waits, or an earlier delayed key has come.
    changed: Notify,
    metrics: Metrics,
}

struct State<T> {
    /// In the order to be worked on; each has an entry in `dirty` and none in `working`.
    waiting: VecDeque<T>,
    /// What is to be worked on and why, including what must wait for its worker's `done`.
    dirty: HashMap<T, Entry>,
    working: HashMap<T, Instant>,
    failures: HashMap<T, u32>,
    /// When each delayed key is due; the heap may hold outdated entries besides.
    delayed: HashMap<T, (Instant, Cause)>,
    due: BinaryHeap<Reverse<(Instant, u64)>>,
    /// The heap's tickets, so that keys need no order.
    tickets: HashMap<u64, T>,
    next_ticket: u64,
}

impl<T: Send> Working for Shared<T> {
    fn seconds(&self) -> Vec<f64> {
        let (state, now) = (self.state.lock().unwrap_or_else(PoisonError::into_inner), clock::instant());
        state.working.values().map(|since| (now - *since).as_secs_f64()).collect()
    }
}

struct Entry {
    cause: Cause,
    since: Instant,
}

impl<T: Hash + Eq + Clone + Send + 'static> Queue<T> {
    /// An empty queue; the name shows in metrics.
    pub fn new(name: &str) -> Self {
        let state = State {
            waiting: VecDeque::new(),
            dirty: HashMap::new(),
            working: HashMap::new(),
            failures: HashMap::new(),
            delayed: HashMap::new(),
            due: BinaryHeap::new(),
            tickets: HashMap::new(),
            next_ticket: 0,
        };
        let shared = Shared { state: Mutex::new(state), changed: Notify::new(), metrics: Metrics::of(name) };
        let shared = Arc::new(shared);
        let (working, queue) = (Arc::downgrade(&shared), Self { shared });
        metrics::watch(name, working);
        queue
    }

    /// Adds a key, with the running task's cause.
    pub fn add(&self, key: T) {
        self.add_because(key, Cause::current());
    }

    fn add_because(&self, key: T, cause: Cause) {
        if self.lock().add(key, cause, &self.shared.metrics) {
            self.shared.changed.notify_one();
        }
    }

    /// Adds a key after a while.
    pub fn add_after(&self, key: T, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        if self.lock().delay(key, clock::instant() + delay, Cause::current()) {
            self.shared.changed.notify_one();
        }
    }

    /// Adds a key after its back-off, which this failure lengthens.
    pub fn add_failed(&self, key: T) {
        self.shared.metrics.retries.inc();
        let failures = {
            let mut state = self.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures += 1;
            *failures
        };
        let backoff = FIRST_BACKOFF.saturating_mul(1u32.checked_shl(failures - 1).unwrap_or(u32::MAX));
        self.add_after(key, backoff.min(LAST_BACKOFF));
    }

    /// Forgets a key's failures.
    pub fn forget(&self, key: &T) {
        self.lock().failures.remove(key);
    }

    /// How often a key failed in a row.
    pub fn failures(&self, key: &T) -> u32 {
        self.lock().failures.get(key).copied().unwrap_or_default()
    }

    /// How many keys wait for a worker now.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// No key waits for a worker now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next key and why it waits; waits for one. Call [`Queue::done`] with it afterwards.
    pub async fn next(&self) -> (T, Cause) {
        loop {
            let changed = self.shared.changed.notified();
            let wake = {
                let mut state = self.lock();
                state.wake(clock::instant(), &self.shared.metrics);
                if let Some(next) = state.take(&self.shared.metrics) {
                    if !state.waiting.is_empty() {
                        // Two keys may have come under one notice: pass it on.
                        self.shared.changed.notify_one();
                    }
                    return next;
                }
                state.due.peek().map(|Reverse((due, _))| *due)
            };
            match wake {
                Some(due) => tokio::select! {
                    () = changed => {}
                    () = clock::sleep_until(due) => {}
                },
                None => changed.await,
            }
        }
    }

    /// The worker is done with this key; if it was added meanwhile, it waits again.
    pub fn done(&self, key: &T) {
        let mut state = self.lock();
        if let Some(started) = state.working.remove(key) {
            self.shared.metrics.work_duration.observe((clock::instant() - started).as_secs_f64());
        }
        if state.dirty.contains_key(key) {
            state.waiting.push_back(key.clone());
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Hash + Eq + Clone> State<T> {
    /// Says whether a worker can take something new.
    fn add(&mut self, key: T, cause: Cause, metrics: &Metrics) -> bool {
        if self.dirty.contains_key(&key) {
            return false;
        }
        metrics.adds.inc();
        self.dirty.insert(key.clone(), Entry { cause, since: clock::instant() });
        if self.working.contains_key(&key) {
            return false;
        }
        self.waiting.push_back(key);
        metrics.depth.set(self.waiting.len() as i64);
        true
    }

    /// Says whether workers must look at the time again. The earlier of two delays of a key holds.
    fn delay(&mut self, key: T, due: Instant, cause: Cause) -> bool {
        if self.delayed.get(&key).is_some_and(|(earlier, _)| *earlier <= due) {
            return false;
        }
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.delayed.insert(key.clone(), (due, cause));
        self.tickets.insert(ticket, key);
        self.due.push(Reverse((due, ticket)));
        self.due.peek().is_some_and(|Reverse((_, first))| *first == ticket)
    }

    /// Lets the keys wait that are due.
    fn wake(&mut self, now: Instant, metrics: &Metrics) {
        while let Some(&Reverse((due, ticket))) = self.due.peek() {
            if due > now {
                return;
            }
            self.due.pop();
            let Some(key) = self.tickets.remove(&ticket) else { continue };
            if self.delayed.get(&key).is_some_and(|(latest, _)| *latest == due)
                && let Some((_, cause)) = self.delayed.remove(&key)
            {
                self.add(key, cause, metrics);
            }
        }
    }

    fn take(&mut self, metrics: &Metrics) -> Option<(T, Cause)> {
        let key = self.waiting.pop_front()?;
        metrics.depth.set(self.waiting.len() as i64);
        let now = clock::instant();
        let cause = match self.dirty.remove(&key) {
            Some(entry) => {
                metrics.queue_duration.observe((now - entry.since).as_secs_f64());
                entry.cause
            }
            None => Cause::default(),
        };
        self.working.insert(key.clone(), now);
        Some((key, cause))
    }
}

#[cfg(test)]
mod tests;
