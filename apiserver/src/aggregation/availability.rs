//! Whether another server can answer, as its APIService's condition `Available` says.
//! Source: `controllers/status/remote/remote_available_controller.go` of kube-aggregator.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use jiff::Timestamp;
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::Time, kube_aggregator::pkg::apis::apiregistration::v1::APIServiceCondition,
};
use kubelab_api::resource;
use kubelab_store::{Cursor, Error, Key, Precondition, Scope, State, Store, Transaction, Write};
use serde_json::Value;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    TOPIC,
    merge::{Documents, sources},
    proxy::speak_for,
    remote::Remote,
    resolve::{Missing, resolve},
    swagger,
};
use crate::{
    bootstrap::{
        Object,
        seed::{finished, origin},
    },
    corridor::User,
    doors::rest::answer,
    registry::scan,
};

/// A server that answered is asked again after so long. Source: the informer's resync period.
const AGAIN: Duration = Duration::from_secs(30);

/// One that did not, after so long, and then after twice as long each time, up to [`AGAIN`].
const SOON: Duration = Duration::from_millis(500);

/// What an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// The most that is read of a document.
const DOCUMENT: usize = 8 * 1024 * 1024;

/// Keeps the condition of one APIService until `stop`.
pub async fn keep(store: Store, remote: Arc<Remote>, now: fn() -> Timestamp, stop: CancellationToken) {
    let place = format!("{}/{}", remote.namespace, remote.service);
    let mut failures = 0;
    while !stop.is_cancelled() {
        let mut watch = Watches::begin(&store, &place);
        let state = store.local();
        let verdict = tokio::select! {
            verdict = check(&state, &remote) => verdict,
            () = stop.cancelled() => return,
        };
        failures = if verdict.is_ok() { 0 } else { failures + 1 };
        drop(state);
        let written = async {
            let state = store.latest().await?;
            match plan(&state, &remote.name, &verdict, now()) {
                Some(transaction) => store.commit(transaction).await.map(drop),
                None => Ok::<_, Error>(()),
            }
        };
        if let Err(error) = written.await {
            tracing::debug!(%error, name = %remote.name, "the condition has to wait");
        }
        let pause = if failures == 0 { AGAIN } else { AGAIN.min(SOON * 2_u32.pow(failures.min(6))) };
        tokio::select! {
            () = watch.changed() => {}
            () = tokio::time::sleep(pause) => {}
            () = stop.cancelled() => {}
        }
    }
}

/// Changes of what stands behind a Service.
struct Watches(Vec<Cursor>);

impl Watches {
    fn begin(store: &Store, place: &str) -> Self {
        let after = store.local().revision();
        let topics = ["core/services", "discovery.k8s.io/endpointslices", "core/endpoints"];
        let scope = |topic: &str| Scope { topic: topic.into(), prefix: place.into(), index: None };
        Self(topics.iter().filter_map(|topic| store.watch(scope(topic), after).ok()).collect())
    }

    async fn changed(&mut self) {
        let next = |cursor: &mut Cursor| {
            let poll = cursor.poll();
            poll.is_ok_and(|batch| batch.events.is_empty())
        };
        if self.0.is_empty() || !self.0.iter_mut().all(next) {
            return tokio::time::sleep(SOON).await;
        }
        let waits = self.0.iter_mut().map(|cursor| {
            Box::pin(async move {
                // Until something happens; a cursor that fell behind counts as that.
                while cursor.next(AGAIN).await.is_ok_and(|batch| batch.events.is_empty()) {}
            })
        });
        futures::future::select_all(waits).await;
    }
}

async fn check(state: &State, remote: &Remote) -> Result<(), Missing> {
    let addresses = resolve(state, &remote.namespace, &remote.service, remote.port)?;
    let mut last = String::new();
    for address in addresses.iter().take(5) {
        match probe(remote, address).await {
            Ok(()) => return Ok(()),
            Err(why) => last = why,
        }
    }
    Err(Missing::new("FailedDiscoveryCheck", last))
}

/// Asks for the group's discovery document, which is kept.
async fn probe(remote: &Remote, address: &str) -> Result<(), String> {
    let path = format!("/apis/{}/{}", remote.group, remote.version);
    let url = format!("https://{address}{path}");
    let failed = |why: String| format!("failing or missing response from {url}: Get {url:?}: {why}");
    let (status, list) = match timeout(PATIENCE, get(remote, address, &path)).await {
        Ok(answered) => answered.map_err(failed)?,
        Err(_) => return Err(format!("timed out waiting for {url}")),
    };
    if !status.is_success() {
        return Err(format!("failing or missing response from {url}: bad status from {url}: {}", status.as_u16()));
    }
    let document = async |path: &str| {
        let (status, bytes) = timeout(PATIENCE, get(remote, address, path)).await.ok()?.ok()?;
        if status.is_success() { serde_json::from_slice::<Value>(&bytes).ok() } else { None }
    };
    let list = serde_json::from_slice(&list).unwrap_or_default();
    let index = document("/openapi/v3").await.unwrap_or_default();
    // The document is large: it is read again when something is served that was not.
    let known = remote.documents.load_full().filter(|known| known.sources == sources(&list, &index));
    let swagger = match known.and_then(|known| known.swagger.clone()) {
        Some(known) => Some(known),
        None => document("/openapi/v2")
            .await
            .map(|document| Arc::new(swagger::part(document, &remote.group, &remote.version))),
    };
    remote.documents.store(Some(Arc::new(Documents::new(remote, &list, &index, swagger))));
    Ok(())
}

async fn get(remote: &Remote, address: &str, path: &str) -> Result<(StatusCode, Bytes), String> {
    let mut request = Request::get(path)
        .header("host", address)
        .header("accept", "application/json")
        .body(answer::full(Bytes::new()))
        .map_err(|error| error.to_string())?;
    let aggregator =
        User { name: "system:kube-aggregator".into(), groups: vec!["system:masters".into()], ..User::default() };
    speak_for(&aggregator, request.headers_mut());
    let response = remote.send(address, request).await?;
    let status = response.status();
    let body = Limited::new(response.into_body(), DOCUMENT).collect().await.map_err(|error| error.to_string())?;
    Ok((status, body.to_bytes()))
}

/// Writes the verdict into the APIService's status; nothing where it says so already.
fn plan(state: &State, name: &str, verdict: &Result<(), Missing>, now: Timestamp) -> Option<Transaction> {
    let key = Key::new(TOPIC, name);
    let entry = state.get(&key)?;
    let mut value: Value = serde_json::from_slice(&entry.value).ok()?;
    let conditions: Vec<APIServiceCondition> =
        serde_json::from_value(value["status"]["conditions"].clone()).unwrap_or_default();
    let old = conditions.iter().find(|condition| condition.type_ == "Available");
    let (status, reason, message) = match verdict {
        Ok(()) => ("True", "Passed", "all checks passed"),
        Err(missing) => ("False", missing.reason, missing.message.as_str()),
    };
    let same = |old: &&APIServiceCondition| {
        old.status == status && old.reason.as_deref() == Some(reason) && old.message.as_deref() == Some(message)
    };
    if old.filter(same).is_some() {
        return None;
    }
    let since = old.filter(|old| old.status == status).and_then(|old| old.last_transition_time.clone());
    let condition = APIServiceCondition {
        type_: "Available".into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_transition_time: since.or(Some(Time(now))),
    };
    let mut all: Vec<_> = conditions.into_iter().filter(|condition| condition.type_ != "Available").collect();
    all.push(condition);
    value["status"]["conditions"] = serde_json::to_value(all).ok()?;
    let resource = resource::find("apiregistration.k8s.io", "v1", "apiservices")?;
    let value = finished(&Object { resource, value }, Some(entry), now);
    let stamp = scan::stamp_place(&value);
    Some(Transaction {
        preconditions: vec![Precondition::Modified(key.clone(), entry.modified)],
        writes: vec![Write::Put { key, value, stamp, index: None, expires_ms: None }],
        origin: origin("update/status", "whether the server answers", now),
    })
}
