//! The kinds, and the verbs over the store.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`kind`] | what one kind decides for itself; `<group>/<kind>.rs` is one kind's room |
//! | [`kinds`], [`table`], [`handler`] | the table of kinds, and each kind with its type erased |
//! | [`custom`] | kinds that definitions bring while the server runs |
//! | [`object`], [`decode`], [`metadata`] | an object; from a client's bytes; what all kinds have in common |
//! | [`list`], [`watch`], [`selection`] | reading |
//! | [`plan`], [`create`], [`update`], [`patch`], [`apply`], [`delete`] | writing |
//! | `write` | a plan made on a state, committed, and made again where somebody else was faster |
//! | [`managers`] | who manages which fields, noted on every write |
//! | [`subresource`] | parts of objects with verbs of their own |
//! | [`claims`] | addresses and ports, of which there is one each |
//! | [`scan`], [`syntax`], [`go_type`] | looking into JSON, and saying what is wrong with it |
//!
//! ```text
//! write:  Request ─► plan(Request, State) ─► Store::commit ─► Committed ─► answer, stamped with the revision
//!                         ▲                      │
//!                         └── Store::latest ◄────┴─ Conflict, or a refusal on a state that may be behind
//!
//! read:   Request ─► the state that its resourceVersion asks for ─► entries, as they were stored
//! ```
//!
//! Invariants: a plan is a pure function of a request, a state, a draw, and the answers of others that are known. No client
//! is refused because of a state that is behind
//! the store's latest. What is stored was encoded once and is never encoded again.

pub mod admissionregistration;
pub mod apiextensions;
pub mod apiregistration;
pub mod apply;
pub mod apps;
pub mod authentication;
pub mod authorization;
pub mod autoscaling;
pub mod batch;
pub mod cells;
pub mod certificates;
pub mod claims;
mod conditions;
pub mod coordination;
pub mod core;
pub mod create;
pub mod custom;
pub mod decode;
pub mod defaults;
pub mod delete;
pub mod deprecation;
pub mod discovery;
pub mod events;
pub mod flowcontrol;
pub mod go_type;
pub mod handler;
pub mod kind;
pub mod kinds;
pub mod list;
pub mod managers;
pub mod metadata;
pub mod networking;
pub mod node;
pub mod object;
pub mod patch;
pub mod plan;
pub mod policy;
pub mod rbac;
pub mod resource;
pub mod scan;
pub mod scheduling;
pub mod selection;
pub mod status;
pub mod storage;
pub mod storagemigration;
pub mod subresource;
pub mod syntax;
pub mod table;
pub mod update;
pub mod validation;
pub mod version;
pub mod watch;
mod write;

use std::sync::Arc;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::ComponentStatus,
    apimachinery::pkg::apis::meta::v1::{DeleteOptions, Preconditions},
};
use kubelab_api::{
    Error, Reason, Resource,
    resource::{self as resources, Verbs},
};
use kubelab_store::Store;
use schemars::{Schema, SchemaGenerator};
use serde_json::Value;

use crate::{
    admission::{
        Chain, Operation,
        dynamic::{self, hooks::Policies},
    },
    authorization::Decider,
    corridor::{Answer, List, ListOptions, Request, Response, Verb},
    outside::Outside,
};
use custom::{conversion, tables::Tables};
use handler::Handler;
use kind::Column;
use list::{Freshness, unavailable};
use plan::{Context, Plan, Shown, key};
use table::Table;
use watch::Watch;

/// So many objects of a collection are deleted at a time.
const DELETIONS_AT_ONCE: usize = 32;

/// Every resource that is served, over the store.
pub struct Registry {
    tables: Tables,
    store: Store,
    admission: Chain,
    policies: Policies,
    outside: Outside,
    now: fn() -> Timestamp,
}

/// Asks whether the caller may also do this to the object of its request.
pub type May<'a> = &'a (dyn Fn(Verb) -> Result<(), Error> + Sync);

impl Registry {
    /// These kinds, over this store.
    pub fn new(table: Table, store: Store, admission: Chain, now: fn() -> Timestamp) -> Self {
        let outside = Outside::new(store.clone());
        Self {
            tables: Tables::new(table, store.clone()),
            store,
            admission,
            policies: Policies::default(),
            outside,
            now,
        }
    }

    /// Answers policies that ask for rights.
    #[must_use]
    pub fn with_decider(self, decider: Arc<dyn Decider>) -> Self {
        Self { policies: Policies::new(decider), ..self }
    }

    /// The kinds as of now.
    pub fn table(&self) -> Arc<Table> {
        self.tables.current()
    }

    /// The store below.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The resource at a path.
    pub fn find(&self, group: &str, version: &str, plural: &str) -> Option<Arc<Resource>> {
        match self.table().find(group, version, plural) {
            Some(handler) => Some(Arc::clone(&handler.resource)),
            None => resources::find(group, version, plural).cloned().map(Arc::new),
        }
    }

    /// The resource at a path; where this member knows none, on the latest state: another member may have just taken its
    /// definition.
    pub async fn find_latest(&self, group: &str, version: &str, plural: &str) -> Result<Option<Arc<Resource>>, Error> {
        if let Some(resource) = self.find(group, version, plural) {
            return Ok(Some(resource));
        }
        self.store.latest().await.map_err(unavailable)?;
        Ok(self.find(group, version, plural))
    }

    /// All resources, in discovery's order.
    pub fn resources(&self) -> Vec<Arc<Resource>> {
        let table = self.table();
        let built_in = resources::BUILT_IN.iter().filter_map(|row| self.find(&row.group, &row.version, &row.plural));
        let custom = table.custom().iter().map(|handler| Arc::clone(&handler.resource));
        built_in.chain(custom).collect()
    }

    /// Tells what is said of a custom resource from what was said of it before; 0 for a built-in one.
    pub fn fingerprint(&self, resource: &Resource) -> u64 {
        let table = self.table();
        table.get(resource).ok().and_then(|handler| handler.definition.as_ref()).map_or(0, |from| from.fingerprint)
    }

    /// The printed columns.
    pub fn columns(&self, resource: &Resource) -> Vec<Column> {
        self.table().get(resource).map_or_else(|_| Vec::new(), |handler| handler.rules.columns().to_vec())
    }

    /// Adds the schema of a resource's objects to a collection of schemas.
    pub fn schema(&self, resource: &Resource, generator: &mut SchemaGenerator) -> Option<Schema> {
        self.table().get(resource).ok().map(|handler| handler.schema(generator))
    }

    /// The cells of one object.
    pub fn cells(&self, resource: &Resource, json: &[u8], now: Timestamp) -> Result<Vec<Value>, Error> {
        self.table().get(resource)?.cells(json, now)
    }

    /// Answers an authorized request.
    pub async fn handle(&self, request: &Request, may: May<'_>) -> Result<Answer, Error> {
        if (&*request.resource.group, &*request.resource.plural) == ("", "bindings") {
            let table = self.table();
            let pods = table.find("", "v1", "pods").ok_or_else(Error::no_such_page)?;
            return self.write(pods, request, may, subresource::binding::plan).await;
        }
        if request.resource.verbs == Verbs::Read {
            return self.component_statuses(request).await;
        }
        let table = self.table();
        let handler = table.get(&request.resource)?;
        let mut answer = self.answer(handler, request, may).await?;
        if let Some(from) = &handler.definition {
            let version = from.version(&request.resource.version);
            answer.warnings.extend(version.and_then(|version| version.warning.clone()));
        }
        Ok(answer)
    }

    async fn answer(&self, handler: &Arc<Handler>, request: &Request, may: May<'_>) -> Result<Answer, Error> {
        let part = request.subresource.as_str();
        if !part.is_empty() && !handler.resource.has(part) {
            return Err(Error::no_such_page());
        }
        match (request.verb, part) {
            (Verb::Get, "") => self.get(handler, request).await.map(object),
            (Verb::Get, "scale") => {
                let json = self.get(handler, request).await?;
                subresource::scale::of(handler, &json).map(object)
            }
            (Verb::Get, part) if subresource::is_view(part) => self.get(handler, request).await.map(object),
            (Verb::List, "") => {
                let list =
                    list::list(&self.store, &self.outside, handler, &request.namespace, &request.options.list).await?;
                Ok(answer(Response::List(list)))
            }
            (Verb::Watch, "") => {
                let options = named(request)?;
                let watch =
                    Watch::begin(&self.store, &self.outside, Arc::clone(handler), &request.namespace, &options).await?;
                Ok(answer(Response::Watch(Box::new(watch))))
            }
            (Verb::Create, "") => self.write(handler, request, may, create::plan).await,
            (Verb::Create, "binding") => self.write(handler, request, may, subresource::binding::plan).await,
            (Verb::Create, "eviction") => self.write(handler, request, may, subresource::eviction::plan).await,
            (Verb::Update, "scale") => self.scale(handler, request, may, subresource::scale::update).await,
            (Verb::Patch, "scale") => self.scale(handler, request, may, subresource::scale::patch).await,
            (Verb::Update, part) if part.is_empty() || subresource::is_view(part) => {
                self.write(handler, request, may, update::plan).await
            }
            (Verb::Patch, part) if part.is_empty() || subresource::is_view(part) => {
                self.write(handler, request, may, patch::plan).await
            }
            (Verb::Delete, "") => {
                let options = delete::options(request)?;
                self.write(handler, request, may, |context| delete::plan(context, &request.name, &options)).await
            }
            (Verb::DeleteCollection, "") => self.delete_collection(handler, request, may).await,
            _ => Err(Error::method_not_allowed()),
        }
    }

    async fn get(&self, handler: &Handler, request: &Request) -> Result<Bytes, Error> {
        let state = Freshness::parse(&request.options.list.resource_version)?.state(&self.store).await?;
        match state.get(&key(handler, &request.namespace, &request.name)) {
            Some(entry) => self.present(handler, &entry.value).await,
            None => Err(Error::not_found(&handler.resource, &request.name)),
        }
    }

    async fn component_statuses(&self, request: &Request) -> Result<Answer, Error> {
        let state = self.store.latest().await.map_err(unavailable)?;
        let all = core::component_status::all(&state, (self.now)());
        let json = |one: &ComponentStatus| serde_json::to_vec(one).map(Bytes::from).map_err(Error::internal);
        if request.verb == Verb::List {
            let items = all.iter().map(json).collect::<Result<_, _>>()?;
            let (revision, continue_token) = (state.revision(), String::new());
            return Ok(answer(Response::List(List { items, revision, continue_token, remaining: None })));
        }
        let found = all.iter().find(|one| one.metadata.name.as_deref() == Some(&request.name));
        let found = found.ok_or_else(|| Error::internal(format!("Component not found: {}", request.name)))?;
        json(found).map(object)
    }

    async fn present(&self, handler: &Handler, stored: &Bytes) -> Result<Bytes, Error> {
        conversion::run(&self.outside, handler, || handler.present(stored)).await
    }

    async fn scale<F>(&self, handler: &Handler, request: &Request, may: May<'_>, make: F) -> Result<Answer, Error>
    where
        F: Fn(&Context) -> Result<Plan, Error>,
    {
        let mut answer = self.write(handler, request, may, make).await?;
        if let Response::Object { json, .. } = &mut answer.response {
            *json = subresource::scale::of(handler, json)?;
        }
        Ok(answer)
    }

    /// Asks the policies about a connection through an object.
    pub async fn connect(&self, request: &Request, options: Value) -> Result<(), Error> {
        if self.policies.hooks(&self.store.local()).is_empty() {
            return Ok(());
        }
        let table = self.table();
        let handler = table.get(&request.resource)?;
        let make = |context: &Context| {
            let mut options = options.clone();
            dynamic::admit_part(context, Operation::Connect, &mut options, None)?;
            Ok(Plan::nothing(Shown::Status(Box::default())))
        };
        self.write(handler, request, &|_| Ok(()), make).await.map(drop)
    }

    async fn delete_collection(&self, handler: &Handler, request: &Request, may: May<'_>) -> Result<Answer, Error> {
        let options = delete::options(request)?;
        list::validate(&request.options.list, false)?;
        // What is deleted is what there is now.
        let (resource_version, resource_version_match) = (String::new(), String::new());
        let selected = ListOptions { resource_version, resource_version_match, ..request.options.list.clone() };
        let list = list::list(&self.store, &self.outside, handler, &request.namespace, &selected).await?;
        let only_selected = options.preconditions.is_none();
        let delete_one = async |json: &Bytes| {
            let meta = decode::metadata(json).unwrap_or_default();
            let one = Request {
                verb: Verb::DeleteCollection,
                namespace: meta.namespace.unwrap_or_default(),
                name: meta.name.unwrap_or_default(),
                ..request.clone()
            };
            // Another object of the same name that came meanwhile was not selected.
            let preconditions = options.preconditions.clone().unwrap_or_default();
            let preconditions = Preconditions { uid: preconditions.uid.or(meta.uid), ..preconditions };
            let options = DeleteOptions { preconditions: Some(preconditions), ..options.clone() };
            let make = |context: &Context| delete::plan(context, &one.name, &options);
            match self.write(handler, &one, may, make).await {
                Err(error) if error.reason == Reason::NotFound => Ok(()),
                Err(error) if error.reason == Reason::Conflict && only_selected => Ok(()),
                outcome => outcome.map(drop),
            }
        };
        stream::iter(&list.items).map(delete_one).buffer_unordered(DELETIONS_AT_ONCE).try_collect::<()>().await?;
        Ok(answer(Response::List(List { continue_token: String::new(), remaining: None, ..list })))
    }
}

/// A watch of one object by its name in the path is a watch by field selector.
fn named(request: &Request) -> Result<ListOptions, Error> {
    let mut options = request.options.list.clone();
    if !request.name.is_empty() {
        let wanted = format!("metadata.name={}", request.name);
        if options.field_selector.is_empty() {
            options.field_selector = wanted;
        } else if !options.field_selector.split(',').any(|part| part == wanted) {
            return Err(Error::bad_request("fieldSelector metadata.name doesn't match requested name"));
        }
    }
    Ok(options)
}

fn answer(response: Response) -> Answer {
    Answer { response, warnings: Vec::new() }
}

fn object(json: Bytes) -> Answer {
    answer(Response::Object { json, created: false })
}

#[cfg(test)]
mod tests;
