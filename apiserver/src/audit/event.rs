//! A line of the log: an `Event` of `audit.k8s.io/v1`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusDetails;
use kubelab_api::Error;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::{Seen, policy::Level, source_ips, user_agent};
use crate::corridor::User;

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Stage {
    /// It is in.
    RequestReceived,
    /// The head of an answer that goes on is out.
    ResponseStarted,
    /// The answer is out.
    ResponseComplete,
    /// Its handler failed.
    Panic,
}

impl Stage {
    /// All, in order.
    pub const ALL: [Stage; 4] = [Stage::RequestReceived, Stage::ResponseStarted, Stage::ResponseComplete, Stage::Panic];

    /// As policies write it.
    pub fn name(self) -> &'static str {
        match self {
            Stage::RequestReceived => "RequestReceived",
            Stage::ResponseStarted => "ResponseStarted",
            Stage::ResponseComplete => "ResponseComplete",
            Stage::Panic => "Panic",
        }
    }

    /// The stage that a policy means.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|stage| stage.name() == name)
    }
}

/// Somebody.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Somebody {
    #[serde(skip_serializing_if = "String::is_empty")]
    username: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    uid: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    extra: BTreeMap<String, Vec<String>>,
}

impl From<&User> for Somebody {
    fn from(user: &User) -> Self {
        Self {
            username: user.name.clone(),
            uid: user.uid.clone(),
            groups: user.groups.clone(),
            extra: user.extra.clone(),
        }
    }
}

/// What a request is about.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ObjectRef {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

/// What came of it: those fields of a Status that have a bound.
#[derive(Clone, Debug, Default, Serialize)]
pub struct ResponseStatus {
    metadata: Nothing,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<StatusDetails>,
    /// The HTTP code.
    pub code: u16,
}

#[derive(Clone, Debug, Default, Serialize)]
struct Nothing {}

impl From<&Error> for ResponseStatus {
    fn from(error: &Error) -> Self {
        let status = error.to_status();
        Self {
            metadata: Nothing {},
            status: status.status,
            message: status.message,
            reason: status.reason,
            details: status.details,
            code: error.code(),
        }
    }
}

/// A line of the log.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Event {
    kind: &'static str,
    api_version: &'static str,
    pub level: Level,
    #[serde(rename = "auditID")]
    pub audit_id: String,
    pub stage: Stage,
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    pub verb: String,
    pub user: Somebody,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<Somebody>,
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object_ref: Option<ObjectRef>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_status: Option<ResponseStatus>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request_object: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_object: Option<Box<RawValue>>,
    #[serde(serialize_with = "micro_time")]
    pub request_received_timestamp: Timestamp,
    #[serde(serialize_with = "micro_time")]
    pub stage_timestamp: Timestamp,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// Source: `MicroTime` in `k8s.io/apimachinery/pkg/apis/meta/v1`.
fn micro_time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.6}"))
}

impl Event {
    /// A request that has come in at `now`.
    pub fn new(seen: &Seen<'_>, level: Level, now: Timestamp) -> Self {
        let asked = &seen.attributes;
        let object_ref = asked.is_resource().then(|| ObjectRef {
            resource: asked.resource.to_owned(),
            namespace: asked.namespace.to_owned(),
            name: asked.name.to_owned(),
            api_group: asked.group.to_owned(),
            api_version: seen.version.to_owned(),
            subresource: asked.subresource.to_owned(),
            ..ObjectRef::default()
        });
        Self {
            kind: "Event",
            api_version: "audit.k8s.io/v1",
            level,
            audit_id: seen.id.clone(),
            stage: Stage::RequestReceived,
            request_uri: seen.uri.clone(),
            verb: asked.verb.to_owned(),
            user: seen.user.map(Somebody::from).unwrap_or_default(),
            impersonated_user: None,
            source_ips: source_ips(seen.headers, seen.peer),
            user_agent: user_agent(seen.headers),
            object_ref,
            response_status: None,
            request_object: None,
            response_object: None,
            request_received_timestamp: now,
            stage_timestamp: now,
            annotations: BTreeMap::new(),
        }
    }
}
