//! Numbers counted over all nodes and summed up by topology, brought up to date for the nodes that have changed alone.
//!
//! Affinity and spreading ask: how many pods of a kind run in this zone, on this host? Counting them all in each cycle would
//! take time in proportion to the cluster. But between two cycles one or two nodes change, and pods of one controller ask
//! the same question. So each question (its *key*) keeps what every node contributed.

use std::{collections::HashMap, sync::Arc};

use super::NodeInfo;

/// How many questions are remembered; the one that was not asked for longest is forgotten.
const REMEMBERED: usize = 256;
/// How many changes of nodes are remembered; beyond, all is counted anew.
const CHANGES: usize = 1 << 16;
/// No domain: the node does not have the label.
const NONE: u32 = u32::MAX;

/// What has changed, for indexes that are brought up to date when they are asked.
#[derive(Default)]
pub(super) struct Changes {
    /// Grows when all may have changed.
    epoch: u64,
    places: Vec<usize>,
}

impl Changes {
    pub(super) fn all(&mut self) {
        self.epoch += 1;
        self.places.clear();
    }

    pub(super) fn one(&mut self, place: usize) {
        if self.places.len() == CHANGES {
            return self.all();
        }
        self.places.push(place);
    }

    /// The places that changed since then; `None` if all may have.
    fn since(&self, (epoch, seen): (u64, usize)) -> Option<&[usize]> {
        (epoch == self.epoch).then(|| &self.places[seen..])
    }

    fn now(&self) -> (u64, usize) {
        (self.epoch, self.places.len())
    }
}

/// Tells a tally what a node contributes to a topology; several times adds up.
pub type Emit<'a> = dyn FnMut(&Arc<str>, i64) + 'a;

/// Sums by topology.
#[derive(Clone, Default)]
pub struct Tally {
    seen: (u64, usize),
    /// For each topology that a node ever contributed to.
    pub axes: Vec<Axis>,
}

/// Sums by the values of one label of nodes, its *domains*.
#[derive(Clone)]
pub struct Axis {
    /// The label.
    pub key: Arc<str>,
    /// In which domain a node is, by its place.
    domains: Arc<Vec<u32>>,
    /// What each node contributed, and to which domain.
    given: Vec<(u32, i64)>,
    sums: Vec<i64>,
    /// How many nodes contributed to a domain.
    givers: Vec<u32>,
    /// How many nodes contributed at all.
    entries: usize,
}

impl Axis {
    fn new(key: &Arc<str>, domains: Arc<Vec<u32>>) -> Self {
        let given = vec![(NONE, 0); domains.len()];
        Self { key: key.clone(), domains, given, sums: Vec::new(), givers: Vec::new(), entries: 0 }
    }

    fn take_back(&mut self, place: usize) {
        let (domain, amount) = std::mem::replace(&mut self.given[place], (NONE, 0));
        if domain != NONE {
            self.sums[domain as usize] -= amount;
            self.givers[domain as usize] -= 1;
            self.entries -= 1;
        }
    }

    fn give(&mut self, place: usize, amount: i64) {
        let domain = self.domains[place];
        if domain == NONE {
            return;
        }
        let at = domain as usize;
        if at >= self.sums.len() {
            self.sums.resize(at + 1, 0);
            self.givers.resize(at + 1, 0);
        }
        self.sums[at] += amount;
        let given = &mut self.given[place];
        if given.0 == NONE {
            given.0 = domain;
            self.givers[at] += 1;
            self.entries += 1;
        }
        given.1 += amount;
    }

    /// The domain of the node at this place; `None` if it does not have the label.
    pub fn domain(&self, place: usize) -> Option<u32> {
        self.domains.get(place).copied().filter(|domain| *domain != NONE)
    }

    /// A domain's sum.
    pub fn sum(&self, domain: u32) -> i64 {
        self.sums.get(domain as usize).copied().unwrap_or_default()
    }

    /// What the node at this place contributed.
    pub fn given(&self, place: usize) -> i64 {
        self.given.get(place).map_or(0, |(_, amount)| *amount)
    }

    /// No node contributed.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// The domains to which nodes contributed, even if only zero, with their sums.
    pub fn known(&self) -> impl Iterator<Item = (u32, i64)> {
        let known = self.givers.iter().zip(&self.sums).enumerate().filter(|(_, (givers, _))| **givers > 0);
        known.map(|(domain, (_, sum))| (domain as u32, *sum))
    }

    /// Nodes contributed to this domain.
    pub fn knows(&self, domain: u32) -> bool {
        self.givers.get(domain as usize).is_some_and(|givers| *givers > 0)
    }
}

impl Tally {
    /// No node contributed to anything.
    pub fn is_empty(&self) -> bool {
        self.axes.iter().all(Axis::is_empty)
    }

    /// The sums for a label.
    pub fn axis(&self, key: &str) -> Option<&Axis> {
        self.axes.iter().find(|axis| &*axis.key == key)
    }
}

struct Topology {
    seen: (u64, usize),
    values: HashMap<String, u32>,
    domains: Arc<Vec<u32>>,
}

/// All that is kept between cycles.
#[derive(Default)]
pub(super) struct Indexes {
    topologies: HashMap<Arc<str>, Topology>,
    /// With when it was last asked for.
    tallies: HashMap<String, (u64, Arc<Tally>)>,
    asked: u64,
}

impl Indexes {
    pub(super) fn topology(&mut self, key: &Arc<str>, nodes: &[Arc<NodeInfo>], changes: &Changes) -> Arc<Vec<u32>> {
        let fresh = || Topology { seen: (0, 0), values: HashMap::new(), domains: Arc::default() };
        let topology = self.topologies.entry(key.clone()).or_insert_with(fresh);
        let domain = |values: &mut HashMap<String, u32>, node: &NodeInfo| {
            let Some(value) = node.labels().and_then(|labels| labels.get(&**key)) else { return NONE };
            let next = values.len() as u32;
            match values.get(value) {
                Some(domain) => *domain,
                None => *values.entry(value.clone()).or_insert(next),
            }
        };
        match changes.since(topology.seen) {
            Some(places) => {
                for place in places {
                    let now = domain(&mut topology.values, &nodes[*place]);
                    if topology.domains[*place] != now {
                        Arc::make_mut(&mut topology.domains)[*place] = now;
                    }
                }
            }
            None => {
                topology.values.clear();
                topology.domains = Arc::new(nodes.iter().map(|node| domain(&mut topology.values, node)).collect());
            }
        }
        topology.seen = changes.now();
        topology.domains.clone()
    }

    pub(super) fn tally(
        &mut self,
        key: &str,
        nodes: &[Arc<NodeInfo>],
        changes: &Changes,
        count: &dyn Fn(&NodeInfo, &mut Emit<'_>),
    ) -> Arc<Tally> {
        self.asked += 1;
        let mut shared = match self.tallies.remove(key) {
            Some((_, tally)) => tally,
            None => {
                self.forget_one();
                Arc::default()
            }
        };
        if shared.seen != changes.now() {
            let tally = Arc::make_mut(&mut shared);
            let changed = match changes.since(tally.seen) {
                Some(places) => places,
                None => {
                    tally.axes.clear();
                    &[]
                }
            };
            for axis in &mut tally.axes {
                axis.domains = self.topology(&axis.key, nodes, changes);
            }
            let all = tally.seen.0 != changes.now().0;
            let mut recount = |tally: &mut Tally, place: usize| {
                tally.axes.iter_mut().for_each(|axis| axis.take_back(place));
                count(&nodes[place], &mut |key, amount| {
                    let at = match tally.axes.iter().position(|axis| axis.key == *key) {
                        Some(at) => at,
                        None => {
                            tally.axes.push(Axis::new(key, self.topology(key, nodes, changes)));
                            tally.axes.len() - 1
                        }
                    };
                    tally.axes[at].give(place, amount);
                });
            };
            if all {
                (0..nodes.len()).for_each(|place| recount(tally, place));
            } else {
                changed.iter().for_each(|place| recount(tally, *place));
            }
            tally.seen = changes.now();
        }
        self.tallies.insert(key.to_owned(), (self.asked, shared.clone()));
        shared
    }

    fn forget_one(&mut self) {
        if self.tallies.len() < REMEMBERED {
            return;
        }
        let oldest = self.tallies.iter().min_by_key(|(_, (asked, _))| *asked).map(|(key, _)| key.clone());
        if let Some(key) = oldest {
            self.tallies.remove(&key);
        }
    }
}

/// A tally with pods added or taken away for a what-if, which the tally itself does not learn of.
#[derive(Clone, Default)]
pub struct Adjusted {
    /// What was counted.
    pub tally: Arc<Tally>,
    adjustments: Vec<Adjustment>,
}

#[derive(Clone)]
struct Adjustment {
    key: Arc<str>,
    domains: Arc<Vec<u32>>,
    domain: u32,
    amount: i64,
}

impl Adjusted {
    /// As it was counted.
    pub fn new(tally: Arc<Tally>) -> Self {
        Self { tally, adjustments: Vec::new() }
    }

    /// As if the node contributed that much more. Taking back what was added leaves no trace.
    pub fn add(&mut self, snapshot: &super::Snapshot, key: &Arc<str>, node: &NodeInfo, amount: i64) {
        let domains = match self.tally.axis(key) {
            Some(axis) => axis.domains.clone(),
            None => snapshot.topology(key),
        };
        let domain = domains.get(node.place).copied().unwrap_or(NONE);
        if domain == NONE {
            return;
        }
        let same = |adjustment: &Adjustment| adjustment.domain == domain && adjustment.key == *key;
        match self.adjustments.iter().position(same) {
            Some(at) => {
                self.adjustments[at].amount += amount;
                if self.adjustments[at].amount == 0 {
                    self.adjustments.swap_remove(at);
                }
            }
            None => self.adjustments.push(Adjustment { key: key.clone(), domains, domain, amount }),
        }
    }

    /// What a domain of this label has more or less than was counted.
    pub fn adjustment(&self, key: &str, domain: u32) -> i64 {
        let same = |adjustment: &&Adjustment| adjustment.domain == domain && &*adjustment.key == key;
        self.adjustments.iter().find(same).map_or(0, |adjustment| adjustment.amount)
    }

    /// A domain's sum.
    pub fn sum(&self, axis: &Axis, domain: u32) -> i64 {
        axis.sum(domain) + self.adjustment(&axis.key, domain)
    }

    /// The sum of the domain that the node at this place is in; `None` if it does not have the label.
    pub fn at(&self, key: &str, place: usize) -> Option<i64> {
        if let Some(axis) = self.tally.axis(key) {
            return axis.domain(place).map(|domain| self.sum(axis, domain));
        }
        let adjustment = self.adjustments.iter().find(|adjustment| &*adjustment.key == key)?;
        let domain = adjustment.domains.get(place).copied().filter(|domain| *domain != NONE)?;
        Some(self.adjustment(key, domain))
    }

    /// Some label puts the node at this place into a domain with a positive sum.
    pub fn any_at(&self, place: usize) -> bool {
        let counted = |axis: &Axis| axis.domain(place).is_some_and(|domain| self.sum(axis, domain) > 0);
        self.tally.axes.iter().any(counted)
            || self.adjustments.iter().any(|adjustment| {
                adjustment.amount > 0
                    && adjustment.domains.get(place) == Some(&adjustment.domain)
                    && self.tally.axis(&adjustment.key).is_none()
            })
    }

    /// Nothing was counted, and nothing added.
    pub fn is_empty(&self) -> bool {
        let left = |axis: &Axis| axis.known().any(|(domain, _)| self.sum(axis, domain) != 0);
        if self.adjustments.is_empty() {
            return self.tally.is_empty();
        }
        !self.tally.axes.iter().any(left) && self.adjustments.iter().all(|adjustment| adjustment.amount <= 0)
    }
}

#[cfg(test)]
mod tests;
