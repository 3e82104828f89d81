//! Keeps what stands behind the Service `kubernetes` in step with the apiservers that live. Each one holds a key
//! of an internal topic that expires when it is not renewed; the addresses are those whose key is there.
//! Source: `LeaseEndpointReconciler` in `pkg/controlplane/reconcilers`, whose keys last and are renewed as here.

use std::{net::SocketAddr, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use kubelab_store::{Entry, Error, Key, Outcome, Precondition, State, Store, Transaction, Write};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

use super::{
    Object,
    seed::{finished, key, origin},
    service,
};
use crate::registry::scan;

const TOPIC: &str = "internal/apiservers";
const LASTS: Duration = Duration::from_secs(15);
const RENEWED: Duration = Duration::from_secs(10);
/// What taking it back may take: at the end of a whole lab there is no quorum any more.
const FAREWELL: Duration = Duration::from_millis(300);
/// Until a quorum is there.
const PAUSE: Duration = Duration::from_millis(100);

/// Publishes this apiserver, `id`, at `address` until `stop`, and takes it back then.
pub async fn publish(store: &Store, id: u64, address: SocketAddr, now: fn() -> Timestamp, stop: &CancellationToken) {
    while !stop.is_cancelled() {
        let renewed = async {
            renew(store, id, Some(address), now()).await?;
            reconcile(store, now()).await
        };
        let pause = match renewed.await {
            Ok(true) => RENEWED,
            // Another apiserver reconciles at the same time.
            Ok(false) => PAUSE,
            Err(error) => {
                tracing::debug!(%error, "the endpoints of the apiservers have to wait");
                PAUSE
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
    let taken_back = async {
        renew(store, id, None, now()).await?;
        reconcile(store, now()).await
    };
    // Without a quorum the key expires by itself.
    let _ = tokio::time::timeout(FAREWELL, taken_back).await;
}

async fn renew(store: &Store, id: u64, address: Option<SocketAddr>, now: Timestamp) -> Result<(), Error> {
    let key = Key::new(TOPIC, id.to_string());
    let end = now.as_millisecond() + LASTS.as_millis() as i64;
    let write = match address {
        Some(address) => Write::Put {
            key,
            value: Bytes::from(address.to_string()),
            stamp: None,
            index: None,
            expires_ms: u64::try_from(end).ok(),
        },
        None => Write::Delete { key },
    };
    let origin = origin("update", "apiserver lease", now);
    let transaction = Transaction { preconditions: Vec::new(), writes: vec![write], origin };
    store.commit(transaction).await.map(drop)
}

/// Writes the Endpoints and the slices where they are not what they should be, unless somebody else was faster.
async fn reconcile(store: &Store, now: Timestamp) -> Result<bool, Error> {
    let state = store.latest().await?;
    match plan(&state, now) {
        Some(transaction) => Ok(matches!(store.commit(transaction).await?, Outcome::Committed(_))),
        None => Ok(true),
    }
}

/// What has to be written on this state; nothing when all is well.
fn plan(state: &State, now: Timestamp) -> Option<Transaction> {
    let live =
        state.range(TOPIC, "", None).filter_map(|(_, entry)| std::str::from_utf8(&entry.value).ok()?.parse().ok());
    let apiservers: Vec<SocketAddr> = live.collect();
    let slices = service::endpoint_slices(&apiservers);
    let names: Vec<Key> = slices.iter().map(key).collect();
    let (mut preconditions, mut writes) = (Vec::new(), Vec::new());
    for object in std::iter::once(service::endpoints(&apiservers)).chain(slices) {
        let key = key(&object);
        let existing = state.get(&key);
        if existing.is_some_and(|entry| says(entry, &object)) {
            continue;
        }
        preconditions.push(match existing {
            Some(entry) => Precondition::Modified(key.clone(), entry.modified),
            None => Precondition::Absent(key.clone()),
        });
        let value = finished(&object, existing, now);
        let stamp = scan::stamp_place(&value);
        writes.push(Write::Put { key, value, stamp, index: None, expires_ms: None });
    }
    // Slices of ports that nobody serves any more.
    let stale = state.range("discovery.k8s.io/endpointslices", "default/kubernetes", None).filter(|(key, _)| {
        let own = &key.name["default/kubernetes".len()..];
        (own.is_empty() || own.strip_prefix('-').is_some_and(|port| port.parse::<u16>().is_ok()))
            && !names.contains(key)
    });
    writes.extend(stale.map(|(key, _)| Write::Delete { key: key.clone() }));
    (!writes.is_empty()).then(|| Transaction {
        preconditions,
        writes,
        origin: origin("update", "the apiservers that live", now),
    })
}

/// The stored object has all that the wanted one has, beside metadata.
fn says(entry: &Entry, wanted: &Object) -> bool {
    let Ok(Value::Object(stored)) = serde_json::from_slice(&entry.value) else { return false };
    let fields = ["subsets", "endpoints", "ports", "addressType"];
    fields.iter().all(|field| stored.get(*field) == wanted.value.get(*field))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::net::Ipv4Addr;

    use kubelab_store::Options;

    use super::*;

    fn addresses(store: &Store) -> Vec<String> {
        let state = store.local();
        let Some(entry) = state.get(&Key::new("core/endpoints", "default/kubernetes")) else { return Vec::new() };
        let endpoints: k8s_openapi::api::core::v1::Endpoints = serde_json::from_slice(&entry.value).unwrap();
        let subsets = endpoints.subsets.into_iter().flatten();
        subsets.flat_map(|subset| subset.ports.into_iter().flatten().map(|port| port.port.to_string())).collect()
    }

    #[tokio::test]
    async fn apiservers_come_and_go() {
        let folder = tempfile::tempdir().unwrap();
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let peers = [(1, listen.to_string())].into();
        let store = Store::open(Options::new(1, peers, folder.path().to_owned(), listen)).await.unwrap();
        let stop = CancellationToken::new();
        store.member().wait_for(|member| member.leader == 1).await.unwrap();
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));

        for (id, address, expected) in
            [(1, Some(at(7001)), vec!["7001"]), (2, Some(at(7002)), vec!["7001", "7002"]), (1, None, vec!["7002"])]
        {
            renew(&store, id, address, Timestamp::now()).await.unwrap();
            assert!(reconcile(&store, Timestamp::now()).await.unwrap());
            assert_eq!(addresses(&store), expected);
        }
        assert!(plan(&store.local(), Timestamp::now()).is_none(), "all is well");
        let state = store.local();
        let slices =
            state.range("discovery.k8s.io/endpointslices", "default/", None).map(|(key, _)| key.name.to_string());
        assert_eq!(slices.collect::<Vec<_>>(), ["default/kubernetes"]);

        stop.cancel();
        publish(&store, 2, at(7002), Timestamp::now, &stop).await;
        assert!(addresses(&store).is_empty(), "it takes itself back");
        store.shutdown().await;
    }
}
