//! A request and its answer, neutral to the door.

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kubelab_api::Resource;
use kubelab_store::{Door, Revision};

use crate::registry::watch::Watch;

/// Who asks, once authenticated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `kubernetes-admin`, `system:node:node-1`, `system:serviceaccount:default:robot`.
    pub name: String,
    /// A service account's uid; else empty.
    pub uid: String,
    /// `system:masters`, `system:nodes`, `system:authenticated`, ….
    pub groups: Vec<String>,
    /// What else is known: a token's pod and node.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// What is asked. The names are RBAC's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Verb {
    Get,
    List,
    Watch,
    Create,
    Update,
    Patch,
    Delete,
    DeleteCollection,
}

impl Verb {
    /// RBAC's name.
    pub fn name(self) -> &'static str {
        match self {
            Verb::Get => "get",
            Verb::List => "list",
            Verb::Watch => "watch",
            Verb::Create => "create",
            Verb::Update => "update",
            Verb::Patch => "patch",
            Verb::Delete => "delete",
            Verb::DeleteCollection => "deletecollection",
        }
    }
}

/// What to list or watch.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// A label selector, as text.
    pub label_selector: String,
    /// A field selector, as text.
    pub field_selector: String,
    /// `resourceVersion`, as given: empty when unset.
    pub resource_version: String,
    /// `resourceVersionMatch`, as given.
    pub resource_version_match: String,
    /// At most this many objects a page; 0 for all.
    pub limit: u64,
    /// Where the last page ended.
    pub continue_token: String,
    /// Bookmarks are welcome.
    pub allow_bookmarks: bool,
    /// Begin with the present state (KEP-3157).
    pub send_initial_events: Option<bool>,
    /// How long a watch may last, in seconds.
    pub timeout_seconds: Option<u64>,
}

/// How to treat what is sent.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Do everything but store it.
    pub dry_run: bool,
    /// Who manages the fields that are written.
    pub field_manager: String,
    /// What becomes of unknown and duplicate fields: `Strict`, `Warn`, `Ignore`; empty for the default (`Warn`).
    pub field_validation: String,
    /// Take over fields in server-side apply.
    pub force: bool,
    /// What to list, watch or delete as a collection; a GET's `resourceVersion` too.
    pub list: ListOptions,
}

/// What is sent. Doors turn YAML into JSON before.
#[derive(Clone, Debug, Default)]
pub enum Body {
    /// Nothing.
    #[default]
    None,
    /// An object, DeleteOptions or a review, as JSON.
    Json(Bytes),
    /// A patch and its media type.
    Patch {
        /// `application/merge-patch+json`, ….
        media_type: String,
        /// The patch as JSON.
        patch: Bytes,
    },
}

/// One authenticated request for a resource.
#[derive(Clone, Debug)]
pub struct Request {
    /// Who asks.
    pub user: User,
    /// The program, from its User-Agent.
    pub agent: Arc<str>,
    /// The way in.
    pub door: Door,
    /// Joins all that one user action caused.
    pub trace_id: Arc<str>,
    /// The revision that led to this request; 0 for none.
    pub cause: Revision,
    /// What is asked.
    pub verb: Verb,
    /// Of what, in the version that the caller speaks.
    pub resource: Arc<Resource>,
    /// Where; empty for cluster scope and for all namespaces.
    pub namespace: String,
    /// Which one; empty for the collection.
    pub name: String,
    /// Which part; empty for the object.
    pub subresource: String,
    /// What is sent.
    pub body: Body,
    /// How to treat it.
    pub options: Options,
}

/// One page of a list.
#[derive(Clone, Debug)]
pub struct List {
    /// Finished objects.
    pub items: Vec<Bytes>,
    /// The revision that the list shows.
    pub revision: Revision,
    /// Where the next page begins; empty at the end.
    pub continue_token: String,
    /// How many objects are left, where that is known.
    pub remaining: Option<u64>,
}

/// What came of a request.
pub enum Response {
    /// An object, finished.
    Object {
        /// Compact JSON.
        json: Bytes,
        /// It was created by this request: 201.
        created: bool,
    },
    /// A list.
    List(List),
    /// A stream of changes.
    Watch(Box<Watch>),
    /// A deletion, or another act without an object.
    Status(Box<Status>),
}

/// An answer, with the warnings that go with it.
pub struct Answer {
    /// What came of it.
    pub response: Response,
    /// For `Warning` headers.
    pub warnings: Vec<String>,
}
