//! Which pods a job needs and which it does not. Source: `manageJob` in Kubernetes' `job_controller.go`.

use std::{collections::HashMap, sync::Arc, time::Duration};

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Time};
use kubelab_api::pod::is_terminating;

use super::{
    assessment::{Assessment, View},
    backoff,
    indexes::Indexes,
    pod::index,
};
use crate::replica_set::victims;

/// So many pods are made or removed at a time. Source: `MaxPodCreateDeletePerSync`.
const AT_ONCE: usize = 500;

/// What to do about a job's pods.
#[derive(Debug)]
pub enum Step {
    /// There are as many as there should be.
    Nothing,
    /// These are too many.
    Remove(Vec<Arc<Pod>>),
    /// More are wanted, but not so soon after a failure.
    Wait(Duration),
    /// So many more are wanted.
    Add(usize),
    /// These indexes need a pod.
    AddIndexes(Vec<i32>),
}

/// What to do about a job that has not ended.
pub fn next(view: &View<'_>, this: &Assessment) -> Step {
    let wants = view.wants;
    if wants.is_suspended() {
        return match this.active.as_slice() {
            [] => Step::Nothing,
            all => Step::Remove(all.to_vec()),
        };
    }
    let count = |number: i32| usize::try_from(number).unwrap_or(0);
    let wanted = match wants.completions() {
        // One success tells of all: what runs may end.
        None if this.succeeded > 0 => this.active.len(),
        None => count(wants.parallelism()),
        Some(completions) => count((completions - this.succeeded).min(wants.parallelism())),
    };
    let surplus = surplus(view, this, this.active.len().saturating_sub(wanted));
    if !surplus.is_empty() {
        return Step::Remove(surplus);
    }
    let leaving = if wants.replaces_only_failed() { count(this.terminating) } else { 0 };
    let missing = wanted.saturating_sub(leaving + this.active.len()).min(AT_ONCE);
    if missing == 0 {
        return Step::Nothing;
    }
    if wants.limit_per_index().is_none() {
        let wait = this.failures.remaining(view.now);
        if !wait.is_zero() {
            return Step::Wait(wait);
        }
    }
    if wants.is_indexed() { next_indexes(view, this, missing) } else { Step::Add(missing) }
}

fn next_indexes(view: &View<'_>, this: &Assessment, missing: usize) -> Step {
    let of = |pods: &[Arc<Pod>]| -> Indexes { pods.iter().filter_map(|pod| index(pod)).collect() };
    let mut taken = this.completed.and(&of(&this.active));
    if view.wants.replaces_only_failed() {
        let leaving: Vec<_> = view.pods.iter().filter(|pod| is_terminating(pod)).cloned().collect();
        taken = taken.and(&of(&leaving));
    }
    if let Some(failed) = &this.failed_indexes {
        taken = taken.and(failed);
    }
    let wanted = taken.first_missing(missing, view.wants.completions().unwrap_or(0));
    let wait =
        |index: &i32| this.awaiting.get(index).map_or(Duration::ZERO, |pod| backoff::remaining_after(pod, view.now));
    let now: Vec<i32> = wanted.iter().copied().filter(|index| wait(index).is_zero()).collect();
    match (now.is_empty(), wanted.iter().map(wait).min()) {
        (true, Some(shortest)) => Step::Wait(shortest),
        (true, None) => Step::Nothing,
        (false, _) => Step::AddIndexes(now),
    }
}

/// At least `count` pods that are not needed: those without an index of their own, and then those that did the least.
fn surplus(view: &View<'_>, this: &Assessment, count: usize) -> Vec<Arc<Pod>> {
    let now = Time(view.now);
    let worst = |pods: Vec<Arc<Pod>>, count: usize| victims::choose(pods, &[], count, &now);
    let mut remove = Vec::new();
    let mut keep = Vec::new();
    if view.wants.is_indexed() {
        let mut by_index: HashMap<i32, Vec<Arc<Pod>>> = HashMap::new();
        for pod in &this.active {
            match view.index(pod) {
                Some(index) => by_index.entry(index).or_default().push(Arc::clone(pod)),
                None => remove.push(Arc::clone(pod)),
            }
        }
        for pods in by_index.into_values() {
            let doubles = worst(pods.clone(), pods.len() - 1);
            keep.extend(pods.into_iter().filter(|pod| !doubles.iter().any(|double| Arc::ptr_eq(double, pod))));
            remove.extend(doubles);
        }
    } else {
        keep.clone_from(&this.active);
    }
    if remove.len() < count {
        remove.extend(worst(keep, count - remove.len()));
    }
    remove.truncate(AT_ONCE);
    remove
}
