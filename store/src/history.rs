//! The watch history: one ordered ring of events, and for each topic (and index within it) a trail of places in the
//! ring, so that a watcher reads only what concerns it and one on a quiet topic costs nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use tokio::sync::Notify;

use crate::{Change, Event, Revision, Topic};

/// What an event costs beside its values.
const OVERHEAD: usize = 256;

/// How much is remembered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// Events.
    pub events: usize,
    /// Bytes, roughly.
    pub bytes: usize,
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self { events: 16 * 1024, bytes: 16 << 20 }
    }
}

/// The places of one scope's events in the ring.
#[derive(Default)]
struct Trail {
    places: VecDeque<u64>,
    /// The newest event of this trail that the ring has dropped.
    dropped: Revision,
    watchers: usize,
    wake: Arc<Notify>,
}

#[derive(Default)]
struct TopicTrail {
    all: Trail,
    by_index: HashMap<Arc<str>, Trail>,
}

/// Which trail a cursor follows.
#[derive(Clone, Debug)]
pub(crate) struct Follow {
    pub(crate) topic: Topic,
    pub(crate) index: Option<Arc<str>>,
}

/// The ring. Every event newer than `floor` is in it, in order.
pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    /// The place of the front event; places count up for ever.
    first: u64,
    bytes: usize,
    limits: HistoryLimits,
    floor: Revision,
    head: Revision,
    trails: HashMap<Topic, TopicTrail>,
}

fn cost(event: &Event) -> usize {
    let value = match &event.change {
        Change::Put { after, .. } => after.value.len(),
        Change::Delete { last, before } => last.value.len() + before.value.len(),
    };
    value + OVERHEAD
}

/// The indexes that an event concerns: what the entry had, and what it has.
fn indexes(event: &Event) -> impl Iterator<Item = &Arc<str>> {
    let (new, old) = match &event.change {
        Change::Put { after, before } => (after.index.as_ref(), before.as_ref().and_then(|entry| entry.index.as_ref())),
        Change::Delete { before, .. } => (before.index.as_ref(), None),
    };
    new.into_iter().chain(old.filter(|old| Some(*old) != new))
}

impl History {
    pub(crate) fn new(limits: HistoryLimits, floor: Revision) -> Self {
        Self { events: VecDeque::new(), first: 0, bytes: 0, limits, floor, head: floor, trails: HashMap::new() }
    }

    /// Everything newer than this is known.
    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    /// The newest revision.
    pub(crate) fn head(&self) -> Revision {
        self.head
    }

    pub(crate) fn events(&self) -> impl DoubleEndedIterator<Item = &Arc<Event>> {
        self.events.iter()
    }

    /// Adds the events of whole revisions, up to `head`; whom to wake is appended to `wakes`.
    pub(crate) fn append(&mut self, events: &[Arc<Event>], head: Revision, wakes: &mut Vec<Arc<Notify>>) {
        for event in events {
            let place = self.first + self.events.len() as u64;
            if !self.trails.contains_key(&event.key.topic) {
                self.trails.insert(Arc::clone(&event.key.topic), TopicTrail::default());
            }
            if let Some(topic) = self.trails.get_mut(&event.key.topic) {
                topic.all.step(place, wakes);
                for index in indexes(event) {
                    match topic.by_index.get_mut(index) {
                        Some(trail) => trail.step(place, wakes),
                        None => topic.by_index.entry(Arc::clone(index)).or_default().step(place, wakes),
                    }
                }
            }
            self.bytes += cost(event);
            self.events.push_back(Arc::clone(event));
        }
        self.head = head;
        // Revisions go whole.
        while self.events.len() > self.limits.events
            || self.bytes > self.limits.bytes
            || self.events.front().is_some_and(|event| event.revision == self.floor)
        {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some(event) = self.events.pop_front() else { return };
        let place = self.first;
        self.first += 1;
        self.bytes -= cost(&event);
        self.floor = event.revision;
        let Some(topic) = self.trails.get_mut(&event.key.topic) else { return };
        topic.all.drop_place(place, event.revision);
        for index in indexes(&event) {
            if let Some(trail) = topic.by_index.get_mut(index) {
                trail.drop_place(place, event.revision);
                if trail.is_idle() {
                    topic.by_index.remove(index);
                }
            }
        }
        if topic.is_idle() {
            self.trails.remove(&event.key.topic);
        }
    }

    /// Begins anew after a snapshot; those who follow a trail keep it, and find out what they missed.
    pub(crate) fn restart(&mut self, floor: Revision, wakes: &mut Vec<Arc<Notify>>) {
        self.first += self.events.len() as u64;
        self.events.clear();
        self.bytes = 0;
        self.floor = floor;
        self.head = floor;
        self.trails.retain(|_, topic| {
            topic.by_index.retain(|_, trail| trail.restart(floor, wakes));
            topic.all.restart(floor, wakes) || !topic.by_index.is_empty()
        });
    }

    /// Keeps a trail alive for one more watcher; what wakes it.
    pub(crate) fn follow(&mut self, follow: &Follow) -> Arc<Notify> {
        let floor = self.floor;
        let topic = self.trails.entry(Arc::clone(&follow.topic)).or_default();
        let trail = match &follow.index {
            None => &mut topic.all,
            Some(index) => topic.by_index.entry(Arc::clone(index)).or_default(),
        };
        if trail.watchers == 0 && trail.places.is_empty() {
            trail.dropped = floor;
        }
        trail.watchers += 1;
        Arc::clone(&trail.wake)
    }

    /// One watcher fewer.
    pub(crate) fn unfollow(&mut self, follow: &Follow) {
        let Some(topic) = self.trails.get_mut(&follow.topic) else { return };
        match &follow.index {
            None => topic.all.watchers -= 1,
            Some(index) => {
                if let Some(trail) = topic.by_index.get_mut(index) {
                    trail.watchers -= 1;
                    if trail.is_idle() {
                        topic.by_index.remove(index);
                    }
                }
            }
        }
        if topic.is_idle() {
            self.trails.remove(&follow.topic);
        }
    }

    /// The events of a followed trail after a revision, in order; an error if some of them were dropped.
    pub(crate) fn after(
        &self,
        follow: &Follow,
        revision: Revision,
    ) -> Result<impl Iterator<Item = &Arc<Event>>, Dropped> {
        let topic = self.trails.get(&follow.topic);
        let trail = topic.and_then(|topic| match &follow.index {
            None => Some(&topic.all),
            Some(index) => topic.by_index.get(index),
        });
        if trail.is_some_and(|trail| trail.dropped > revision) {
            return Err(Dropped);
        }
        let newer = trail.map(|trail| {
            let old =
                trail.places.partition_point(|place| self.at(*place).is_none_or(|event| event.revision <= revision));
            trail.places.range(old..)
        });
        Ok(newer.into_iter().flatten().filter_map(|place| self.at(*place)))
    }

    /// Everyone, for the end of the store.
    pub(crate) fn everyone(&self) -> Vec<Arc<Notify>> {
        let topics = self.trails.values();
        topics
            .flat_map(|topic| std::iter::once(&topic.all).chain(topic.by_index.values()))
            .map(|trail| Arc::clone(&trail.wake))
            .collect()
    }

    /// How many trails there are.
    #[cfg(test)]
    pub(crate) fn trails(&self) -> usize {
        self.trails.values().map(|topic| 1 + topic.by_index.len()).sum()
    }

    fn at(&self, place: u64) -> Option<&Arc<Event>> {
        self.events.get(place.checked_sub(self.first)? as usize)
    }
}

/// The trail has lost events after the revision asked for.
#[derive(Debug)]
pub(crate) struct Dropped;

impl Trail {
    fn step(&mut self, place: u64, wakes: &mut Vec<Arc<Notify>>) {
        self.places.push_back(place);
        if self.watchers > 0 && !wakes.last().is_some_and(|last| Arc::ptr_eq(last, &self.wake)) {
            wakes.push(Arc::clone(&self.wake));
        }
    }

    fn drop_place(&mut self, place: u64, revision: Revision) {
        if self.places.front() == Some(&place) {
            self.places.pop_front();
            self.dropped = revision;
        }
    }

    fn restart(&mut self, floor: Revision, wakes: &mut Vec<Arc<Notify>>) -> bool {
        self.places.clear();
        self.dropped = floor;
        wakes.push(Arc::clone(&self.wake));
        self.watchers > 0
    }

    fn is_idle(&self) -> bool {
        self.watchers == 0 && self.places.is_empty()
    }
}

impl TopicTrail {
    fn is_idle(&self) -> bool {
        self.all.is_idle() && self.by_index.is_empty()
    }
}
