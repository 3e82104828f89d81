//! Get and list. Source of the rules: `registry/generic/registry/store.go`, `storage/continue.go`,
//! `apis/meta/internalversion/validation` and <https://kubernetes.io/docs/reference/using-api/api-concepts/>.

use std::sync::Arc;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{StatusCause, StatusDetails};
use kubelab_api::{
    Error, Reason,
    field::{Errors, Path},
};
use kubelab_store::{Error as StoreError, Revision, State, Store};
use serde::{Deserialize, Serialize};

use super::{custom::conversion, handler::Handler, metadata::options_kind, selection::Selection};
use crate::{
    corridor::{List, ListOptions},
    outside::Outside,
};

const VERSION: &str = "meta.k8s.io/v1";
const TOO_OLD: &str = "The resourceVersion for the provided list is too old.";
const CONTINUE_TOO_OLD: &str = "The provided continue parameter is too old to display a consistent list result. You can \
     start a new list without the continue parameter, or use the continue token in this response to retrieve the \
     remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were \
     created, modified, or deleted between the time the first chunk was returned and now may show up in the list.";

/// Where the next page begins, as clients carry it.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Continue {
    v: String,
    /// -1: at the latest revision, whatever that shows.
    rv: i64,
    /// The last name of this page, without the namespace that was asked for, and a zero byte.
    start: String,
}

impl Continue {
    fn encode(revision: i64, last: &str) -> Result<String, Error> {
        let token = Continue { v: VERSION.into(), rv: revision, start: format!("{last}\0") };
        Ok(BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).map_err(Error::internal)?))
    }

    fn decode(token: &str) -> Result<Self, Error> {
        let invalid = |why: String| Error::bad_request(format!("continue key is not valid: {why}"));
        let json = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|error| invalid(error.to_string()))?;
        let token: Continue = serde_json::from_slice(&json).map_err(|error| invalid(error.to_string()))?;
        if token.v != VERSION {
            return Err(invalid(format!("server does not recognize this encoded version {}", token.v)));
        }
        if token.rv == 0 {
            return Err(invalid(format!("incorrect encoded start resourceVersion (version {VERSION})")));
        }
        match token.start.strip_suffix('\0') {
            Some(last) if !last.is_empty() => Ok(Continue { start: last.to_owned(), ..token }),
            _ => Err(invalid(format!("encoded start key empty (version {VERSION})"))),
        }
    }
}

/// The revision and the last name that a continue token carries.
pub fn continuation(token: &str) -> Result<(i64, String), Error> {
    Continue::decode(token).map(|token| (token.rv, token.start))
}

/// Refuses options that contradict each other. Source: `ValidateListOptions`.
pub fn validate(options: &ListOptions, watch: bool) -> Result<(), Error> {
    let mut errors = Errors::default();
    let path = Path::new("resourceVersionMatch");
    let given = options.resource_version_match.as_str();
    if watch {
        if options.send_initial_events.is_some() && given != "NotOlderThan" {
            errors.forbidden(&path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan");
        }
        if !given.is_empty() {
            if options.send_initial_events.is_none() {
                errors.forbidden(
                    &path,
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                );
            }
            if given != "NotOlderThan" {
                errors.not_supported(&path, given, &["NotOlderThan"]);
            }
            if !options.continue_token.is_empty() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
            }
        }
    } else {
        if !given.is_empty() {
            if options.resource_version.is_empty() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden unless resourceVersion is provided");
            }
            if !options.continue_token.is_empty() {
                errors.forbidden(&path, "resourceVersionMatch is forbidden when continue is provided");
            }
            if !matches!(given, "Exact" | "NotOlderThan") {
                errors.not_supported(&path, given, &["Exact", "NotOlderThan", ""]);
            }
            if given == "Exact" && options.resource_version == "0" {
                errors.forbidden(&path, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
            }
        }
        if options.send_initial_events.is_some() {
            errors.forbidden(&Path::new("sendInitialEvents"), "sendInitialEvents is forbidden for list");
        }
    }
    if errors.is_empty() { Ok(()) } else { Err(Error::invalid(&options_kind("ListOptions"), "", &errors)) }
}

/// Which state a reader asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// All that was acknowledged before.
    Latest,
    /// Whatever this member has.
    Any,
    /// Not older than this.
    NotOlderThan(Revision),
    /// Exactly this.
    Exact(Revision),
}

impl Freshness {
    /// From a `resourceVersion` parameter.
    pub fn parse(resource_version: &str) -> Result<Self, Error> {
        match resource_version {
            "" => Ok(Freshness::Latest),
            "0" => Ok(Freshness::Any),
            text => text.parse().map(Freshness::NotOlderThan).map_err(|_| {
                Error::bad_request(format!(
                    "resourceVersion: Invalid value: {text:?}: strconv.ParseUint: parsing {text:?}: invalid syntax"
                ))
            }),
        }
    }

    /// From all that a list says.
    fn of_list(options: &ListOptions) -> Result<Self, Error> {
        let freshness = Self::parse(&options.resource_version)?;
        match (freshness, options.resource_version_match.as_str()) {
            // A page at a given revision has always been exact, even where the client does not say so.
            (Freshness::NotOlderThan(revision), "Exact") => Ok(Freshness::Exact(revision)),
            (Freshness::NotOlderThan(revision), "") if options.limit > 0 => Ok(Freshness::Exact(revision)),
            _ => Ok(freshness),
        }
    }

    /// The state that it asks for.
    pub async fn state(self, store: &Store) -> Result<Arc<State>, Error> {
        match self {
            Freshness::Latest => store.latest().await.map_err(unavailable),
            Freshness::Any => Ok(store.local()),
            Freshness::NotOlderThan(revision) => at_least(store, revision).await,
            Freshness::Exact(revision) => {
                at_least(store, revision).await?;
                store.at(revision).map_err(|error| match error {
                    StoreError::Compacted { .. } => Error::expired(TOO_OLD),
                    error => unavailable(error),
                })
            }
        }
    }
}

/// The state once this member has applied a revision, or 504 if that does not happen soon.
pub async fn at_least(store: &Store, revision: Revision) -> Result<Arc<State>, Error> {
    let local = store.local();
    if local.revision() >= revision {
        return Ok(local);
    }
    store.at_least(revision).await.map_err(|error| match error {
        StoreError::Future { asked, current } => too_large(asked, current),
        error => unavailable(error),
    })
}

/// Source: `NewTooLargeResourceVersionError` in `storage/errors.go`.
fn too_large(asked: Revision, current: Revision) -> Error {
    let message = format!("Too large resource version: {asked}, current: {current}");
    let cause = StatusCause {
        reason: Some("ResourceVersionTooLarge".into()),
        message: Some("Too large resource version".into()),
        field: None,
    };
    let details = StatusDetails { retry_after_seconds: Some(1), causes: Some(vec![cause]), ..Default::default() };
    Error { details: Some(Box::new(details)), ..Error::new(Reason::Timeout, format!("Timeout: {message}")) }
}

/// The store cannot answer.
pub fn unavailable(error: StoreError) -> Error {
    match error {
        StoreError::TooLarge { .. } => Error::new(Reason::Unknown, "etcdserver: request is too large"),
        error => Error::unavailable(error.to_string()),
    }
}

/// One page of the selected objects.
pub async fn list(
    store: &Store,
    outside: &Outside,
    handler: &Handler,
    namespace: &str,
    options: &ListOptions,
) -> Result<List, Error> {
    validate(options, false)?;
    let selection = Selection::new(handler, namespace, options)?;
    if options.continue_token.is_empty() {
        let state = Freshness::of_list(options)?.state(store).await?;
        return page(outside, handler, &selection, &state, None, options.limit).await;
    }
    let token = Continue::decode(&options.continue_token)?;
    if !matches!(options.resource_version.as_str(), "" | "0") {
        return Err(Error::bad_request("specifying resource version is not allowed when using continue"));
    }
    let state = match Revision::try_from(token.rv) {
        Err(_) => store.latest().await.map_err(unavailable)?,
        Ok(revision) => match Freshness::Exact(revision).state(store).await {
            Err(error) if error.reason == Reason::Expired => return Err(inconsistent(&token)?),
            state => state?,
        },
    };
    page(outside, handler, &selection, &state, Some(&token.start), options.limit).await
}

/// The list cannot go on as it began; with the token that this refusal carries, it goes on with what there is now.
/// Source: `handleCompactedErrorForPaging` in `storage/etcd3/errors.go`.
fn inconsistent(token: &Continue) -> Result<Error, Error> {
    let continue_token = Some(Continue::encode(-1, &token.start)?.into());
    Ok(Error { continue_token, ..Error::expired(CONTINUE_TOO_OLD) })
}

/// The objects after `last`, at most `limit` of them (0: all).
async fn page(
    outside: &Outside,
    handler: &Handler,
    selection: &Selection,
    state: &State,
    last: Option<&str>,
    limit: u64,
) -> Result<List, Error> {
    let selected = conversion::run_many(outside, handler, || select(handler, selection, state, last, limit)).await?;
    let (stored, mut list) = selected;
    list.items = conversion::present(outside, handler, &stored).await?;
    Ok(list)
}

/// The stored objects of a page, and the page without them.
fn select(
    handler: &Handler,
    selection: &Selection,
    state: &State,
    last: Option<&str>,
    limit: u64,
) -> Result<(Vec<Bytes>, List), Error> {
    let prefix = selection.prefix();
    // A name in the prefix selects one object; only the namespace is left out of a token.
    let place = if handler.resource.namespaced && !selection.namespace.is_empty() {
        format!("{}/", selection.namespace)
    } else {
        String::new()
    };
    let after = last.map(|last| format!("{place}{last}"));
    let mut stored = Vec::new();
    let mut list =
        List { items: Vec::new(), revision: state.revision(), continue_token: String::new(), remaining: None };
    let mut entries = state.range(&handler.topic, &prefix, after.as_deref()).peekable();
    while let Some((key, entry)) = entries.next() {
        if !selection.matches(handler, key, entry) {
            continue;
        }
        stored.push(entry.value.clone());
        if limit > 0 && stored.len() as u64 == limit && entries.peek().is_some() {
            let last = key.name.strip_prefix(&place).unwrap_or(&key.name);
            list.continue_token = Continue::encode(state.revision() as i64, last)?;
            list.remaining = selection.is_everything().then(|| entries.count() as u64);
            break;
        }
    }
    Ok((stored, list))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn continue_tokens_are_upstreams() {
        let token = Continue::encode(42, "web-1").unwrap();
        let json = BASE64_URL_SAFE_NO_PAD.decode(&token).unwrap();
        assert_eq!(json, br#"{"v":"meta.k8s.io/v1","rv":42,"start":"web-1\u0000"}"#);
        assert_eq!(Continue::decode(&token).unwrap().start, "web-1");
        for (json, wrong) in [
            ("{}", "continue key is not valid: missing field"),
            (r#"{"v":"v2","rv":1,"start":"a\u0000"}"#, "continue key is not valid: server does not recognize"),
            (r#"{"v":"meta.k8s.io/v1","rv":0,"start":"a\u0000"}"#, "continue key is not valid: incorrect encoded"),
            (r#"{"v":"meta.k8s.io/v1","rv":1,"start":""}"#, "continue key is not valid: encoded start key empty"),
        ] {
            let error = Continue::decode(&BASE64_URL_SAFE_NO_PAD.encode(json)).unwrap_err();
            assert!(error.message.starts_with(wrong), "{json}: {error}");
        }
        assert!(Continue::decode("%%%").is_err());
    }

    #[test]
    fn an_expired_list_may_go_on_inconsistently() {
        let token = Continue::decode(&Continue::encode(42, "web-1").unwrap()).unwrap();
        let status = inconsistent(&token).unwrap().to_status();
        assert_eq!((status.code, status.reason.as_deref()), (Some(410), Some("Expired")));
        let next = Continue::decode(&status.metadata.continue_.unwrap()).unwrap();
        assert_eq!((next.rv, next.start.as_str()), (-1, "web-1"));
    }

    fn options(version: &str, version_match: &str, limit: u64) -> ListOptions {
        ListOptions {
            resource_version: version.into(),
            resource_version_match: version_match.into(),
            limit,
            ..Default::default()
        }
    }

    #[test]
    fn resource_versions_mean_what_the_documentation_says() {
        let cases = [
            ("", "", 0, Freshness::Latest),
            ("", "", 5, Freshness::Latest),
            ("0", "", 0, Freshness::Any),
            ("0", "", 5, Freshness::Any),
            ("0", "NotOlderThan", 5, Freshness::Any),
            ("7", "", 0, Freshness::NotOlderThan(7)),
            ("7", "", 5, Freshness::Exact(7)),
            ("7", "NotOlderThan", 5, Freshness::NotOlderThan(7)),
            ("7", "Exact", 0, Freshness::Exact(7)),
        ];
        for (version, version_match, limit, wanted) in cases {
            assert_eq!(
                Freshness::of_list(&options(version, version_match, limit)).unwrap(),
                wanted,
                "{version:?} {version_match:?} {limit}"
            );
        }
        assert_eq!(Freshness::parse("x").unwrap_err().code(), 400);
    }

    #[test]
    fn contradicting_options_are_refused() {
        let refused = |options: &ListOptions, watch| validate(options, watch).unwrap_err().message;
        for (version, version_match, wrong) in [
            ("", "Exact", "resourceVersionMatch is forbidden unless resourceVersion is provided"),
            ("0", "Exact", "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""),
            ("1", "Newest", "Unsupported value: \"Newest\": supported values: \"Exact\", \"NotOlderThan\", \"\""),
        ] {
            let message = refused(&options(version, version_match, 0), false);
            assert!(message.contains(wrong), "{message}");
        }
        let initial = ListOptions { send_initial_events: Some(true), ..options("", "", 0) };
        assert!(
            refused(&initial, true).contains("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
        );
        assert!(refused(&initial, false).contains("sendInitialEvents is forbidden for list"));
        let fit = ListOptions { resource_version_match: "NotOlderThan".into(), ..initial };
        assert!(validate(&fit, true).is_ok());
    }
}
