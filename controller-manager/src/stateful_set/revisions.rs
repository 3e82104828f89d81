//! The two revisions that a StatefulSet's pods are made of, and the history behind them.
//! Source: `getStatefulSetRevisions`, `newVersionedStatefulSetPod` and `truncateHistory` in `pkg/controller/statefulset`.

use std::{collections::HashSet, sync::Arc};

use k8s_openapi::api::{
    apps::v1::{ControllerRevision, StatefulSet},
    core::v1::{Pod, PodTemplateSpec},
};
use kubelab_api::{Error, hash, meta::is_deleting};

use super::{identity, plan};
use crate::history::{self, Created, History};

/// The label of a revision that says the hash of what it holds.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";
/// How many names are tried before an error is told; the next attempt goes on from there.
const NAMES_TO_TRY: i32 = 8;

/// What a set's pods are made of.
#[derive(Debug)]
pub struct Present {
    /// Of which pods were made before the present update.
    pub current: Arc<ControllerRevision>,
    /// To which they are updated: it holds the set's template.
    pub update: Arc<ControllerRevision>,
    /// How many names of revisions were taken.
    pub collisions: i32,
    /// All revisions before these were brought up to date, oldest first.
    pub all: Vec<Arc<ControllerRevision>>,
}

impl Present {
    /// The current revision's name.
    pub fn current_name(&self) -> &str {
        name(&self.current)
    }

    /// The update revision's name.
    pub fn update_name(&self) -> &str {
        name(&self.update)
    }

    /// The template of a new pod, and the name of its revision: the current one below the partition.
    pub fn for_new_pod(&self, set: &StatefulSet, ordinal: i32) -> Result<(PodTemplateSpec, String), Error> {
        let revision = if stays_current(set, ordinal) { &self.current } else { &self.update };
        let template =
            if Arc::ptr_eq(revision, &self.update) { set.spec.template.clone() } else { history::template(revision)? };
        Ok((template, name(revision).to_owned()))
    }
}

fn stays_current(set: &StatefulSet, ordinal: i32) -> bool {
    let place = usize::try_from(ordinal - identity::start(set)).unwrap_or(0);
    !plan::on_delete(set) && place < plan::partition(set)
}

fn name(revision: &ControllerRevision) -> &str {
    revision.metadata.name.as_deref().unwrap_or_default()
}

/// What becomes of the history now.
#[derive(Debug, PartialEq, Eq)]
enum Change {
    /// The newest revision holds the set's template.
    None,
    /// This one holds it: it becomes the newest again.
    Renumber(usize),
    /// None holds it.
    Create,
}

fn change(set: &StatefulSet, revisions: &[Arc<ControllerRevision>]) -> Change {
    match revisions.iter().rposition(|revision| history::holds(revision, &set.spec.template)) {
        None => Change::Create,
        Some(index) if index + 1 == revisions.len() => Change::None,
        Some(index) => Change::Renumber(index),
    }
}

/// Brings the history up to date: the revision that holds the set's template is the newest. `None` if the set is being
/// deleted and its history is gone already.
pub async fn sync(
    history: &History,
    set: &StatefulSet,
    revisions: Vec<Arc<ControllerRevision>>,
) -> Result<Option<Present>, Error> {
    let mut collisions = set.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
    let number = history::next_number(&revisions);
    let update = match change(set, &revisions) {
        Change::None => revisions.last().cloned(),
        _ if is_deleting(&set.metadata) => return Ok(None),
        Change::Renumber(index) => Some(history.renumber(&revisions[index], number).await?),
        Change::Create => Some(create(history, set, number, &mut collisions).await?),
    };
    let Some(update) = update else { return Ok(None) };
    let wanted = set.status.as_ref().and_then(|status| status.current_revision.as_deref());
    let current = revisions.iter().find(|revision| Some(name(revision)) == wanted).unwrap_or(&update);
    let current = if name(current) == name(&update) { Arc::clone(&update) } else { Arc::clone(current) };
    Ok(Some(Present { current, update, collisions, all: revisions }))
}

async fn create(
    history: &History,
    set: &StatefulSet,
    number: i64,
    collisions: &mut i32,
) -> Result<Arc<ControllerRevision>, Error> {
    let data = history::data(&set.spec.template)?;
    let bytes = data.to_string();
    let template = set.spec.template.metadata.as_ref();
    let mut labels = template.and_then(|meta| meta.labels.clone()).unwrap_or_default();
    labels.insert(HASH_LABEL.to_owned(), hash::revision(bytes.as_bytes(), Some(*collisions)));
    let mut revision = history::make(set, labels, set.metadata.annotations.clone(), data, number);
    let most = collisions.saturating_add(NAMES_TO_TRY);
    loop {
        let hash = hash::revision(bytes.as_bytes(), Some(*collisions));
        revision.metadata.name = Some(history::name(identity::name(set), &hash));
        match history.create(&revision).await? {
            Created::Here(revision) => return Ok(revision),
            Created::Collision(error) if *collisions >= most => return Err(error),
            Created::Collision(_) => *collisions += 1,
        }
    }
}

/// The revisions to forget: the oldest of those that no pod is made of, beyond what the set wants to remember.
pub fn excess(set: &StatefulSet, pods: &[Arc<Pod>], present: &Present) -> Vec<Arc<ControllerRevision>> {
    // A negative limit means that all are kept.
    let Ok(limit) = usize::try_from(set.spec.revision_history_limit.unwrap_or(10)) else { return Vec::new() };
    if is_deleting(&set.metadata) {
        return Vec::new();
    }
    let live: HashSet<&str> =
        pods.iter().map(|pod| identity::revision(pod)).chain([present.current_name(), present.update_name()]).collect();
    let old: Vec<_> = present.all.iter().filter(|revision| !live.contains(name(revision))).collect();
    let excess = old.len().saturating_sub(limit);
    old.into_iter().take(excess).cloned().collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn set(image: &str, spec: Value) -> StatefulSet {
        let mut set = json!({
            "metadata": {"name": "web"},
            "spec": {
                "replicas": 3, "selector": {},
                "template": {"spec": {"containers": [{"name": "c", "image": image}]}},
            },
        });
        for (name, value) in spec.as_object().unwrap() {
            set["spec"][name] = value.clone();
        }
        serde_json::from_value(set).unwrap()
    }

    fn revision(image: &str, number: i64) -> Arc<ControllerRevision> {
        let data = history::data(&set(image, json!({})).spec.template).unwrap();
        let name = format!("web-{image}");
        Arc::new(serde_json::from_value(json!({"metadata": {"name": name}, "revision": number, "data": data})).unwrap())
    }

    #[test]
    fn the_template_decides_about_the_history() {
        let revisions = [revision("a", 1), revision("b", 2)];
        for (image, expected) in [("b", Change::None), ("a", Change::Renumber(0)), ("c", Change::Create)] {
            assert_eq!(change(&set(image, json!({})), &revisions), expected, "{image}");
        }
        assert_eq!(change(&set("a", json!({})), &[]), Change::Create);
    }

    #[test]
    fn new_pods_below_the_partition_stay_as_they_were() {
        let (current, update) = (revision("a", 1), revision("b", 2));
        let present = Present { current, update, collisions: 0, all: Vec::new() };
        let rolling = |partition: i32| json!({"type": "RollingUpdate", "rollingUpdate": {"partition": partition}});
        for (strategy, start, ordinal, expected) in [
            (rolling(0), 0, 0, "b"),
            (rolling(2), 0, 1, "a"),
            (rolling(2), 0, 2, "b"),
            (rolling(2), 5, 6, "a"),
            (rolling(2), 5, 7, "b"),
            (json!({"type": "OnDelete"}), 0, 0, "b"),
        ] {
            let set = set("b", json!({"updateStrategy": strategy, "ordinals": {"start": start}}));
            let (template, name) = present.for_new_pod(&set, ordinal).unwrap();
            let image = template.spec.unwrap().containers[0].image.clone().unwrap();
            assert_eq!((image.as_str(), name), (expected, format!("web-{expected}")), "{strategy} {ordinal}");
        }
    }

    #[test]
    fn what_nobody_needs_is_forgotten() {
        let all: Vec<_> =
            ["a", "b", "c", "d", "e"].iter().zip(1..).map(|(image, number)| revision(image, number)).collect();
        let present = Present { current: all[3].clone(), update: all[4].clone(), collisions: 0, all };
        let pod = json!({"metadata": {"labels": {"controller-revision-hash": "web-a"}}});
        let pods = [Arc::new(serde_json::from_value::<Pod>(pod).unwrap())];
        for (limit, expected) in [(0, vec!["web-b", "web-c"]), (1, vec!["web-b"]), (2, vec![]), (-1, vec![])] {
            let excess = excess(&set("e", json!({"revisionHistoryLimit": limit})), &pods, &present);
            let names: Vec<_> = excess.iter().map(|revision| name(revision)).collect();
            assert_eq!(names, expected, "{limit}");
        }
    }
}
