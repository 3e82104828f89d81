//! The priority levels: how many requests of each are served at once, and who waits where. A flow is dealt a hand of its
//! level's queues and joins the shortest, so that a busy flow meets few others; queues take turns.
//! Source: `fairqueuing/queueset` and `shufflesharding` in `k8s.io/apiserver/pkg/util/flowcontrol`.

use std::{
    collections::{BTreeMap, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use k8s_openapi::api::flowcontrol::v1::PriorityLevelConfiguration;
use tokio::{sync::oneshot, time::timeout};

use super::{Flow, width::Width};

/// How long a request waits for a seat. Source: a quarter of `--request-timeout`.
const PATIENCE: Duration = Duration::from_secs(15);

/// Why there is no seat. The names are those of the metric `apiserver_flowcontrol_rejected_requests_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The level has no queues.
    ConcurrencyLimit,
    /// The queue is full.
    QueueFull,
    /// No seat came free in time.
    TimeOut,
}

impl Refused {
    /// All reasons.
    pub const ALL: [Self; 3] = [Self::ConcurrencyLimit, Self::QueueFull, Self::TimeOut];

    /// Upstream's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::ConcurrencyLimit => "concurrency-limit",
            Self::QueueFull => "queue-full",
            Self::TimeOut => "time-out",
        }
    }
}

/// No request takes more of its level's own seats than this part. Source: `getMaxSeats` in `apf_controller.go`.
const WIDEST_PERCENT: usize = 15;

/// Somebody in a queue, and how many seats he wants.
struct Caller {
    call: oneshot::Sender<()>,
    seats: usize,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Caller>,
}

/// One priority level.
#[derive(Default)]
struct Level {
    exempt: bool,
    /// Its own seats.
    nominal: usize,
    /// Those of them that it never lends.
    kept: usize,
    queues: Vec<Queue>,
    hand: usize,
    length: usize,
    /// The queue whose turn is next.
    next: usize,
    executing: usize,
    waiting: usize,
}

impl Level {
    fn configure(&mut self, level: &PriorityLevelConfiguration, seats: usize, all_shares: i32) {
        let limited = level.spec.limited.as_ref();
        self.exempt = limited.is_none();
        let shares = shares(level);
        let lendable = limited.and_then(|limited| limited.lendable_percent).unwrap_or(0).clamp(0, 100);
        self.nominal = (seats * count(shares)).div_ceil(count(all_shares).max(1));
        self.kept = self.nominal - self.nominal * count(lendable) / 100;
        let queuing = limited.and_then(|limited| limited.limit_response.queuing.as_ref());
        let number = |value: Option<i32>, default: usize| value.map_or(default, count);
        let queues = queuing.map_or(0, |queuing| number(queuing.queues, 64));
        self.hand = queuing.map_or(0, |queuing| number(queuing.hand_size, 8));
        self.length = queuing.map_or(0, |queuing| number(queuing.queue_length_limit, 50));
        // Who waits in a queue that goes is served before it does.
        while self.queues.len() > queues && self.queues.last().is_some_and(|queue| queue.waiting.is_empty()) {
            self.queues.pop();
        }
        if self.queues.len() < queues {
            self.queues.resize_with(queues, Queue::default);
        }
    }

    /// The shortest queue of the flow's hand.
    fn deal(&self, hash: u64) -> usize {
        let mut left = hash;
        let mut deck: Vec<usize> = (0..self.queues.len()).collect();
        let mut best = None;
        for _ in 0..self.hand.min(deck.len()) {
            let size = deck.len();
            let card = deck.swap_remove(usize::try_from(left % size as u64).unwrap_or(0));
            left /= size as u64;
            let length = self.queues[card].waiting.len();
            if best.is_none_or(|(shortest, _)| length < shortest) {
                best = Some((length, card));
            }
        }
        best.map_or(0, |(_, card)| card)
    }

    /// The queue whose turn it is, and how many seats its first wants. Those who have gone are passed over.
    fn next(&mut self) -> Option<(usize, usize)> {
        let count = self.queues.len();
        for at in (0..count).map(|step| (self.next + step) % count) {
            let queue = &mut self.queues[at].waiting;
            while queue.front().is_some_and(|first| first.call.is_closed()) {
                queue.pop_front();
                self.waiting -= 1;
            }
            if let Some(first) = queue.front() {
                return Some((at, first.seats));
            }
        }
        None
    }

    /// Takes the first of this queue. `false` if he went in this moment.
    fn call(&mut self, at: usize) -> bool {
        let Some(first) = self.queues[at].waiting.pop_front() else { return false };
        self.waiting -= 1;
        let came = first.call.send(()).is_ok();
        if came {
            self.next = (at + 1) % self.queues.len();
        }
        came
    }
}

fn shares(level: &PriorityLevelConfiguration) -> i32 {
    level.spec.limited.as_ref().map_or(0, |limited| limited.nominal_concurrency_shares.unwrap_or(30))
}

fn count(number: i32) -> usize {
    usize::try_from(number).unwrap_or(0)
}

#[derive(Default)]
struct Inner {
    levels: BTreeMap<String, Level>,
    /// Limited requests under way.
    executing: usize,
}

impl Inner {
    /// A request of this level may be served: the level has seats of its own free, or there are some that no other level is
    /// entitled to.
    fn has_seats(&self, name: &str, wanted: usize, seats: usize) -> bool {
        let Some(level) = self.levels.get(name) else { return true };
        if level.executing + wanted <= level.kept {
            return self.executing + wanted <= seats;
        }
        let entitled = |(other, level): (&String, &Level)| {
            if other == name || level.exempt {
                return 0;
            }
            // Those who wait may have back all that is their own.
            let own = if level.waiting > 0 { level.nominal } else { level.kept };
            own.saturating_sub(level.executing)
        };
        self.executing + wanted + self.levels.iter().map(entitled).sum::<usize>() <= seats
    }

    fn seat(&mut self, name: &str, taken: usize) {
        let Some(level) = self.levels.get_mut(name) else { return };
        level.executing += taken;
        if !level.exempt {
            self.executing += taken;
        }
    }

    /// Gives free seats to those who wait: to this level's first, then to others'. Who wants many is waited for, so that he
    /// is not overtaken for ever.
    fn dispatch(&mut self, first: &str, seats: usize) {
        let others = self.levels.iter().filter(|(name, level)| level.waiting > 0 && *name != first);
        let names: Vec<String> =
            std::iter::once(first.to_owned()).chain(others.map(|(name, _)| name.clone())).collect();
        for name in names {
            while let Some((at, wanted)) = self.levels.get_mut(&name).and_then(Level::next)
                && self.has_seats(&name, wanted, seats)
            {
                if self.levels.get_mut(&name).is_some_and(|level| level.call(at)) {
                    self.seat(&name, wanted);
                }
            }
        }
    }
}

/// All priority levels. A cheap handle.
#[derive(Clone)]
pub struct Levels {
    seats: usize,
    inner: Arc<Mutex<Inner>>,
}

/// How one level stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Its name.
    pub level: String,
    /// Its own seats.
    pub nominal: usize,
    /// Requests under way.
    pub executing: usize,
    /// Requests that wait.
    pub waiting: usize,
}

impl Levels {
    /// So many seats for all levels together.
    pub fn new(seats: usize) -> Self {
        Self { seats, inner: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes these levels. One that is gone stays until its requests are done.
    pub fn configure(&self, levels: &[PriorityLevelConfiguration]) {
        let all: i32 = levels.iter().map(shares).sum();
        let mut inner = self.lock();
        for level in levels {
            let name = level.metadata.name.clone().unwrap_or_default();
            inner.levels.entry(name).or_default().configure(level, self.seats, all);
        }
        let stays = |name: &String| levels.iter().any(|level| level.metadata.name.as_ref() == Some(name));
        inner.levels.retain(|name, level| {
            if !stays(name) {
                (level.nominal, level.kept) = (0, 0);
            }
            stays(name) || level.executing + level.waiting > 0
        });
        inner.dispatch("", self.seats);
    }

    /// How the levels stand.
    pub fn standing(&self) -> Vec<Standing> {
        let standing = |(name, level): (&String, &Level)| Standing {
            level: name.clone(),
            nominal: level.nominal,
            executing: level.executing,
            waiting: level.waiting,
        };
        self.lock().levels.iter().map(standing).collect()
    }

    /// So many seats of this level one request may take.
    pub fn widest(&self, level: &str) -> usize {
        let nominal = self.lock().levels.get(level).map_or(0, |level| level.nominal);
        (nominal * WIDEST_PERCENT).div_ceil(100).max(1)
    }

    /// Seats for a request, at once or after a wait.
    pub async fn enter(&self, flow: &Flow, width: Width) -> Result<Seat, Refused> {
        self.enter_as(&flow.schema.level, (&flow.schema.name, &flow.distinguisher), width, PATIENCE).await
    }

    pub(super) async fn enter_as(
        &self,
        level: &str,
        flow: (&str, &str),
        width: Width,
        patience: Duration,
    ) -> Result<Seat, Refused> {
        let seat = || Ok(Seat { levels: Some((self.clone(), level.to_owned())), width });
        let called = {
            let mut inner = self.lock();
            let free = inner.has_seats(level, width.seats, self.seats);
            let inner = &mut *inner;
            let Some(known) = inner.levels.get_mut(level) else { return Ok(Seat { levels: None, width }) };
            if known.exempt || free && known.waiting == 0 {
                inner.seat(level, width.seats);
                return seat();
            }
            if known.queues.is_empty() {
                return Err(Refused::ConcurrencyLimit);
            }
            let mut hasher = DefaultHasher::new();
            flow.hash(&mut hasher);
            let queue = known.deal(hasher.finish());
            if known.queues[queue].waiting.len() >= known.length {
                return Err(Refused::QueueFull);
            }
            let (caller, called) = oneshot::channel();
            known.queues[queue].waiting.push_back(Caller { call: caller, seats: width.seats });
            known.waiting += 1;
            called
        };
        let mut waiting = Waiting { levels: self, level, seats: width.seats, called: Some(called) };
        let Some(called) = waiting.called.as_mut() else { return Err(Refused::TimeOut) };
        match timeout(patience, called).await {
            Ok(Ok(())) => {
                waiting.called = None;
                seat()
            }
            _ => Err(Refused::TimeOut),
        }
    }

    fn leave(&self, name: &str, seats: usize) {
        let mut inner = self.lock();
        let Some(level) = inner.levels.get_mut(name) else { return };
        level.executing = level.executing.saturating_sub(seats);
        if !level.exempt {
            inner.executing = inner.executing.saturating_sub(seats);
            inner.dispatch(name, self.seats);
        }
    }

    /// Somebody gave up. If he was called in that moment, his seats go on to the next.
    fn give_up(&self, name: &str, seats: usize, was_called: bool) {
        if was_called {
            return self.leave(name, seats);
        }
        let mut inner = self.lock();
        let Some(level) = inner.levels.get_mut(name) else { return };
        for queue in &mut level.queues {
            queue.waiting.retain(|caller| !caller.call.is_closed());
        }
        level.waiting = level.queues.iter().map(|queue| queue.waiting.len()).sum();
        inner.dispatch(name, self.seats);
    }
}

/// Somebody who waits.
struct Waiting<'l> {
    levels: &'l Levels,
    level: &'l str,
    seats: usize,
    called: Option<oneshot::Receiver<()>>,
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(mut called) = self.called.take() {
            called.close();
            self.levels.give_up(self.level, self.seats, called.try_recv().is_ok());
        }
    }
}

/// Seats, which are given back when dropped, or a while later.
pub struct Seat {
    levels: Option<(Levels, String)>,
    width: Width,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some((levels, level)) = self.levels.take() else { return };
        let Width { seats, after } = self.width;
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) if !after.is_zero() => drop(runtime.spawn(async move {
                tokio::time::sleep(after).await;
                levels.leave(&level, seats);
            })),
            _ => levels.leave(&level, seats),
        }
    }
}
