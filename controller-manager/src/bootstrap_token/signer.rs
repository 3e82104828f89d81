//! Signs the ConfigMap `cluster-info` with each bootstrap token, so that a machine which has a token can tell that the
//! cluster is the one it was sent to.
//!
//! Watches that ConfigMap of `kube-public` and Secrets of `kube-system`. Writes the ConfigMap.
//! Source: `pkg/controller/bootstrap/bootstrapsigner.go`, `k8s.io/cluster-bootstrap/token/jws` in Kubernetes.

use std::{collections::BTreeMap, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kubelab_api::{Error, Reason};
use kubelab_client::{Action, Cache, Client, Controller, Scope, clock, controller::Key, queue::Queue};
use ring::hmac;

use super::{end, scope, text};
use crate::Context;

const NAME: &str = "bootstrap-signer-controller";
const CONFIG_MAP: &str = "cluster-info";
const PUBLIC: &str = "kube-public";
/// What is signed.
const KUBECONFIG: &str = "kubeconfig";
/// What a signature's key begins with; the token's id follows.
const SIGNATURE: &str = "jws-kubeconfig-";
const WORKERS: usize = 1;

/// Runs the loop.
pub async fn run(context: Context) {
    let only =
        Scope { namespace: PUBLIC.to_owned(), fields: format!("metadata.name={CONFIG_MAP}"), ..Scope::default() };
    let this = Arc::new(Loop {
        secrets: Cache::start(&context.client, scope()),
        config_maps: Cache::start(&context.client, only),
        client: context.client,
        queue: Queue::new("bootstrap_signer_queue"),
    });
    tokio::join!(this.secrets.synced(), this.config_maps.synced());
    // There is one thing to do, whatever changes.
    let key = || Key { namespace: PUBLIC.to_owned(), name: CONFIG_MAP.to_owned() };
    let queue = this.queue.clone();
    this.secrets.on_change(move |_| queue.add(key()));
    let queue = this.queue.clone();
    this.config_maps.on_change(move |_| queue.add(key()));
    Controller::new(NAME, this.queue.clone())
        .run(WORKERS, move |_| {
            let this = Arc::clone(&this);
            async move { this.reconcile().await }
        })
        .await;
}

struct Loop {
    client: Client,
    secrets: Cache<Secret>,
    config_maps: Cache<ConfigMap>,
    queue: Queue<Key>,
}

impl Loop {
    async fn reconcile(&self) -> Result<Action, Error> {
        let Some(config_map) = self.config_maps.get(PUBLIC, CONFIG_MAP) else { return Ok(Action::Done) };
        let now = clock::now().0;
        let secrets = self.secrets.list();
        let signed = sign(config_map.data.clone().unwrap_or_default(), secrets.iter().map(|secret| &**secret), now);
        if config_map.data.as_ref() == Some(&signed) {
            return Ok(Action::Done);
        }
        let update = ConfigMap { data: Some(signed), ..ConfigMap::clone(&config_map) };
        match self.client.update(&update).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(Action::Done),
        }
    }
}

/// The ConfigMap's data with a signature for each token, and no other signatures.
fn sign<'a>(
    mut data: BTreeMap<String, String>,
    secrets: impl Iterator<Item = &'a Secret>,
    now: Timestamp,
) -> BTreeMap<String, String> {
    data.retain(|key, _| !key.starts_with(SIGNATURE));
    let Some(content) = data.get(KUBECONFIG).cloned() else { return data };
    for (id, secret) in secrets.filter_map(|secret| signing(secret, now)) {
        data.insert(format!("{SIGNATURE}{id}"), signature(&content, id, secret));
    }
    data
}

/// The id and the secret of a token that signs.
fn signing(secret: &Secret, now: Timestamp) -> Option<(&str, &str)> {
    let (id, value) = (text(secret, "token-id"), text(secret, "token-secret"));
    let named = secret.metadata.name.as_deref() == Some(&format!("bootstrap-token-{id}"));
    let lives = end(secret).is_ok_and(|end| end.is_none_or(|end| now < end));
    let signs = text(secret, "usage-bootstrap-signing") == "true";
    (named && lives && signs && !id.is_empty() && !value.is_empty()).then_some((id, value))
}

/// A signature (RFC 7515) without what it is of.
fn signature(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"HS256","kid":"{id}"}}"#));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    let signed = hmac::sign(&key, format!("{header}.{}", URL_SAFE_NO_PAD.encode(content)).as_bytes());
    format!("{header}..{}", URL_SAFE_NO_PAD.encode(signed))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::ByteString;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn tokens_that_may_sign_do() {
        let now = "2026-11-27T12:00:00Z".parse().unwrap();
        let secret = |name: &str, changed: (&str, &str)| -> Secret {
            let mut data = json!({});
            for (key, value) in
                [("token-id", name), ("token-secret", "0123456789abcdef"), ("usage-bootstrap-signing", "true"), changed]
            {
                data[key] = serde_json::to_value(ByteString(value.as_bytes().to_vec())).unwrap();
            }
            let metadata = json!({"name": format!("bootstrap-token-{name}")});
            serde_json::from_value(json!({"metadata": metadata, "data": data})).unwrap()
        };
        let secrets = [
            secret("aaaaaa", ("", "")),
            secret("bbbbbb", ("usage-bootstrap-signing", "false")),
            secret("cccccc", ("expiration", "2026-11-27T11:00:00Z")),
            secret("dddddd", ("token-id", "other")),
        ];
        let data = |text: Value| -> BTreeMap<String, String> { serde_json::from_value(text).unwrap() };
        let before = data(json!({"kubeconfig": "x", "jws-kubeconfig-old": "y"}));
        let signed = sign(before, secrets.iter(), now);
        assert_eq!(signed.keys().map(String::as_str).collect::<Vec<_>>(), ["jws-kubeconfig-aaaaaa", "kubeconfig"]);
        let parts: Vec<&str> = signed["jws-kubeconfig-aaaaaa"].split('.').collect();
        assert_eq!(URL_SAFE_NO_PAD.decode(parts[0]).unwrap(), br#"{"alg":"HS256","kid":"aaaaaa"}"#);
        assert!(parts[1].is_empty());
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"0123456789abcdef");
        let whole = format!("{}.{}", parts[0], URL_SAFE_NO_PAD.encode("x"));
        hmac::verify(&key, whole.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap()).unwrap();
        assert_eq!(sign(signed.clone(), secrets.iter(), now), signed);
        assert_eq!(sign(data(json!({"jws-kubeconfig-old": "y"})), secrets.iter(), now), BTreeMap::new());
    }
}
