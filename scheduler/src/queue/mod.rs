//! The pods that wait for a node. Upstream: `backend/queue`.
//!
//! ```text
//!            put ─▶ gated?
//!                     │
//!                     ▼            pop
//!       ┌────────▶ active ──────────────────▶ in flight ─▶ done
//!       │             ▲ back-off over │           │
//!       │             │               │           ├─ failed ───────▶ back-off
//!       │          back-off ◀─────────┘           └─ fits nowhere ─▶ unschedulable
//!       │             ▲ too early                                        │
//!       └─────────────┴───────────── an event that may help ◀────────────┘
//! ```
//!
//! A pod stands in one place at a time. Back-off is 1 s, doubling to 10 s, counted from when the last attempt ended; when
//! nothing is active, pods that only wait out a back-off after not fitting are taken early (upstream's
//! `SchedulerPopFromBackoffQ`). What no event has helped for 5 minutes is tried anyway.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use kubelab_client::{Cause, clock::Instant};

use crate::{
    framework::{ClusterEvent, Events, PodInfo, Profiles},
    metrics::METRICS,
};

/// How long a pod that could not be placed waits at least before it is tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// After the first attempt; it doubles with each.
    pub initial: Duration,
    /// After any.
    pub max: Duration,
}

impl Default for Backoff {
    /// Source: `podInitialBackoffSeconds` and `podMaxBackoffSeconds`.
    fn default() -> Self {
        Self { initial: Duration::from_secs(1), max: Duration::from_secs(10) }
    }
}

/// How long a pod may stay unschedulable without being tried, and how often that is looked at.
const LEFT_OVER: Duration = Duration::from_secs(5 * 60);
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How many events are remembered for pods in flight; beyond, such pods are tried again whatever happened.
const REMEMBERED: usize = 1000;

/// What brings a pod into the queue that was tried in vain.
const FAILURE: &str = "ScheduleAttemptFailure";

/// Lower keys come first: importance, age, ticket.
pub type SortKey = (Reverse<i32>, Instant, u64);

/// A pod that waits, or is being tried.
#[derive(Clone, Debug)]
pub struct QueuedPod {
    /// The pod.
    pub info: Arc<PodInfo>,
    /// The event that brought it: what its binding is because of.
    pub cause: Cause,
    /// How often it was tried.
    pub attempts: u32,
    /// When it came to wait, at first or after the last attempt.
    pub queued: Instant,
    /// When it came at first.
    pub first_queued: Instant,
    /// When it was last popped.
    pub tried: Instant,
    /// Its number, in the order in which pods came.
    pub ticket: u64,
    /// What rejected it at the last attempt, and the kinds of events that may help.
    rejected_by: BTreeSet<&'static str>,
    awaits: Events,
    /// The number of the last event before it was popped.
    event: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Active(SortKey),
    /// Until when; whether it may be taken early.
    Backoff(Instant, bool),
    Unschedulable,
    Gated,
}

/// How many pods wait where, under upstream's names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counts {
    pub active: usize,
    pub backoff: usize,
    pub unschedulable: usize,
    pub gated: usize,
}

/// The queue.
pub struct Queue {
    profiles: Arc<Profiles>,
    lengths: Backoff,
    pods: HashMap<String, (Place, QueuedPod)>,
    active: BTreeMap<SortKey, String>,
    backoff: BTreeMap<(Instant, u64), String>,
    unschedulable: HashSet<String>,
    /// With what came of them meanwhile.
    in_flight: HashMap<String, Option<Arc<PodInfo>>>,
    /// Events since the oldest pod in flight was popped, with the number of the first of them.
    events: VecDeque<ClusterEvent>,
    first_event: u64,
    next_ticket: u64,
    /// When to look at what is left over.
    next_look: Option<Instant>,
}

impl Queue {
    /// An empty queue for these profiles' pods.
    pub fn new(profiles: Arc<Profiles>, lengths: Backoff) -> Self {
        Self {
            profiles,
            lengths,
            pods: HashMap::new(),
            active: BTreeMap::new(),
            backoff: BTreeMap::new(),
            unschedulable: HashSet::new(),
            in_flight: HashMap::new(),
            events: VecDeque::new(),
            first_event: 0,
            next_ticket: 0,
            next_look: None,
        }
    }

    /// A pod waits, or changed while it does.
    pub fn put(&mut self, info: Arc<PodInfo>, cause: Cause, now: Instant) {
        let uid = info.uid();
        if let Some(latest) = self.in_flight.get_mut(uid) {
            *latest = Some(info);
            return;
        }
        let Some((place, old)) = self.pods.get(uid) else {
            let ticket = self.next_ticket;
            self.next_ticket += 1;
            let pod = QueuedPod {
                info,
                cause,
                attempts: 0,
                queued: now,
                first_queued: now,
                tried: now,
                ticket,
                rejected_by: BTreeSet::new(),
                awaits: Events::NONE,
                event: 0,
            };
            return self.activate(pod, "PodAdd");
        };
        let place = *place;
        let matters = differ(&old.info, &info);
        let uid = uid.to_owned();
        if let Some((_, pod)) = self.pods.get_mut(&uid) {
            pod.info = info;
        }
        if matters && matches!(place, Place::Gated | Place::Unschedulable) {
            self.wake(&uid, "PodUpdate", now);
        }
    }

    /// A pod need not wait any more: it is gone, or on a node.
    pub fn remove(&mut self, uid: &str) {
        self.take(uid);
        self.land(uid);
    }

    /// The next pod to try. It is in flight until one of [`Queue::done`], [`Queue::failed`] or [`Queue::unschedulable`].
    pub fn pop(&mut self, now: Instant) -> Option<QueuedPod> {
        if self.next_look.is_some_and(|next| next <= now) {
            self.wake_left_over(now);
            self.next_look = (!self.unschedulable.is_empty()).then(|| now + LOOK_EVERY);
        }
        while let Some((&(due, _), uid)) = self.backoff.first_key_value() {
            if due > now {
                break;
            }
            let uid = uid.clone();
            if let Some(pod) = self.take(&uid) {
                self.activate(pod, "BackoffComplete");
            }
        }
        let early = || {
            let early = |uid: &&String| matches!(self.pods.get(*uid), Some((Place::Backoff(_, true), _)));
            self.backoff.values().find(early)
        };
        let uid = self.active.first_key_value().map(|(_, uid)| uid).or_else(early)?.clone();
        let mut pod = self.take(&uid)?;
        pod.attempts += 1;
        pod.tried = now;
        pod.event = self.first_event + self.events.len() as u64;
        self.in_flight.insert(uid, None);
        Some(pod)
    }

    /// When [`Queue::pop`] may have something new to give, if nothing happens before.
    pub fn next_due(&self) -> Option<Instant> {
        let over = self.backoff.first_key_value().map(|((due, _), _)| *due);
        over.into_iter().chain(self.next_look).min()
    }

    /// A pod in flight has its node.
    pub fn done(&mut self, uid: &str) {
        self.land(uid);
    }

    /// A pod in flight could not be handled: something is wrong that has nothing to do with where it fits.
    pub fn failed(&mut self, mut pod: QueuedPod, now: Instant) {
        let Some(latest) = self.land(pod.info.uid()) else { return };
        pod.info = latest.unwrap_or(pod.info);
        pod.queued = now;
        pod.rejected_by.clear();
        self.back_off(pod, false, FAILURE);
    }

    /// A pod in flight fits nowhere: it waits for an event that one of these plugins thinks may help.
    pub fn unschedulable(&mut self, mut pod: QueuedPod, plugins: BTreeSet<&'static str>, now: Instant) {
        let mut helped = self.happened_since(&pod, &plugins);
        let Some(latest) = self.land(pod.info.uid()) else { return };
        if let Some(latest) = latest {
            helped |= differ(&pod.info, &latest);
            pod.info = latest;
        }
        pod.queued = now;
        pod.awaits = self.profiles.of(&pod.info).map_or(Events::NONE, |profile| profile.events(&plugins));
        pod.rejected_by = plugins;
        if helped {
            return self.back_off(pod, true, FAILURE);
        }
        METRICS.incoming("unschedulable", FAILURE);
        METRICS.waiting(&pod.rejected_by, pod.info.scheduler_name(), 1);
        self.next_look.get_or_insert(now + LOOK_EVERY);
        let uid = pod.info.uid().to_owned();
        self.unschedulable.insert(uid.clone());
        self.pods.insert(uid, (Place::Unschedulable, pod));
    }

    /// Something happened.
    pub fn on_event(&mut self, event: ClusterEvent, now: Instant) {
        let kinds = event.kinds();
        let wakes = |uid: &&String| {
            let Some((_, pod)) = self.pods.get(*uid) else { return false };
            pod.awaits.intersects(kinds) && self.wakes(&pod.rejected_by, &pod.info, &event)
        };
        let woken: Vec<String> = self.unschedulable.iter().filter(wakes).cloned().collect();
        for uid in woken {
            self.wake(&uid, event.name(), now);
        }
        if self.in_flight.is_empty() {
            self.first_event += 1;
        } else {
            self.events.push_back(event);
            if self.events.len() > REMEMBERED {
                self.events.pop_front();
                self.first_event += 1;
            }
        }
    }

    /// Tries what has been unschedulable for too long.
    fn wake_left_over(&mut self, now: Instant) {
        let old = |uid: &&String| self.pods.get(*uid).is_some_and(|(_, pod)| pod.queued + LEFT_OVER <= now);
        let left: Vec<String> = self.unschedulable.iter().filter(old).cloned().collect();
        for uid in left {
            self.wake(&uid, "UnschedulableTimeout", now);
        }
    }

    /// How many pods wait where.
    pub fn counts(&self) -> Counts {
        let (active, backoff, unschedulable) = (self.active.len(), self.backoff.len(), self.unschedulable.len());
        Counts { active, backoff, unschedulable, gated: self.pods.len() - active - backoff - unschedulable }
    }

    /// Moves a pod that may fit now to where it is tried: at once, or once its back-off is over.
    fn wake(&mut self, uid: &str, event: &'static str, now: Instant) {
        let Some(pod) = self.take(uid) else { return };
        let is_early = pod.attempts > 0 && self.backoff_end(&pod) > now;
        if is_early { self.back_off(pod, true, event) } else { self.activate(pod, event) }
    }

    fn activate(&mut self, pod: QueuedPod, event: &'static str) {
        let uid = pod.info.uid().to_owned();
        let place = match self.profiles.of(&pod.info) {
            Some(profile) if profile.pre_enqueue.iter().all(|plugin| plugin.pre_enqueue(&pod.info).is_ok()) => {
                let key = profile.queue_sort.key(&pod);
                self.active.insert(key, uid.clone());
                Place::Active(key)
            }
            _ => Place::Gated,
        };
        METRICS.incoming(if place == Place::Gated { "gated" } else { "active" }, event);
        self.pods.insert(uid, (place, pod));
    }

    fn back_off(&mut self, pod: QueuedPod, early: bool, event: &'static str) {
        METRICS.incoming("backoff", event);
        let uid = pod.info.uid().to_owned();
        let end = self.backoff_end(&pod);
        self.backoff.insert((end, pod.ticket), uid.clone());
        self.pods.insert(uid, (Place::Backoff(end, early), pod));
    }

    /// Takes a pod from wherever it waits.
    fn take(&mut self, uid: &str) -> Option<QueuedPod> {
        let (place, pod) = self.pods.remove(uid)?;
        match place {
            Place::Active(key) => drop(self.active.remove(&key)),
            Place::Backoff(end, _) => drop(self.backoff.remove(&(end, pod.ticket))),
            Place::Unschedulable => {
                METRICS.waiting(&pod.rejected_by, pod.info.scheduler_name(), -1);
                self.unschedulable.remove(uid);
            }
            Place::Gated => {}
        }
        Some(pod)
    }

    /// A pod is in flight no longer; gives what came of it meanwhile, if it was.
    fn land(&mut self, uid: &str) -> Option<Option<Arc<PodInfo>>> {
        let landed = self.in_flight.remove(uid);
        if self.in_flight.is_empty() {
            self.first_event += self.events.len() as u64;
            self.events.clear();
        }
        landed
    }

    /// Something that may help happened while the pod was in flight.
    fn happened_since(&self, pod: &QueuedPod, plugins: &BTreeSet<&'static str>) -> bool {
        let Some(skip) = pod.event.checked_sub(self.first_event) else { return true };
        self.events.iter().skip(skip as usize).any(|event| self.wakes(plugins, &pod.info, event))
    }

    fn wakes(&self, plugins: &BTreeSet<&'static str>, pod: &PodInfo, event: &ClusterEvent) -> bool {
        self.profiles.of(pod).is_some_and(|profile| profile.wakes(plugins, pod, event))
    }

    /// When a pod may be tried again.
    fn backoff_end(&self, pod: &QueuedPod) -> Instant {
        let doublings = pod.attempts.saturating_sub(1).min(16);
        pod.queued + (self.lengths.initial * (1 << doublings)).min(self.lengths.max)
    }
}

/// A change of the pod itself that may let it fit.
fn differ(old: &PodInfo, new: &PodInfo) -> bool {
    old.spec() != new.spec() || old.labels() != new.labels()
}

#[cfg(test)]
mod tests;
