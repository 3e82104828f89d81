//! The ConfigMap `cluster-info` in `kube-public`, which anyone may read: where the API is, and by which certificate it is
//! known. Machines that join begin with it. Source: `cmd/kubeadm/app/phases/bootstraptoken/clusterinfo`.

use jiff::Timestamp;
use kubelab_api::well_known::namespace::PUBLIC;
use kubelab_store::{Error, Outcome, Precondition, State, Store, Transaction, Write};
use serde_json::{Value, json};

use super::{
    Object,
    seed::{finished, key, origin},
};
use crate::registry::scan;

const NAME: &str = "cluster-info";
const KUBECONFIG: &str = "kubeconfig";

/// The ConfigMap for a cluster at this address, known by this certificate (base64 of PEM).
pub fn object(server: &str, authority: &str) -> Object {
    let cluster = json!({"certificate-authority-data": authority, "server": server});
    let kubeconfig = json!({
        "apiVersion": "v1",
        "clusters": [{"cluster": cluster, "name": ""}],
        "contexts": null,
        "current-context": "",
        "kind": "Config",
        "users": null,
    });
    // JSON is YAML.
    let value = json!({
        "metadata": {"name": NAME, "namespace": PUBLIC},
        "data": {KUBECONFIG: kubeconfig.to_string()},
    });
    Object::new(value, "", "v1", "configmaps")
}

/// Writes the ConfigMap where it is missing or tells of another place; says whether it was done.
pub async fn keep(store: &Store, object: &Object, now: Timestamp) -> Result<bool, Error> {
    match plan(&*store.latest().await?, object, now) {
        Some(transaction) => Ok(matches!(store.commit(transaction).await?, Outcome::Committed(_))),
        None => Ok(true),
    }
}

fn plan(state: &State, object: &Object, now: Timestamp) -> Option<Transaction> {
    let key = key(object);
    let existing = state.get(&key);
    let stored: Value = existing.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default();
    if stored["data"][KUBECONFIG] == object.value["data"][KUBECONFIG] {
        return None;
    }
    let value = finished(object, existing, now);
    let stamp = scan::stamp_place(&value);
    let precondition = match existing {
        Some(entry) => Precondition::Modified(key.clone(), entry.modified),
        None => Precondition::Absent(key.clone()),
    };
    let writes = vec![Write::Put { key, value, stamp, index: None, expires_ms: None }];
    Some(Transaction { preconditions: vec![precondition], writes, origin: origin("update", "cluster-info", now) })
}
