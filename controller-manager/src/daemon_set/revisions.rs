//! The revision of a DaemonSet's present template, and the history behind it. Source: `constructHistory`, `snapshot`,
//! `dedupCurHistories` and `cleanupHistory` in `pkg/controller/daemon/update.go` in Kubernetes.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, DaemonSet},
    core::v1::Pod,
};
use kubelab_api::{Error, hash, meta::label, well_known::label::CONTROLLER_REVISION_HASH};
use kubelab_client::{Client, Patch, controller::Key};
use serde_json::json;

use crate::history::{self, Created, History};

/// A set's history.
#[derive(Debug)]
pub struct Present {
    /// The hash that pods of the present template have in their labels.
    pub hash: String,
    /// The revisions of former templates, oldest first.
    pub old: Vec<Arc<ControllerRevision>>,
}

/// Brings the history up to date: there is one revision of the present template, and it has the highest number.
pub async fn sync(
    history: &History,
    client: &Client,
    set: &DaemonSet,
    revisions: Vec<Arc<ControllerRevision>>,
    pods: &[Arc<Pod>],
) -> Result<Present, Error> {
    let (mut present, old): (Vec<_>, Vec<_>) =
        revisions.into_iter().partition(|revision| history::holds(revision, &set.spec.template));
    let number = history::next_number(&old);
    let newest = match present.pop() {
        None => create(history, client, set, number).await?,
        Some(newest) => {
            if !present.is_empty() {
                relabel(client, pods, &hash_of(&newest)).await?;
                history.delete(&present).await?;
            }
            if history::number(&newest) < number { history.renumber(&newest, number).await? } else { newest }
        }
    };
    Ok(Present { hash: hash_of(&newest), old })
}

/// A revision's hash; its name, where somebody took the label away.
fn hash_of(revision: &ControllerRevision) -> String {
    let name = revision.metadata.name.as_deref().unwrap_or_default();
    label(&revision.metadata, CONTROLLER_REVISION_HASH).unwrap_or(name).to_owned()
}

async fn create(
    history: &History,
    client: &Client,
    set: &DaemonSet,
    number: i64,
) -> Result<Arc<ControllerRevision>, Error> {
    let collisions = |set: &DaemonSet| set.status.as_ref().and_then(|status| status.collision_count);
    let template = &set.spec.template;
    let hash = hash::object(template, collisions(set)).map_err(Error::internal)?;
    let meta = template.metadata.as_ref();
    let mut labels = meta.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(CONTROLLER_REVISION_HASH.to_owned(), hash.clone());
    let mut revision = history::make(set, labels, set.metadata.annotations.clone(), history::data(template)?, number);
    let Key { namespace, name } = Key::of(set);
    revision.metadata.name = Some(history::name(&name, &hash));
    match history.create(&revision).await? {
        Created::Here(revision) => Ok(revision),
        Created::Collision(error) => {
            // The next attempt hashes with a higher count; not so if the count it was hashed with was an old one.
            let mut live: DaemonSet = client.get(&namespace, &name).await?;
            if collisions(&live) == collisions(set) {
                let status = live.status.get_or_insert_default();
                status.collision_count = Some(status.collision_count.unwrap_or(0) + 1);
                client.update_status(&live).await?;
            }
            Err(error)
        }
    }
}

/// Pods of another revision of the same template are of this one from now on.
async fn relabel(client: &Client, pods: &[Arc<Pod>], hash: &str) -> Result<(), Error> {
    for pod in pods.iter().filter(|pod| label(&pod.metadata, CONTROLLER_REVISION_HASH) != Some(hash)) {
        let labels = json!({CONTROLLER_REVISION_HASH: hash});
        let patch = Patch::Merge(json!({"metadata": {"uid": pod.metadata.uid, "labels": labels}}));
        let key = Key::of(&**pod);
        client.patch::<Pod>(&key.namespace, &key.name, patch).await?;
    }
    Ok(())
}

/// The revisions to forget: the oldest that no pod is made of, as many as there are beyond what the set wants to remember.
pub fn excess(set: &DaemonSet, pods: &[Arc<Pod>], old: &[Arc<ControllerRevision>]) -> Vec<Arc<ControllerRevision>> {
    let limit = usize::try_from(set.spec.revision_history_limit.unwrap_or(10)).unwrap_or(0);
    let live: HashSet<&str> = pods.iter().filter_map(|pod| label(&pod.metadata, CONTROLLER_REVISION_HASH)).collect();
    let unused = old.iter().filter(|revision| !live.contains(hash_of(revision).as_str()));
    unused.take(old.len().saturating_sub(limit)).cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn what_nobody_needs_is_forgotten() {
        let revision = |hash: &str| {
            let meta = json!({"name": format!("logs-{hash}"), "labels": {CONTROLLER_REVISION_HASH: hash}});
            Arc::new(serde_json::from_value(json!({"metadata": meta, "revision": 1, "data": {}})).unwrap())
        };
        let old: Vec<Arc<ControllerRevision>> = ["a", "b", "c", "d"].map(revision).to_vec();
        let pod = json!({"metadata": {"labels": {CONTROLLER_REVISION_HASH: "a"}}});
        let pods = [Arc::new(serde_json::from_value::<Pod>(pod).unwrap())];
        for (limit, expected) in [(10, vec![]), (2, vec!["logs-b", "logs-c"]), (0, vec!["logs-b", "logs-c", "logs-d"])]
        {
            let spec = json!({"revisionHistoryLimit": limit, "selector": {}, "template": {}});
            let set: DaemonSet = serde_json::from_value(json!({"metadata": {}, "spec": spec})).unwrap();
            let excess = excess(&set, &pods, &old);
            let names: Vec<_> = excess.iter().map(|revision| revision.metadata.name.as_deref().unwrap()).collect();
            assert_eq!(names, expected, "{limit}");
        }
    }

    #[test]
    fn a_revision_without_a_label_goes_by_its_name() {
        let plain: ControllerRevision =
            serde_json::from_value(json!({"metadata": {"name": "logs-1"}, "revision": 1, "data": {}})).unwrap();
        assert_eq!(hash_of(&plain), "logs-1");
    }
}
