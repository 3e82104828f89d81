//! What containers use, as monitors ask for it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`summary`] | `/stats/summary` (pure) |
//! | [`exposition`] | `/metrics/resource` and `/metrics/cadvisor` (pure) |
//!
//! The runtime knows what a container uses now; monitors want to know how much CPU time it has had. That is summed up when
//! somebody asks: from one question to the next, a container is taken to have used what it uses at the second one.

pub mod exposition;
pub mod summary;

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use jiff::Timestamp;

use crate::{
    pod::admission::Allocatable,
    runtime::{Container, PodRef, Runtime, Usage},
};

/// What a node uses beside its pods: the kubelet, the container runtime and the system.
const SYSTEM: Usage = Usage { cpu_nanocores: 20_000_000, memory_bytes: 128 << 20 };

/// What a node and its containers use at a moment.
#[derive(Debug, PartialEq, Eq)]
pub struct Sample {
    /// When.
    pub at: Timestamp,
    /// All of it.
    pub node: Use,
    /// What the node has, in bytes.
    pub memory_capacity: u64,
    /// By pod, in the order of their names.
    pub pods: Vec<PodSample>,
}

/// What a pod uses.
#[derive(Debug, PartialEq, Eq)]
pub struct PodSample {
    /// Which.
    pub pod: PodRef,
    /// When its first container started.
    pub started_at: Timestamp,
    /// Its running containers, in the order of their names.
    pub containers: Vec<ContainerSample>,
}

/// What a container uses.
#[derive(Debug, PartialEq, Eq)]
pub struct ContainerSample {
    /// Its name.
    pub name: String,
    /// Its id.
    pub id: String,
    /// Its image.
    pub image: String,
    /// When it started.
    pub started_at: Timestamp,
    /// What it uses.
    pub used: Use,
}

/// An amount of use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Use {
    /// Billionths of a CPU, now.
    pub cpu_nanocores: u64,
    /// Billionths of a second of a CPU, since the start.
    pub cpu_nanoseconds: u64,
    /// Bytes of memory, now.
    pub memory_bytes: u64,
}

impl Use {
    fn add(&mut self, other: Self) {
        self.cpu_nanocores += other.cpu_nanocores;
        self.cpu_nanoseconds += other.cpu_nanoseconds;
        self.memory_bytes += other.memory_bytes;
    }
}

impl PodSample {
    /// All that its containers use.
    pub fn used(&self) -> Use {
        let mut all = Use::default();
        self.containers.iter().for_each(|container| all.add(container.used));
        all
    }
}

/// The CPU time that containers have had.
#[derive(Debug, Default)]
pub struct Counters {
    begun: Mutex<Option<Timestamp>>,
    /// By container id: until when, and how many billionths of a second.
    totals: Mutex<HashMap<String, (Timestamp, u64)>>,
    /// What containers had that are gone, for the node's own sum to go on.
    past: Mutex<u64>,
}

impl Counters {
    /// What the node and its containers use now.
    pub fn sample(&self, runtime: &dyn Runtime, capacity: &Allocatable, at: Timestamp) -> Sample {
        // Monitors are told the time in milliseconds, and divide by what has passed.
        let at = Timestamp::from_millisecond(at.as_millisecond()).unwrap_or(at);
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = HashMap::new();
        let mut pods: Vec<PodSample> = Vec::new();
        for pod in runtime.pods() {
            let Some(sandbox) = runtime.sandbox(&pod.uid) else { continue };
            let running = sandbox.containers.iter().filter(|container| container.is_running());
            let sampled = running.filter_map(|container| {
                let usage = runtime.usage(&pod.uid, &container.name)?;
                let (until, total) = totals.get(&container.id).copied().unwrap_or((container.started_at.0, 0));
                let total = total + had(usage.cpu_nanocores, until, at);
                next.insert(container.id.clone(), (at, total));
                Some(sample_of(container, usage, total))
            });
            let mut containers: Vec<ContainerSample> = sampled.collect();
            containers.sort_by(|a, b| a.name.cmp(&b.name));
            if let Some(started_at) = containers.iter().map(|container| container.started_at).min() {
                pods.push(PodSample { pod, started_at, containers });
            }
        }
        pods.sort_by(|a, b| (&a.pod.namespace, &a.pod.name).cmp(&(&b.pod.namespace, &b.pod.name)));
        let mut past = self.past.lock().unwrap_or_else(PoisonError::into_inner);
        *past += totals.iter().filter(|(id, _)| !next.contains_key(*id)).map(|(_, (_, total))| total).sum::<u64>();
        *totals = next;
        let begun = *self.begun.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(at);
        let mut node = Use {
            cpu_nanocores: SYSTEM.cpu_nanocores,
            cpu_nanoseconds: *past + had(SYSTEM.cpu_nanocores, begun, at),
            memory_bytes: SYSTEM.memory_bytes,
        };
        pods.iter().for_each(|pod| node.add(pod.used()));
        let memory_capacity = capacity.get("memory").and_then(|memory| u64::try_from(memory.value()).ok());
        Sample { at, node, memory_capacity: memory_capacity.unwrap_or_default(), pods }
    }
}

fn sample_of(container: &Container, usage: Usage, total: u64) -> ContainerSample {
    ContainerSample {
        name: container.name.clone(),
        id: container.id.clone(),
        image: container.full_image.clone(),
        started_at: container.started_at.0,
        used: Use { cpu_nanocores: usage.cpu_nanocores, cpu_nanoseconds: total, memory_bytes: usage.memory_bytes },
    }
}

/// The CPU time, in billionths of a second, of so many billionths of a CPU.
fn had(nanocores: u64, from: Timestamp, to: Timestamp) -> u64 {
    let micros = u64::try_from(to.duration_since(from).as_micros()).unwrap_or_default();
    u64::try_from(u128::from(nanocores) * u128::from(micros) / 1_000_000).unwrap_or(u64::MAX)
}

#[cfg(test)]
pub(crate) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A node with a pod of two containers.
    pub fn sample() -> Sample {
        let at = |second| Timestamp::from_second(second).unwrap();
        let used = |cores: u64, seconds: u64, memory| Use {
            cpu_nanocores: cores,
            cpu_nanoseconds: seconds * 1_000_000_000,
            memory_bytes: memory,
        };
        let container = |name: &str, used| ContainerSample {
            name: name.into(),
            id: format!("{name}-id"),
            image: "docker.io/library/nginx:latest".into(),
            started_at: at(1000),
            used,
        };
        let pod = PodRef { namespace: "shop".into(), name: "web".into(), uid: "u-1".into() };
        let containers = vec![container("a", used(5_000_000, 3, 100)), container("b", used(0, 0, 20))];
        let node = used(25_000_000, 9, 1120);
        let pods = vec![PodSample { pod, started_at: at(1000), containers }];
        Sample { at: at(2000), node, memory_capacity: 5000, pods }
    }

    #[test]
    fn cpu_time_is_summed_up() {
        let at = |second| Timestamp::from_second(second).unwrap();
        assert_eq!(had(500_000_000, at(10), at(14)), 2_000_000_000);
        assert_eq!(had(500_000_000, at(14), at(10)), 0);
        assert_eq!(sample().pods[0].used().memory_bytes, 120);
    }
}
