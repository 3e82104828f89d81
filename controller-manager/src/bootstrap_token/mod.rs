//! Bootstrap tokens: what machines show that want to join, and by which they recognize the cluster.
//!
//! | module | what it does |
//! | --- | --- |
//! | [`signer`] | signs the ConfigMap `cluster-info` with each token |
//! | [`cleaner`] | deletes tokens that have ended |
//!
//! Source: `pkg/controller/bootstrap` in Kubernetes.

pub mod cleaner;
pub mod signer;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kubelab_client::Scope;

const TYPE: &str = "bootstrap.kubernetes.io/token";
const SYSTEM: &str = "kube-system";

/// The Secrets that hold bootstrap tokens.
fn scope() -> Scope {
    Scope { namespace: SYSTEM.to_owned(), fields: format!("type={TYPE}"), ..Scope::default() }
}

fn text<'a>(secret: &'a Secret, key: &str) -> &'a str {
    let value = secret.data.as_ref().and_then(|data| data.get(key));
    value.and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default()
}

/// When a token ends: `Ok(None)` for never, an error for a time that cannot be read.
fn end(secret: &Secret) -> Result<Option<Timestamp>, jiff::Error> {
    match text(secret, "expiration") {
        "" => Ok(None),
        end => end.parse().map(Some),
    }
}
