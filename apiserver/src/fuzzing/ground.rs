//! What a plan needs besides a request: the built-in kinds, and an empty state.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use jiff::Timestamp;
use kubelab_store::{Door, Entry, State};
use uuid::Uuid;

use crate::{
    admission::{Chain, dynamic::hooks::Policies},
    corridor::{Body, Options, Request, User, Verb},
    outside::Aside,
    registry::{
        decode, handler::Handler, object::AnyObject, plan, plan::Context, plan::Draw, plan::Stored, scan, table::Table,
    },
};

/// The kinds over nothing stored. Nothing is refused by admission, so that all else is reached.
pub struct Ground {
    /// The kinds.
    pub table: Table,
    state: State,
    admission: Chain,
    policies: Policies,
}

static GROUND: LazyLock<Ground> = LazyLock::new(|| Ground {
    table: Table::built_in(),
    state: State::default(),
    admission: Chain::empty(),
    policies: Policies::default(),
});

impl Ground {
    /// The one that all share.
    pub fn get() -> &'static Self {
        &GROUND
    }

    /// The handler of the kind that a body says it is; of Pod where it says nothing that is known.
    pub fn handler(&self, json: &[u8]) -> &Arc<Handler> {
        let said = |name| scan::member(json, 0, name).and_then(|value| scan::text(json, value)).unwrap_or_default();
        let (api_version, kind) = (said("apiVersion"), said("kind"));
        let is_it =
            |handler: &&Arc<Handler>| handler.resource.kind == kind && handler.resource.api_version() == api_version;
        let found = self.table.iter().find(is_it).or_else(|| self.table.find("", "v1", "pods"));
        found.expect("pods are a built-in kind")
    }

    /// A plan's context for a request of this handler's kind.
    pub fn context<'a>(&'a self, handler: &'a Handler, request: &'a Request, aside: &'a Aside) -> Context<'a> {
        let now = Timestamp::UNIX_EPOCH;
        Context {
            request,
            handler,
            state: &self.state,
            table: &self.table,
            admission: &self.admission,
            policies: &self.policies,
            may: &|_| Ok(()),
            now,
            draw: Draw { now, uid: Uuid::nil(), random: 1 },
            aside,
        }
    }
}

/// A request for this object, by somebody.
pub fn request(handler: &Handler, verb: Verb, json: &[u8], body: Body) -> Request {
    let meta = decode::metadata(json).unwrap_or_default();
    let namespace =
        if handler.resource.namespaced { meta.namespace.unwrap_or("default".into()) } else { String::new() };
    Request {
        user: User { name: "somebody".into(), ..User::default() },
        agent: "fuzz".into(),
        door: Door::Rest,
        trace_id: "trace".into(),
        cause: 0,
        verb,
        resource: Arc::clone(&handler.resource),
        namespace,
        name: meta.name.unwrap_or_default(),
        subresource: String::new(),
        body,
        options: Options { field_manager: "fuzz".into(), ..Options::default() },
    }
}

/// An object as if it were stored.
pub fn stored(context: &Context, object: Box<dyn AnyObject>, value: Bytes) -> Stored {
    let key = plan::key(context.handler, &context.request.namespace, &context.request.name);
    let entry = Entry { value, stamp: None, created: 1, modified: 1, index: None, expires_ms: None };
    Stored { key, entry: Arc::new(entry), object }
}
