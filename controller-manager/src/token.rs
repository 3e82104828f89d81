//! Fills Secrets of type `kubernetes.io/service-account-token`, and deletes those whose service account is gone.
//!
//! Watches service accounts and those Secrets. Writes those Secrets.
//! Source: `pkg/controller/serviceaccount/tokens_controller.go` in Kubernetes. There this loop holds the signing key and
//! makes tokens that never expire; here it asks the apiserver (`serviceaccounts/token`) for tokens that are bound to their
//! Secret, so that no other process needs the key, and renews them in time.

use std::{collections::BTreeMap, fs, sync::Arc, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestSpec},
        core::v1::{Secret, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, ObjectMeta, Preconditions, Time},
};
use kubelab_api::{
    Error, Reason,
    meta::{annotation, is_deleting},
    well_known::annotation::{SERVICE_ACCOUNT_NAME, SERVICE_ACCOUNT_UID},
};
use kubelab_client::{Action, Cache, Change, Client, Controller, Scope, clock, controller::Key, queue::Queue};

use crate::Context;

const NAME: &str = "serviceaccount-token-controller";
const TYPE: &str = "kubernetes.io/service-account-token";
/// When the token in a Secret ends. Upstream's tokens here have no end, so no annotation of its own tells it.
const EXPIRES: &str = "kubelab.io/token-expires";
/// For how long tokens are asked for; the apiserver may grant less.
const LIFETIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// How long before a token ends it is renewed: half of the shortest time that a token may be asked for.
const MARGIN: Duration = Duration::from_secs(300);
/// Source: `ConcurrentSATokenSyncs` in the controller manager's defaults.
const WORKERS: usize = 5;

/// Runs the loop.
pub async fn run(context: Context) {
    let path = context.options.root_ca_file();
    let certificate = fs::read(path).unwrap_or_else(|error| {
        tracing::error!(path = %path.display(), %error, "cannot read the root certificate, so token Secrets lack it");
        Vec::new()
    });
    let scope = Scope { fields: format!("type={TYPE}"), ..Scope::default() };
    let this = Arc::new(Loop {
        secrets: Cache::start(&context.client, scope),
        client: context.client,
        accounts: context.caches.of(),
        certificate: ByteString(certificate),
        queue: Queue::new("serviceaccount_tokens_secret"),
    });
    tokio::join!(this.accounts.synced(), this.secrets.synced());
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    accounts: Cache<ServiceAccount>,
    secrets: Cache<Secret>,
    certificate: ByteString,
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let queue = self.queue.clone();
        self.secrets.on_change(move |change| queue.add(Key::of(&**change.object())));
        let (queue, secrets) = (self.queue.clone(), self.secrets.clone());
        self.accounts.on_change(move |change| {
            let account = change.object();
            if matches!(change, Change::Modified { .. }) {
                return;
            }
            for secret in secrets.list_in(account.metadata.namespace.as_deref().unwrap_or_default()) {
                if annotation(&secret.metadata, SERVICE_ACCOUNT_NAME) == account.metadata.name.as_deref() {
                    queue.add(Key::of(&*secret));
                }
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let secret = self.secrets.get(&key.namespace, &key.name);
        let Some(secret) = secret.filter(|secret| !is_deleting(&secret.metadata)) else { return Ok(Action::Done) };
        let Some(name) = annotation(&secret.metadata, SERVICE_ACCOUNT_NAME) else { return Ok(Action::Done) };
        let Some(account) = self.account(&key.namespace, name, &secret).await? else {
            self.delete(&key, &secret).await?;
            return Ok(Action::Done);
        };
        let now = clock::now();
        let fresh_for = freshness(&secret, &now);
        let fixed = self.fixed(&secret, &account);
        if fixed == *secret
            && let Some(left) = fresh_for
        {
            return Ok(Action::After(left));
        }
        let filled = match fresh_for {
            Some(_) => fixed,
            None => self.with_token(fixed, &account).await?,
        };
        self.client.update(&filled).await?;
        Ok(Action::Done)
    }

    /// The account that a Secret names. A cache may be behind, and deleting a Secret cannot be undone: so the apiserver is
    /// asked before an account counts as gone.
    async fn account(&self, namespace: &str, name: &str, secret: &Secret) -> Result<Option<ServiceAccount>, Error> {
        let is_meant = |account: &ServiceAccount| {
            let uid = annotation(&secret.metadata, SERVICE_ACCOUNT_UID);
            uid.is_none_or(|uid| uid.is_empty() || account.metadata.uid.as_deref() == Some(uid))
        };
        if let Some(account) = self.accounts.get(namespace, name).filter(|account| is_meant(account)) {
            return Ok(Some(ServiceAccount::clone(&account)));
        }
        match self.client.get::<ServiceAccount>(namespace, name).await {
            Ok(account) => Ok(Some(account).filter(is_meant)),
            Err(error) if error.reason == Reason::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn delete(&self, key: &Key, secret: &Secret) -> Result<(), Error> {
        let options = DeleteOptions {
            preconditions: Some(Preconditions {
                uid: secret.metadata.uid.clone(),
                resource_version: secret.metadata.resource_version.clone(),
            }),
            ..Default::default()
        };
        match self.client.delete::<Secret>(&key.namespace, &key.name, options).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// The Secret with all that it should hold but the token.
    fn fixed(&self, secret: &Secret, account: &ServiceAccount) -> Secret {
        let mut fixed = secret.clone();
        let uid = account.metadata.uid.clone().unwrap_or_default();
        fixed.metadata.annotations.get_or_insert_default().insert(SERVICE_ACCOUNT_UID.to_owned(), uid);
        let data: &mut BTreeMap<String, ByteString> = fixed.data.get_or_insert_default();
        data.insert("ca.crt".to_owned(), self.certificate.clone());
        let namespace = secret.metadata.namespace.clone().unwrap_or_default();
        data.insert("namespace".to_owned(), ByteString(namespace.into_bytes()));
        fixed
    }

    async fn with_token(&self, mut secret: Secret, account: &ServiceAccount) -> Result<Secret, Error> {
        let request = TokenRequest {
            metadata: ObjectMeta::default(),
            spec: Some(TokenRequestSpec {
                bound_object_ref: Some(BoundObjectReference {
                    api_version: Some("v1".to_owned()),
                    kind: Some("Secret".to_owned()),
                    name: secret.metadata.name.clone(),
                    uid: secret.metadata.uid.clone(),
                }),
                expiration_seconds: i64::try_from(LIFETIME.as_secs()).ok(),
                ..Default::default()
            }),
            status: None,
        };
        let Key { namespace, name } = Key::of(account);
        let answer = self.client.create_subresource::<ServiceAccount, _>(&namespace, &name, "token", &request).await?;
        let status = answer.status.unwrap_or_default();
        let (Some(token), Some(Time(expires))) = (status.token, status.expiration_timestamp) else {
            return Err(Error::internal("the apiserver answered a token request without a token"));
        };
        secret.metadata.annotations.get_or_insert_default().insert(EXPIRES.to_owned(), expires.to_string());
        secret.data.get_or_insert_default().insert("token".to_owned(), ByteString(token.into_bytes()));
        Ok(secret)
    }
}

/// How long a Secret's token needs no renewal; `None` if it has no token, or an old one.
fn freshness(secret: &Secret, now: &Time) -> Option<Duration> {
    let token = secret.data.as_ref()?.get("token")?;
    if token.0.is_empty() {
        return None;
    }
    let Some(expires) = annotation(&secret.metadata, EXPIRES) else {
        // Someone else filled it; it is none of our business when it ends.
        return Some(LIFETIME);
    };
    let expires: Timestamp = expires.parse().ok()?;
    let left = Duration::try_from(expires.duration_since(now.0)).ok()?;
    left.checked_sub(MARGIN).filter(|left| !left.is_zero())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_are_renewed_in_time() {
        let now = Time("2026-11-20T12:00:00Z".parse().unwrap());
        for (why, token, expires, expected) in [
            ("no token", "", None, None),
            ("someone else's", "dA==", None, Some(LIFETIME)),
            ("good for an hour", "dA==", Some("2026-11-20T13:00:00Z"), Some(Duration::from_secs(55 * 60))),
            ("about to end", "dA==", Some("2026-11-20T12:05:00Z"), None),
            ("over", "dA==", Some("2026-11-20T11:00:00Z"), None),
        ] {
            let annotations = expires.map(|expires| json!({EXPIRES: expires}));
            let secret: Secret =
                serde_json::from_value(json!({"metadata": {"annotations": annotations}, "data": {"token": token}}))
                    .unwrap();
            assert_eq!(freshness(&secret, &now), expected, "{why}");
        }
    }
}
