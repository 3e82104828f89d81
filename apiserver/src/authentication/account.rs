//! Whether what a token stands for still lives. Source: `pkg/serviceaccount/{claims,legacy}.go`, `validator.Validate`.

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{api::core::v1::Secret, apimachinery::pkg::apis::meta::v1::ObjectMeta};
use kubelab_api::name;
use serde::Deserialize;

use super::{
    Lookup,
    token::{Bound, Claims, Reference, Rejection},
};
use crate::corridor::User;

const PREFIX: &str = "system:serviceaccount:";
/// How long an object that is being deleted still counts, so that a pod can finish its work.
const GRACE: SignedDuration = SignedDuration::from_secs(60);

/// `system:serviceaccount:default:robot`
pub fn user_name(namespace: &str, name: &str) -> String {
    format!("{PREFIX}{namespace}:{name}")
}

/// The namespace and the name of the account that a user name stands for.
pub fn split_user_name(user: &str) -> Option<(&str, &str)> {
    let (namespace, account) = user.strip_prefix(PREFIX)?.split_once(':')?;
    let valid = name::dns1123_label(namespace).is_empty() && name::dns1123_subdomain(account).is_empty();
    valid.then_some((namespace, account))
}

/// The groups of every account in a namespace.
pub fn groups(namespace: &str) -> Vec<String> {
    vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")]
}

/// The metadata of a stored object.
#[derive(Deserialize)]
struct Stored {
    metadata: ObjectMeta,
}

/// The user that a verified token stands for, provided that everything it is bound to lives.
pub(super) fn user_of(claims: &Claims, token: &str, lookup: &dyn Lookup, now: Timestamp) -> Result<User, Rejection> {
    let bound = claims.subject()?;
    let namespace = bound.namespace.as_str();
    let here = |name: &str| format!("{namespace}/{name}");
    let alive = |what: &str, topic: &str, key: &str, uid: &str| lives(lookup, what, topic, key, uid, now);
    let account = &bound.serviceaccount;
    if let Some(secret) = &bound.secret {
        alive("secret", "core/secrets", &here(&secret.name), &secret.uid)?;
        if claims.is_legacy() {
            holds(lookup, &here(&secret.name), token)?;
        }
    }
    alive("service account", "core/serviceaccounts", &here(&account.name), &account.uid)?;
    if let Some(pod) = &bound.pod {
        alive("pod", "core/pods", &here(&pod.name), &pod.uid)?;
    }
    // A token that is bound to a pod only tells of the pod's node; it does not stand or fall with it.
    if let (Some(node), None) = (&bound.node, &bound.pod) {
        alive("node", "core/nodes", &node.name, &node.uid)?;
    }
    Ok(User {
        name: user_name(namespace, &account.name),
        uid: account.uid.clone(),
        groups: groups(namespace),
        extra: extra(claims, &bound),
    })
}

fn lives(lookup: &dyn Lookup, what: &str, topic: &str, key: &str, uid: &str, now: Timestamp) -> Result<(), Rejection> {
    let gone = |why: &str| Rejection::Invalidated(format!("the {what} {key} {why}"));
    let json = lookup.get(topic, key).ok_or_else(|| gone("does not exist"))?;
    let Stored { metadata } = serde_json::from_slice(&json).map_err(|_| gone("cannot be read"))?;
    if !uid.is_empty() && metadata.uid.as_deref() != Some(uid) {
        return Err(gone("is another one by now"));
    }
    match metadata.deletion_timestamp {
        Some(end) if now.duration_since(end.0) > GRACE => Err(gone("is being deleted")),
        _ => Ok(()),
    }
}

/// The Secret holds this very token.
fn holds(lookup: &dyn Lookup, key: &str, token: &str) -> Result<(), Rejection> {
    let secret = lookup.get("core/secrets", key).and_then(|json| serde_json::from_slice::<Secret>(&json).ok());
    let stored = secret.and_then(|mut secret| secret.data.as_mut()?.remove("token"));
    // Secrets that were written by hand may hold the token encoded once more.
    match stored {
        Some(stored) if stored.0 == token.as_bytes() || STANDARD.encode(token).as_bytes() == stored.0 => Ok(()),
        _ => Err(Rejection::Invalidated(format!("the secret {key} does not hold it"))),
    }
}

fn extra(claims: &Claims, bound: &Bound) -> std::collections::BTreeMap<String, Vec<String>> {
    let mut extra = std::collections::BTreeMap::new();
    let mut add = |key: &str, value: String| {
        extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value]);
    };
    if let Some(id) = claims.id() {
        add("credential-id", format!("JTI={id}"));
    }
    for (kind, reference) in [("pod", &bound.pod), ("node", &bound.node)] {
        if let Some(Reference { name, uid }) = reference {
            add(&format!("{kind}-name"), name.clone());
            add(&format!("{kind}-uid"), uid.clone());
        }
    }
    extra
}
