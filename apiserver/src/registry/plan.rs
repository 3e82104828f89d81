//! What a write comes to on one state of the store: a pure function of the request and the state, so that it can be made
//! again on a newer state when somebody else was faster.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use bytes::Bytes;
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kubelab_api::{Error, Reason};
use kubelab_store::{Entry, Key, Precondition, State, Write};
use uuid::Uuid;

use super::{claims::Claims, decode::Validation, handler::Handler, object::AnyObject, scan, table::Table};
use crate::{
    admission::{Attributes, Chain, Operation, dynamic::hooks::Policies},
    corridor::{Body, Request, Verb},
    outside::Aside,
};

/// A stored object may not be larger. Source: etcd's `--max-request-bytes`.
pub const OBJECT_LIMIT: usize = 3 * 1024 * 1024 / 2;

/// What a verb has to go by.
pub struct Context<'a> {
    /// What is asked, by whom.
    pub request: &'a Request,
    /// Of which kind.
    pub handler: &'a Handler,
    /// The state to plan on.
    pub state: &'a State,
    /// The other kinds.
    pub table: &'a Table,
    /// The policies.
    pub admission: &'a Chain,
    /// What users configure of them.
    pub policies: &'a Policies,
    /// The caller may also do this to the object.
    pub may: &'a (dyn Fn(Verb) -> Result<(), Error> + Sync),
    /// The present time.
    pub now: Timestamp,
    /// What is chosen at random, the same each time that the plan is made.
    pub draw: Draw,
    /// Answers of others, and what is said beside the outcome.
    pub aside: &'a Aside,
}

/// What a plan cannot compute: drawn once for a request, so that a plan made again is the same.
#[derive(Clone, Copy, Debug)]
pub struct Draw {
    /// The present time.
    pub now: Timestamp,
    /// A new object's uid.
    pub uid: Uuid,
    /// For generated names, and for what is taken from a pool.
    pub random: u64,
}

impl Draw {
    /// A new draw.
    pub fn new(now: Timestamp) -> Self {
        Self { now, uid: Uuid::new_v4(), random: rand::random() }
    }

    /// A uid for something else, the same for the same thing.
    pub fn uid_of(&self, thing: &impl Hash) -> Uuid {
        let half = |salt: u8| {
            let mut hasher = DefaultHasher::new();
            (salt, self.uid, thing).hash(&mut hasher);
            hasher.finish().to_be_bytes()
        };
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&half(0));
        bytes[8..].copy_from_slice(&half(1));
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }
}

/// A stored object.
pub struct Stored {
    /// Where it lives.
    pub key: Key,
    /// What lives there.
    pub entry: Arc<Entry>,
    /// The same, decoded.
    pub object: Box<dyn AnyObject>,
}

impl<'a> Context<'a> {
    /// The key of the object with this name in the request's namespace.
    pub fn key(&self, name: &str) -> Key {
        key(self.handler, &self.request.namespace, name)
    }

    /// The object with this name, or 404.
    pub fn existing(&self, name: &str) -> Result<Stored, Error> {
        self.find(name)?.ok_or_else(|| Error::not_found(&self.handler.resource, name))
    }

    /// The object with this name, if it lives.
    pub fn find(&self, name: &str) -> Result<Option<Stored>, Error> {
        let key = self.key(name);
        let Some(entry) = self.state.get(&key).cloned() else { return Ok(None) };
        let object = self.handler.rules.read(&entry.value)?;
        Ok(Some(Stored { key, entry, object }))
    }

    /// What was sent.
    pub fn json(&self) -> Result<&'a Bytes, Error> {
        match &self.request.body {
            Body::Json(json) => Ok(json),
            Body::None | Body::Patch { .. } => Err(Error::bad_request("the request has no object in its body")),
        }
    }

    /// How strictly to read what was sent.
    pub fn validation(&self) -> Result<Validation, Error> {
        Validation::parse(&self.request.options.field_validation)
    }

    /// What admission has to go by.
    pub fn attributes(&self, operation: Operation) -> Attributes<'a> {
        Attributes::new(self.request, operation, self.state, self.now).drawing(self.draw)
    }

    /// No claims yet, for the object at this key.
    pub fn claims(&self, key: &Key) -> Claims<'a> {
        Claims::new(self.state, key).drawing(self.draw.random).at(self.now)
    }
}

/// The key of an object.
pub fn key(handler: &Handler, namespace: &str, name: &str) -> Key {
    if handler.resource.namespaced {
        Key::new(handler.topic.clone(), format!("{namespace}/{name}"))
    } else {
        Key::new(handler.topic.clone(), name)
    }
}

/// What is to be written, under which conditions, and what the caller then sees.
pub struct Plan {
    /// What must still be true.
    pub preconditions: Vec<Precondition>,
    /// What changes; nothing for a plan that changes nothing.
    pub writes: Vec<Write>,
    /// What it does, in a few words.
    pub note: String,
    /// For the caller.
    pub warnings: Vec<String>,
    /// The answer.
    pub shown: Shown,
}

/// What the caller sees.
pub enum Shown {
    /// An object whose revision is the write's.
    Stamped {
        /// The object, without the digits of its revision.
        value: Bytes,
        /// Where they go.
        place: u32,
        /// The object is new.
        created: bool,
    },
    /// An object as it is.
    Finished(Bytes),
    /// An object that would have been created, if the request were no dry run.
    Drafted(Bytes),
    /// No object.
    Status(Box<Status>),
}

impl Plan {
    /// A plan that only answers.
    pub fn nothing(shown: Shown) -> Self {
        Self { preconditions: Vec::new(), writes: Vec::new(), note: String::new(), warnings: Vec::new(), shown }
    }
}

/// An object, ready to be written: its write, its bytes without the revision's digits, and where those go.
pub struct Encoded {
    /// The write.
    pub write: Write,
    /// The answer.
    pub shown: Shown,
}

/// Encodes an object for the store.
pub fn encode(context: &Context, key: &Key, object: &mut dyn AnyObject, created: bool) -> Result<Encoded, Error> {
    object.metadata_mut().resource_version = Some(String::new());
    let mut value = context.handler.store(object)?;
    // Who manages what is dropped before an object is refused for its size. Source: `endpoints/handlers/create.go`.
    if value.len() > OBJECT_LIMIT && object.metadata_mut().managed_fields.take().is_some() {
        value = context.handler.store(object)?;
    }
    if value.len() > OBJECT_LIMIT {
        return Err(Error::new(Reason::Unknown, "etcdserver: request is too large"));
    }
    let place = scan::stamp_place(&value).ok_or_else(|| Error::internal("an encoded object has no resourceVersion"))?;
    let rules = &context.handler.rules;
    let expires_ms = rules
        .ttl_seconds(object)
        .map(|seconds| u64::try_from(context.now.as_millisecond()).unwrap_or_default() + u64::from(seconds) * 1000);
    let write = Write::Put {
        key: key.clone(),
        value: value.clone(),
        stamp: Some(place),
        index: rules.index(object).map(Into::into),
        expires_ms,
    };
    Ok(Encoded { write, shown: Shown::Stamped { value, place, created } })
}

/// A write of another object than the one that is asked for.
pub fn put(key: &Key, object: &mut dyn AnyObject) -> Result<Write, Error> {
    object.metadata_mut().resource_version = Some(String::new());
    let value = Bytes::from(object.encode()?);
    let place = scan::stamp_place(&value).ok_or_else(|| Error::internal("an encoded object has no resourceVersion"))?;
    Ok(Write::Put { key: key.clone(), value, stamp: Some(place), index: None, expires_ms: None })
}

/// The stored object as it will be shown with another revision.
pub fn restamped(entry: &Entry) -> Shown {
    match entry.stamp {
        Some((place, digits)) => {
            let (head, tail) = (&entry.value[..place as usize], &entry.value[place as usize + digits as usize..]);
            Shown::Stamped { value: Bytes::from([head, tail].concat()), place, created: false }
        }
        None => Shown::Finished(entry.value.clone()),
    }
}

/// A value with the digits of `revision` at `place`.
pub fn stamp(value: &[u8], place: u32, revision: u64) -> Bytes {
    let (head, tail) = value.split_at(place as usize);
    let digits = revision.to_string();
    [head, digits.as_bytes(), tail].concat().into()
}
