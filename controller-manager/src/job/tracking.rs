//! How no pod of a job is counted twice, or never. Source: KEP-2307 and `trackJobStatusAndRemoveFinalizers` in
//! Kubernetes' `job_controller.go`.
//!
//! ```text
//! a pod ends ─▶ its uid is written to status.uncountedTerminatedPods (an index that succeeded: to completedIndexes)
//!            ─▶ its finalizer is removed
//!            ─▶ its uid leaves the list as it is added to status.succeeded or failed, in one write
//! ```
//!
//! Whoever is killed between two of these steps leaves what the next one needs.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::{
    api::{batch::v1::JobStatus, core::v1::Pod},
    apimachinery::pkg::apis::meta::v1::Time,
};

use super::{
    assessment::{Assessment, View},
    conditions::Verdict,
    pod::{has_failed, has_succeeded, index, is_tracked, uid},
    policy::{self, Effect},
};

/// So many pods are counted at a time, so that the status does not grow beyond measure. Source: `MaxUncountedPods`.
const AT_ONCE: usize = 500;

/// What the status says before finalizers are removed, and whose.
pub struct Count {
    /// The status to write first.
    pub status: JobStatus,
    /// The pods whose finalizer may go then.
    pub release: Vec<Arc<Pod>>,
    /// The uids of the pods that have it, of those that the cache shows.
    pub tracked: HashSet<String>,
    /// There are more pods to count.
    pub is_partial: bool,
}

/// Counts the pods that have ended. `status` is what the job's status is to be otherwise.
pub fn count(view: &View<'_>, this: &Assessment, is_deleting: bool, mut status: JobStatus) -> Count {
    let wants = view.wants;
    let mut pods: Vec<&Arc<Pod>> = view.pods.iter().collect();
    if wants.is_indexed() {
        pods.sort_by_key(|pod| index(pod));
    }
    let waits = |pod: &Arc<Pod>| is_tracked(pod) && !view.released.contains(uid(pod));
    pods.retain(|pod| waits(pod));
    let tracked: HashSet<String> = pods.iter().map(|pod| uid(pod).to_owned()).collect();
    settle(&mut status, &tracked);

    let fails_all = this.verdict.as_ref().is_some_and(|verdict| !verdict.is_success);
    let ends_all = is_deleting || this.verdict.is_some();
    let known: HashSet<String> = uncounted(&status).map(str::to_owned).collect();
    let known_bad: HashSet<String> =
        status.uncounted_terminated_pods.iter().flat_map(|pods| pods.failed.iter().flatten()).cloned().collect();
    let (mut succeeded, mut failed, mut indexes) = (Vec::new(), Vec::new(), Vec::new());
    let (mut release, mut is_partial) = (Vec::new(), false);
    for pod in pods {
        let is_failed = has_failed(pod, wants);
        let awaits = view.index(pod).and_then(|index| this.awaiting.get(&index));
        let awaits = awaits.is_some_and(|awaiting| uid(awaiting) == uid(pod));
        if !(ends_all || has_succeeded(pod) || (is_failed && !awaits)) {
            continue;
        }
        release.push(Arc::clone(pod));
        let is_valid = !wants.is_indexed() || view.index(pod).is_some();
        if has_succeeded(pod) && !known_bad.contains(uid(pod)) {
            if wants.is_indexed() {
                indexes.extend(view.index(pod).filter(|index| !this.completed_before.has(*index)));
            } else if !known.contains(uid(pod)) {
                succeeded.push(uid(pod).to_owned());
            }
        } else if (is_failed || fails_all)
            && is_valid
            && !known_bad.contains(uid(pod))
            && policy::effect(wants, pod) != Effect::Ignore
        {
            failed.push(uid(pod).to_owned());
        }
        if indexes.len() + succeeded.len() + failed.len() + known.len() >= AT_ONCE {
            is_partial = true;
            break;
        }
    }
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    append(&mut uncounted.succeeded, succeeded);
    append(&mut uncounted.failed, failed);
    if wants.is_indexed() {
        let completed = this.completed_before.with(indexes);
        status.succeeded = some(completed.total());
        status.completed_indexes = Some(completed.to_string()).filter(|text| !text.is_empty());
        status.failed_indexes = this.failed_indexes.as_ref().map(ToString::to_string);
    }
    if let Some(verdict) = &this.verdict {
        verdict.tell(&mut status, &Time(view.now));
    }
    Count { status, release, tracked, is_partial }
}

/// Adds to the counters what no longer has a finalizer. Gives how many succeeded and how many failed.
pub fn settle(status: &mut JobStatus, tracked: &HashSet<String>) -> (i32, i32) {
    let settled = |uids: &mut Option<Vec<String>>| {
        let before = uids.as_ref().map_or(0, Vec::len);
        uids.iter_mut().for_each(|uids| uids.retain(|uid| tracked.contains(uid)));
        if uids.as_ref().is_some_and(Vec::is_empty) {
            *uids = None;
        }
        i32::try_from(before - uids.as_ref().map_or(0, Vec::len)).unwrap_or(0)
    };
    let uncounted = status.uncounted_terminated_pods.get_or_insert_default();
    let (succeeded, failed) = (settled(&mut uncounted.succeeded), settled(&mut uncounted.failed));
    status.succeeded = some(status.succeeded.unwrap_or(0) + succeeded);
    status.failed = some(status.failed.unwrap_or(0) + failed);
    (succeeded, failed)
}

/// Makes the end final, once every pod is counted and gone. Says whether it did.
pub fn finish(status: &mut JobStatus, verdict: &Verdict, terminating: i32, now: &Time) -> bool {
    let may = uncounted(status).next().is_none() && terminating == 0;
    if may {
        verdict.enact(status, now);
    }
    may
}

fn uncounted(status: &JobStatus) -> impl Iterator<Item = &str> {
    let pods = status.uncounted_terminated_pods.iter();
    pods.flat_map(|pods| pods.succeeded.iter().chain(&pods.failed).flatten()).map(String::as_str)
}

fn append(list: &mut Option<Vec<String>>, more: Vec<String>) {
    if !more.is_empty() {
        list.get_or_insert_default().extend(more);
    }
}

/// A count as the API writes it: nothing for none.
pub fn some(count: i32) -> Option<i32> {
    (count != 0).then_some(count)
}
