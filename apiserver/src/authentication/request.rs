//! The `serviceaccounts/token` subresource: a token for an account, bound to what the caller names.
//! Source: `pkg/registry/core/serviceaccount/storage/token.go`, `pkg/apis/authentication/validation`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::{
        authentication::v1::{BoundObjectReference, TokenRequest, TokenRequestStatus},
        core::v1::{Pod, ServiceAccount},
    },
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
};
use kubelab_api::{
    Error, Reason, Resource,
    field::{Errors, Path},
    resource,
};
use serde::{Deserialize, de::DeserializeOwned};

use super::{
    Lookup,
    token::{Bound, Claims, Keys, Reference},
};

/// What a caller gets who does not say.
const DEFAULT_SECONDS: i64 = 3600;
const MIN_SECONDS: i64 = 600;
const MAX_SECONDS: i64 = 1 << 32;
/// Kubelets ask for tokens that last this long; they get a year, and a warning after this time, so that clients which
/// never read their token again go on working. Source: `WarnOnlyBoundTokenExpirationPeriod`, KEP-1205.
const WARN_ONLY_SECONDS: i64 = 60 * 60 + 7;
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;

#[derive(Deserialize)]
struct Stored {
    metadata: ObjectMeta,
}

/// Answers a TokenRequest for a service account; `node` is the node whose kubelet asks, if one does.
pub fn issue(
    keys: &Keys,
    lookup: &dyn Lookup,
    now: Timestamp,
    account: &ServiceAccount,
    mut request: TokenRequest,
    node: Option<&str>,
) -> Result<TokenRequest, Error> {
    let name = account.metadata.name.as_deref().unwrap_or_default();
    let namespace = account.metadata.namespace.as_deref().unwrap_or_default();
    let spec = request.spec.get_or_insert_default();
    let audiences = match spec.audiences.take() {
        Some(audiences) if !audiences.is_empty() => audiences,
        _ => vec![keys.issuer().to_owned()],
    };
    spec.audiences = Some(audiences.clone());
    let seconds = *spec.expiration_seconds.get_or_insert(DEFAULT_SECONDS);
    validate(name, seconds)?;
    let mut bound = Bound {
        namespace: namespace.to_owned(),
        serviceaccount: Reference { name: name.to_owned(), uid: account.metadata.uid.clone().unwrap_or_default() },
        ..Bound::default()
    };
    if let Some(reference) = &spec.bound_object_ref {
        bind(&mut bound, lookup, reference)?;
    }
    if let Some(node) = node {
        restrict(node, &bound).map_err(|why| match resource::find("", "v1", "serviceaccounts") {
            Some(resource) => Error::forbidden(resource, name, why),
            None => Error::internal(why),
        })?;
    }
    let extend = keys.extends() && seconds == WARN_ONLY_SECONDS && bound.pod.is_some() && audiences == [keys.issuer()];
    let lasts = if extend { EXTENDED_SECONDS } else { seconds };
    bound.warnafter = extend.then(|| now.as_second() + seconds);
    let id = uuid::Uuid::new_v4().to_string();
    let claims = Claims::new(keys.issuer(), bound, audiences, id, now, lasts);
    let token = keys.sign(&claims).map_err(|error| Error::internal(format!("failed to generate token: {error}")))?;
    request.metadata.name = Some(name.to_owned());
    request.metadata.namespace = Some(namespace.to_owned());
    request.metadata.creation_timestamp = Some(Time(now));
    let expiration = Time(now.checked_add(SignedDuration::from_secs(seconds)).map_err(Error::internal)?);
    request.status = Some(TokenRequestStatus { expiration_timestamp: Some(expiration), token: Some(token) });
    Ok(request)
}

/// A kubelet gets tokens for the pods on its node alone. Source: `admitServiceAccount` in
/// `plugin/pkg/admission/noderestriction`.
fn restrict(node: &str, bound: &Bound) -> Result<(), &'static str> {
    match (&bound.pod, &bound.node) {
        (None, _) => Err("node requested token not bound to a pod"),
        (Some(_), Some(own)) if own.name == node => Ok(()),
        (Some(_), _) => Err("node requested token bound to a pod scheduled on a different node"),
    }
}

fn validate(name: &str, seconds: i64) -> Result<(), Error> {
    let mut errors = Errors::default();
    let path = Path::new("spec").child("expirationSeconds");
    if seconds < MIN_SECONDS {
        errors.invalid(&path, seconds, "may not specify a duration less than 10 minutes");
    }
    if seconds > MAX_SECONDS {
        errors.invalid(&path, seconds, "may not specify a duration larger than 2^32 seconds");
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::invalid(&token_request(), name, &errors)) }
}

/// The subresource's kind, which is no row of the table.
fn token_request() -> Resource {
    let mut resource = resource::find("authentication.k8s.io", "v1", "tokenreviews").cloned().unwrap_or_else(|| {
        unreachable!("tokenreviews are in the table of resources");
    });
    resource.kind = "TokenRequest".into();
    resource.plural = "tokenrequests".into();
    resource
}

fn bind(bound: &mut Bound, lookup: &dyn Lookup, reference: &BoundObjectReference) -> Result<(), Error> {
    let name = reference.name.as_deref().unwrap_or_default();
    let kind = reference.kind.as_deref().unwrap_or_default();
    let version = reference.api_version.as_deref().unwrap_or_default();
    let here = format!("{}/{name}", bound.namespace);
    let found = match (version, kind) {
        ("v1", "Pod") => {
            let pod: Pod = get(lookup, "pods", &here, name)?;
            let spec = pod.spec.unwrap_or_default();
            let account = &bound.serviceaccount.name;
            if spec.service_account_name.as_ref() != Some(account) {
                return Err(Error::bad_request(format!(
                    "cannot bind token for serviceaccount {account:?} to pod running with different serviceaccount name."
                )));
            }
            if let Some(node) = spec.node_name.filter(|node| !node.is_empty()) {
                let uid = get::<Stored>(lookup, "nodes", &node, &node).ok().and_then(|node| node.metadata.uid);
                bound.node = Some(Reference { name: node, uid: uid.unwrap_or_default() });
            }
            bound.pod.insert(self::reference(&pod.metadata))
        }
        ("v1", "Secret") => {
            let secret: Stored = get(lookup, "secrets", &here, name)?;
            bound.secret.insert(self::reference(&secret.metadata))
        }
        ("v1", "Node") => {
            let node: Stored = get(lookup, "nodes", name, name)?;
            bound.node.insert(self::reference(&node.metadata))
        }
        (version, kind) => {
            let (group, version) = version.split_once('/').unwrap_or(("", version));
            let message = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(Error::bad_request(message));
        }
    };
    match reference.uid.as_deref() {
        Some(uid) if !uid.is_empty() && uid != found.uid => Err(Error::new(
            Reason::Conflict,
            format!(
                "Operation cannot be fulfilled on {kind} {name:?}: the UID in the bound object reference ({uid}) does not \
                 match the UID in record. The object might have been deleted and then recreated"
            ),
        )),
        _ => Ok(()),
    }
}

fn reference(metadata: &ObjectMeta) -> Reference {
    Reference { name: metadata.name.clone().unwrap_or_default(), uid: metadata.uid.clone().unwrap_or_default() }
}

fn get<T: DeserializeOwned>(lookup: &dyn Lookup, plural: &str, key: &str, name: &str) -> Result<T, Error> {
    let Some(resource) = resource::find("", "v1", plural) else { return Err(Error::no_such_page()) };
    let json = lookup.get(&resource.topic(), key).ok_or_else(|| Error::not_found(resource, name))?;
    serde_json::from_slice(&json).map_err(Error::internal)
}
