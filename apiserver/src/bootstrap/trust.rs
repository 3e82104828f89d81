//! The ConfigMap `extension-apiserver-authentication`, by which servers of other groups know clients and proxies.
//! Source: `pkg/controlplane/controller/clusterauthenticationtrust`.

use std::time::Duration;

use jiff::Timestamp;
use kubelab_api::well_known::namespace;
use kubelab_store::{Error, Precondition, Store, Transaction, Write};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    Object,
    seed::{finished, key, origin},
};
use crate::registry::scan;

/// How often it is looked after.
const EVERY: Duration = Duration::from_secs(60);
/// Until a quorum is there.
const PAUSE: Duration = Duration::from_millis(200);

/// Whom clients' certificates, and whom proxies' certificates, come from.
pub fn config_map(clients: &str, proxies: Option<&str>) -> Object {
    let mut data = json!({ "client-ca-file": clients });
    if let Some(proxies) = proxies {
        data["requestheader-client-ca-file"] = proxies.into();
        for (name, value) in [
            ("requestheader-allowed-names", r#"["front-proxy-client"]"#),
            ("requestheader-extra-headers-prefix", r#"["X-Remote-Extra-"]"#),
            ("requestheader-group-headers", r#"["X-Remote-Group"]"#),
            ("requestheader-uid-headers", r#"["X-Remote-Uid"]"#),
            ("requestheader-username-headers", r#"["X-Remote-User"]"#),
        ] {
            data[name] = value.into();
        }
    }
    let metadata = json!({ "name": "extension-apiserver-authentication", "namespace": namespace::SYSTEM });
    Object::new(json!({ "metadata": metadata, "data": data }), "", "v1", "configmaps")
}

/// Keeps it as it should be until `stop`.
pub async fn keep(store: &Store, wanted: &Object, now: fn() -> Timestamp, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let pause = match write(store, wanted, now()).await {
            Ok(()) => EVERY,
            Err(error) => {
                tracing::debug!(%error, "the trust of other servers has to wait");
                PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Writes it where it is not as it should be.
pub async fn write(store: &Store, wanted: &Object, now: Timestamp) -> Result<(), Error> {
    let state = store.latest().await?;
    let key = key(wanted);
    let existing = state.get(&key);
    let stored: Value = existing.and_then(|entry| serde_json::from_slice(&entry.value).ok()).unwrap_or_default();
    if stored["data"] == wanted.value["data"] {
        return Ok(());
    }
    let value = finished(wanted, existing, now);
    let stamp = scan::stamp_place(&value);
    let precondition = match existing {
        Some(entry) => Precondition::Modified(key.clone(), entry.modified),
        None => Precondition::Absent(key.clone()),
    };
    let write = Write::Put { key, value, stamp, index: None, expires_ms: None };
    let origin = origin("update", "whom other servers can trust", now);
    // Another apiserver writes the same.
    store.commit(Transaction { preconditions: vec![precondition], writes: vec![write], origin }).await.map(drop)
}
