//! Writes what every cluster has from the start: whoever comes first all of it, in one transaction; whoever comes later
//! what has gone missing, and what roles and bindings lack.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kubelab_store::{Door, Entry, Error, Key, Origin, Outcome, Precondition, State, Store, Transaction, Write};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{Object, beginnings, objects, reconcile::reconcile};
use crate::registry::scan;

/// Who writes at the start.
pub const USER: &str = "system:apiserver";
/// How long to wait for a quorum before it is tried again.
const PAUSE: Duration = Duration::from_millis(50);

/// Writes what is missing; tries again until the store has a quorum, or until `stop`. Says whether it was done.
pub async fn seed(store: &Store, now: fn() -> Timestamp, stop: &CancellationToken) -> bool {
    let objects = objects();
    let missing = |state: &State| -> Vec<Object> {
        objects.iter().filter(|object| state.get(&key(object)).is_none()).cloned().collect()
    };
    let attempt = async || -> Result<bool, Error> {
        let state = store.latest().await?;
        let mut missing = missing(&state);
        let is_new = missing.len() == objects.len();
        if is_new {
            missing.extend(beginnings(now()));
        }
        let mut transaction = transaction(&missing, now());
        // Where all is new, nothing can lack anything.
        if !is_new {
            complete(&objects, &state, &mut transaction);
        }
        if transaction.writes.is_empty() {
            return Ok(true);
        }
        tracing::info!(count = transaction.writes.len(), "writing bootstrap objects");
        Ok(matches!(store.commit(transaction).await?, Outcome::Committed(_)))
    };
    while !stop.is_cancelled() {
        match attempt().await {
            Ok(true) => return true,
            // Another apiserver was faster; a look will tell whether it wrote all.
            Ok(false) => {}
            Err(error) => {
                tracing::debug!(%error, "bootstrap objects have to wait");
                tokio::select! {
                    () = tokio::time::sleep(PAUSE) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }
    false
}

/// Where an object is stored.
pub(crate) fn key(object: &Object) -> Key {
    let name = match object.namespace() {
        "" => object.name().to_owned(),
        namespace => format!("{namespace}/{}", object.name()),
    };
    Key::new(object.resource.topic(), name)
}

/// All of the objects, if none of them lives.
fn transaction(objects: &[Object], now: Timestamp) -> Transaction {
    let preconditions = objects.iter().map(|object| Precondition::Absent(key(object))).collect();
    let writes = objects.iter().map(|object| {
        let value = finished(object, None, now);
        let stamp = scan::stamp_place(&value);
        Write::Put { key: key(object), value, stamp, index: None, expires_ms: None }
    });
    Transaction { preconditions, writes: writes.collect(), origin: origin("create", "bootstrap", now) }
}

/// Adds what roles and bindings that are there lack.
fn complete(objects: &[Object], state: &State, transaction: &mut Transaction) {
    for object in objects.iter().filter(|object| object.resource.group == "rbac.authorization.k8s.io") {
        let key = key(object);
        let Some(entry) = state.get(&key) else { continue };
        let Ok(existing) = serde_json::from_slice::<Value>(&entry.value) else { continue };
        if let Some(mut merged) = reconcile(&object.value, &existing) {
            merged["metadata"]["resourceVersion"] = "".into();
            let value = Bytes::from(merged.to_string());
            let stamp = scan::stamp_place(&value);
            transaction.preconditions.push(Precondition::Modified(key.clone(), entry.modified));
            transaction.writes.push(Write::Put { key, value, stamp, index: None, expires_ms: None });
        }
    }
}

/// The apiserver itself wrote.
pub(crate) fn origin(verb: &str, note: &str, now: Timestamp) -> Origin {
    Origin {
        user: USER.into(),
        agent: "apiserver".into(),
        door: Door::Internal,
        verb: verb.into(),
        time_us: u64::try_from(now.as_microsecond()).unwrap_or_default(),
        trace_id: Arc::from(uuid::Uuid::new_v4().simple().to_string()),
        cause: 0,
        note: note.into(),
    }
}

/// The bytes to store, with room for the revision: identity and time of birth are the existing object's, or new.
pub(crate) fn finished(object: &Object, existing: Option<&Arc<Entry>>, now: Timestamp) -> Bytes {
    let old: Value = existing.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default();
    let kept = |field: &str| old["metadata"].get(field).cloned();
    let mut value = object.value.clone();
    let metadata = &mut value["metadata"];
    metadata["uid"] = kept("uid").unwrap_or_else(|| uuid::Uuid::new_v4().to_string().into());
    metadata["creationTimestamp"] =
        kept("creationTimestamp").unwrap_or_else(|| serde_json::to_value(Time(now)).unwrap_or(Value::Null));
    metadata["resourceVersion"] = "".into();
    value.to_string().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::{Ipv4Addr, SocketAddr};

    use kubelab_store::Options;

    use super::*;

    #[tokio::test]
    async fn the_first_writes_all_and_the_next_what_is_missing() {
        let folder = tempfile::tempdir().unwrap();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let peers = [(1, listen.to_string())].into();
        let store = Store::open(Options::new(1, peers, folder.path().to_owned(), listen)).await.unwrap();
        let stop = CancellationToken::new();
        assert!(seed(&store, Timestamp::now, &stop).await);
        let first = store.local();
        assert_eq!((first.revision(), first.len()), (1, objects().len() + beginnings(Timestamp::now()).len()));
        let role = first.get(&Key::new("rbac.authorization.k8s.io/clusterroles", "cluster-admin")).unwrap();
        let role: Value = serde_json::from_slice(&role.value).unwrap();
        assert_eq!(role["metadata"]["resourceVersion"], "1");
        assert!(role["metadata"]["uid"].as_str().unwrap().len() == 36, "{role}");

        assert!(seed(&store, Timestamp::now, &stop).await);
        assert_eq!(store.local().revision(), 1, "nothing was missing");
        let gone = Key::new("core/namespaces", "kube-public");
        let class = Key::new("storage.k8s.io/storageclasses", "standard");
        let writes = [&gone, &class].map(|key| Write::Delete { key: key.clone() }).into();
        store.commit(Transaction { writes, ..transaction(&[], Timestamp::now()) }).await.unwrap();
        assert!(seed(&store, Timestamp::now, &stop).await);
        assert!(store.local().get(&gone).is_some());
        assert!(store.local().get(&class).is_none(), "what users may remove stays away");
        assert_eq!(store.local().revision(), 3);

        let role = Key::new("rbac.authorization.k8s.io/clusterroles", "system:basic-user");
        let mut poor: Value = serde_json::from_slice(&store.local().get(&role).unwrap().value).unwrap();
        let rules = poor["rules"].take();
        poor["rules"] = serde_json::json!([]);
        poor["metadata"]["resourceVersion"] = "".into();
        let value = Bytes::from(poor.to_string());
        let stamp = scan::stamp_place(&value);
        let put = Write::Put { key: role.clone(), value, stamp, index: None, expires_ms: None };
        let put = Transaction { writes: vec![put], ..transaction(&[], Timestamp::now()) };
        store.commit(put).await.unwrap();
        assert!(seed(&store, Timestamp::now, &stop).await);
        let healed: Value = serde_json::from_slice(&store.local().get(&role).unwrap().value).unwrap();
        assert_eq!(healed["rules"], rules, "a default role gets back what it lacks");
        assert_eq!(store.local().revision(), 5);
        assert!(seed(&store, Timestamp::now, &stop).await);
        assert_eq!(store.local().revision(), 5, "it lacks nothing any more");
        store.shutdown().await;
    }

    #[tokio::test]
    async fn it_gives_up_when_the_process_ends() {
        let folder = tempfile::tempdir().unwrap();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        // A second member that never comes.
        let peers = [(1, listen.to_string()), (2, "127.0.0.1:1".to_owned())].into();
        let store = Store::open(Options::new(1, peers, folder.path().to_owned(), listen)).await.unwrap();
        let stop = CancellationToken::new();
        stop.cancel();
        assert!(!seed(&store, Timestamp::now, &stop).await);
        store.shutdown().await;
    }
}
