//! Keeps the configuration that every cluster has, tells schemas whose level is missing, and reads what is there.
//! Source: `pkg/registry/flowcontrol/rest/storage_flowcontrol.go` and `apf_controller.go`.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::{
    api::flowcontrol::v1::{FlowSchema, FlowSchemaCondition, PriorityLevelConfiguration},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kubelab_api::resource;
use kubelab_store::{Entry, Error, Key, Precondition, Scope, State, Store, Transaction, Write};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    Fairness,
    objects::{self, AUTO_UPDATE, MANDATORY},
    width::stored,
};
use crate::{
    bootstrap::{
        Object,
        seed::{finished, key, origin},
    },
    registry::scan,
};

const SCHEMAS: &str = "flowcontrol.apiserver.k8s.io/flowschemas";
const LEVELS: &str = "flowcontrol.apiserver.k8s.io/prioritylevelconfigurations";

/// How often it is looked after without a change.
const EVERY: Duration = Duration::from_secs(60);
/// Until a quorum is there.
const PAUSE: Duration = Duration::from_millis(200);

/// Keeps the objects, and puts what they say in force, until `stop`.
pub async fn keep(store: &Store, fairness: &Fairness, now: fn() -> Timestamp, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let state = match put_in_force(store, fairness, now()).await {
            Ok(state) => state,
            Err(error) => {
                tracing::debug!(%error, "priority and fairness has to wait");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => continue,
                    () = stop.cancelled() => return,
                }
            }
        };
        let scope = |topic: &str| Scope { topic: topic.into(), prefix: "".into(), index: None };
        let watches = (store.watch(scope(SCHEMAS), state.revision()), store.watch(scope(LEVELS), state.revision()));
        let (Ok(mut schemas), Ok(mut levels)) = watches else { continue };
        tokio::select! {
            _ = schemas.next(EVERY) => {}
            _ = levels.next(EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Writes what is missing, and puts in force what is there.
pub async fn put_in_force(store: &Store, fairness: &Fairness, now: Timestamp) -> Result<std::sync::Arc<State>, Error> {
    let state = look_after(store, now).await?;
    fairness.measure(stored(&state));
    fairness.configure(read(&state, SCHEMAS), read(&state, LEVELS));
    Ok(state)
}

fn read<T: DeserializeOwned>(state: &State, topic: &str) -> Vec<T> {
    state.range(topic, "", None).filter_map(|(_, entry)| serde_json::from_slice(&entry.value).ok()).collect()
}

/// Writes what is not as it should be; gives the state in which all is well.
async fn look_after(store: &Store, now: Timestamp) -> Result<std::sync::Arc<State>, Error> {
    loop {
        let state = store.latest().await?;
        let Some(transaction) = plan(&state, now) else { return Ok(state) };
        // Whoever is faster wins; the next look will show it.
        store.commit(transaction).await?;
    }
}

pub(super) fn plan(state: &State, now: Timestamp) -> Option<Transaction> {
    let (mut preconditions, mut writes) = (Vec::new(), Vec::new());
    let mut put = |key: Key, object: &Object, existing: Option<&std::sync::Arc<Entry>>| {
        preconditions.push(match existing {
            Some(entry) => Precondition::Modified(key.clone(), entry.modified),
            None => Precondition::Absent(key.clone()),
        });
        let value = finished(object, existing, now);
        let stamp = scan::stamp_place(&value);
        writes.push(Write::Put { key, value, stamp, index: None, expires_ms: None });
    };
    for object in objects::levels().into_iter().chain(objects::schemas()) {
        let key = key(&object);
        let existing = state.get(&key);
        let Some(entry) = existing else {
            put(key, &object, None);
            continue;
        };
        let Ok(mut stored) = serde_json::from_slice::<Value>(&entry.value) else { continue };
        let obeys = stored["metadata"]["annotations"][AUTO_UPDATE] == "true" || MANDATORY.contains(&object.name());
        // What is in the store has defaults besides, which are the same here.
        if obeys && stored["spec"] != object.value["spec"] {
            let generation = stored["metadata"]["generation"].as_i64().unwrap_or(0) + 1;
            stored["spec"] = object.value["spec"].clone();
            stored["metadata"]["generation"] = generation.into();
            put(key, &Object { resource: object.resource, value: stored }, existing);
        }
    }
    let levels: Vec<PriorityLevelConfiguration> = read(state, LEVELS);
    for (key, entry) in state.range(SCHEMAS, "", None) {
        let Ok(schema) = serde_json::from_slice::<FlowSchema>(&entry.value) else { continue };
        let level = &schema.spec.priority_level_configuration.name;
        let built_in = objects::levels().iter().any(|known| known.name() == level);
        let there = built_in || levels.iter().any(|known| known.metadata.name.as_ref() == Some(level));
        let condition = dangling(level, there);
        let conditions = schema.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        let old = conditions.iter().find(|old| old.type_ == "Dangling");
        if old.is_some_and(|old| old.status == condition.status && old.message == condition.message) {
            continue;
        }
        let (Some(resource), Ok(mut value)) = (
            resource::find("flowcontrol.apiserver.k8s.io", "v1", "flowschemas"),
            serde_json::from_slice::<Value>(&entry.value),
        ) else {
            continue;
        };
        let condition = FlowSchemaCondition { last_transition_time: Some(Time(now)), ..condition };
        value["status"]["conditions"] = serde_json::to_value([condition]).unwrap_or_default();
        put(key.clone(), &Object { resource, value }, Some(entry));
    }
    (!writes.is_empty()).then(|| Transaction {
        preconditions,
        writes,
        origin: origin("update", "priority and fairness", now),
    })
}

/// Source: `syncFlowSchemaStatus` in `apf_controller.go`.
fn dangling(level: &str, there: bool) -> FlowSchemaCondition {
    let (status, reason, message) = if there {
        (
            "False",
            "Found",
            format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} and it exists"),
        )
    } else {
        let message = format!(
            "This FlowSchema references the PriorityLevelConfiguration object named {level:?} but there is no such object"
        );
        ("True", "NotFound", message)
    };
    FlowSchemaCondition {
        type_: "Dangling".into(),
        status: Some(status.into()),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: None,
    }
}
