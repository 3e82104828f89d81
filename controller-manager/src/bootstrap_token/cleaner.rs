//! Deletes bootstrap tokens that have ended.
//!
//! Watches and deletes Secrets of `kube-system`. Source: `pkg/controller/bootstrap/tokencleaner.go` in Kubernetes.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::Secret,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kubelab_api::{Error, Reason};
use kubelab_client::{Action, Cache, Client, Controller, clock, controller::Key, queue::Queue};

use super::{end, scope};
use crate::Context;

const NAME: &str = "token-cleaner-controller";
const WORKERS: usize = 1;

/// Runs the loop.
pub async fn run(context: Context) {
    let secrets = Cache::start(&context.client, scope());
    let this = Arc::new(Loop { client: context.client, secrets, queue: Queue::new("token_cleaner") });
    this.secrets.synced().await;
    let queue = this.queue.clone();
    this.secrets.on_change(move |change| queue.add(Key::of(&**change.object())));
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    secrets: Cache<Secret>,
    queue: Queue<Key>,
}

impl Loop {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(secret) = self.secrets.get(&key.namespace, &key.name) else { return Ok(Action::Done) };
        let Some(left) = time_left(&secret, clock::now().0) else { return Ok(Action::Done) };
        if !left.is_zero() {
            return Ok(Action::After(left));
        }
        let uid = secret.metadata.uid.clone();
        let preconditions = Some(Preconditions { uid, resource_version: None });
        let options = DeleteOptions { preconditions, ..DeleteOptions::default() };
        match self.client.delete::<Secret>(&key.namespace, &key.name, options).await {
            Err(error) if !matches!(error.reason, Reason::NotFound | Reason::Conflict) => Err(error),
            _ => Ok(Action::Done),
        }
    }
}

/// How long a token lasts still; `None` if it does not end. One whose end cannot be read has ended.
fn time_left(secret: &Secret, now: Timestamp) -> Option<Duration> {
    match end(secret) {
        Ok(None) => None,
        Ok(Some(end)) => Some(Duration::try_from(end.duration_since(now)).unwrap_or_default()),
        Err(_) => Some(Duration::ZERO),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_end() {
        let now = "2026-11-27T12:00:00Z".parse().unwrap();
        for (end, left) in [
            ("", None),
            ("2026-11-27T12:01:00Z", Some(60)),
            ("2026-11-27T13:01:00+01:00", Some(60)),
            ("2026-11-27T11:00:00Z", Some(0)),
            ("soon", Some(0)),
        ] {
            let data = json!({"expiration": ByteString(end.as_bytes().to_vec())});
            let secret: Secret = serde_json::from_value(json!({"metadata": {}, "data": data})).unwrap();
            assert_eq!(time_left(&secret, now), left.map(Duration::from_secs), "{end}");
        }
    }
}
