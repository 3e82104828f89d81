//! The service `Objects`: the Kubernetes API for kubelab's own components.

use std::{pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::{Stream, stream};
use http::HeaderMap;
use kubelab_api::{Error, Resource};
use kubelab_proto::objects::{
    Cause, DeleteRequest, FetchRequest, Fetched, GetRequest, ListRequest, Object, ObjectList, PatchRequest, Target,
    WatchBatch, WatchEvent, WatchRequest, WriteRequest, objects_server, watch_event::Type,
};
use kubelab_store::Door;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{audit, status};
use crate::{
    audit::{record::Ending, within},
    corridor::{self, Body, ListOptions, Options, Response as Outcome, User, Verb},
    doors::{Connection, Doors, origin::Caller, outline::identity, rest},
    metrics::{self, Labels, Watching},
    registry::watch::{self, EventType, Watch},
};

/// A watch without events says this often how far it has come.
const IDLE: Duration = Duration::from_secs(5);

/// The most bytes of objects in one message: receivers take 4 MiB by default.
const MESSAGE_BYTES: usize = 1024 * 1024;

/// The service.
pub struct Objects(pub Arc<Doors>);

/// Who asks, and from where.
struct Asker {
    user: User,
    caller: Caller,
    connection: Arc<Connection>,
    /// Only where requests are recorded.
    headers: Option<HeaderMap>,
}

impl Objects {
    async fn asker<T: Sync>(&self, request: &Request<T>) -> Result<Asker, Status> {
        let connection = request.extensions().get::<Arc<Connection>>();
        let connection = connection.ok_or_else(|| Status::internal("the connection is unknown"))?;
        let headers = request.metadata().as_ref();
        let user = self.0.authenticate(connection, headers).await.map_err(|error| status::of(&error))?;
        let headers_to_record = self.0.audit.is_some().then(|| headers.clone());
        Ok(Asker { user, caller: Caller::of(headers), connection: Arc::clone(connection), headers: headers_to_record })
    }

    async fn resource(&self, target: &Target) -> Result<Arc<Resource>, Error> {
        let registry = self.0.corridor.registry();
        let found = registry.find_latest(&target.group, &target.version, &target.resource).await?;
        found
            .filter(|resource| target.subresource.is_empty() || resource.has(&target.subresource))
            .ok_or_else(Error::no_such_page)
    }

    async fn ask(
        &self,
        asker: Asker,
        verb: Verb,
        target: Option<Target>,
        cause: Option<Cause>,
        body: Body,
        options: Options,
    ) -> Result<(Outcome, Option<Ending>), Status> {
        let target = target.ok_or_else(|| Status::invalid_argument("a request needs a target"))?;
        let resource = self.resource(&target).await.map_err(|error| status::of(&error))?;
        let mut caller = asker.caller;
        if let Some(cause) = cause {
            caller.cause = cause.revision;
            if !cause.trace_id.is_empty() {
                caller.trace_id = cause.trace_id.into();
            }
        }
        let record = asker.headers.as_ref().and_then(|headers| {
            let from = audit::From { user: &asker.user, connection: &asker.connection, headers };
            audit::begin(&self.0, &from, verb, &resource, &target, &options.list.field_selector)
        });
        if let Some(record) = &record {
            record.sent(&body);
        }
        let request = corridor::Request {
            user: asker.user,
            agent: caller.agent,
            door: Door::Grpc,
            trace_id: caller.trace_id,
            cause: caller.cause,
            verb,
            resource,
            namespace: target.namespace,
            name: target.name,
            subresource: target.subresource,
            body,
            options,
        };
        let answered = within(record.as_ref(), self.0.handle(request)).await;
        let ending = record.map(|record| audit::end(record, &answered));
        answered.map(|answer| (answer.response, ending)).map_err(|error| status::of(&error))
    }
}

fn watch_labels(target: &Target) -> Labels {
    Labels {
        verb: metrics::verb(Verb::Watch),
        group: target.group.clone(),
        version: target.version.clone(),
        resource: target.resource.clone(),
        scope: metrics::scope(&target.namespace, &target.name),
        component: metrics::COMPONENT,
        ..Labels::default()
    }
}

/// Components are not told about fields that they do not know themselves.
fn write_options(dry_run: bool) -> Options {
    Options { dry_run, field_validation: "Ignore".into(), ..Options::default() }
}

const DELETED: &str = r#"{"kind":"Status","apiVersion":"v1","status":"Success"}"#;

fn object((outcome, _): (Outcome, Option<Ending>)) -> Result<Response<Object>, Status> {
    match outcome {
        Outcome::Object { json, .. } => {
            let revision = identity(&json).resource_version.parse().unwrap_or(0);
            Ok(Response::new(Object { json, revision }))
        }
        Outcome::Status(status) => {
            let json = serde_json::to_vec(&status).map_err(|error| Status::internal(error.to_string()))?;
            Ok(Response::new(Object { json: json.into(), revision: 0 }))
        }
        // A collection was deleted: nobody here looks at what was in it.
        Outcome::List(list) => Ok(Response::new(Object { json: DELETED.into(), revision: list.revision })),
        Outcome::Watch(_) => Err(Status::internal("an answer of the wrong form")),
    }
}

fn text(revision: Option<u64>) -> String {
    revision.map_or_else(String::new, |revision| revision.to_string())
}

#[tonic::async_trait]
impl objects_server::Objects for Objects {
    async fn get(&self, request: Request<GetRequest>) -> Result<Response<Object>, Status> {
        let asker = self.asker(&request).await?;
        let GetRequest { target, revision } = request.into_inner();
        let list = ListOptions { resource_version: text(revision), ..ListOptions::default() };
        let options = Options { list, ..Options::default() };
        object(self.ask(asker, Verb::Get, target, None, Body::None, options).await?)
    }

    async fn list(&self, request: Request<ListRequest>) -> Result<Response<ObjectList>, Status> {
        let asker = self.asker(&request).await?;
        let asked = request.into_inner();
        let list = ListOptions {
            label_selector: asked.label_selector,
            field_selector: asked.field_selector,
            resource_version: text(asked.revision),
            limit: asked.limit.into(),
            continue_token: asked.r#continue,
            ..ListOptions::default()
        };
        let options = Options { list, ..Options::default() };
        match self.ask(asker, Verb::List, asked.target, None, Body::None, options).await? {
            (Outcome::List(list), _) => Ok(Response::new(ObjectList {
                items: list.items,
                revision: list.revision,
                r#continue: list.continue_token,
            })),
            _ => Err(Status::internal("an answer of the wrong form")),
        }
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<WatchBatch, Status>> + Send>>;

    async fn watch(&self, request: Request<WatchRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let asker = self.asker(&request).await?;
        let asked = request.into_inner();
        let after = asked.after.filter(|after| *after > 0);
        let list = ListOptions {
            label_selector: asked.label_selector,
            field_selector: asked.field_selector,
            resource_version: text(after),
            resource_version_match: if after.is_none() { "NotOlderThan".into() } else { String::new() },
            allow_bookmarks: true,
            send_initial_events: after.is_none().then_some(true),
            ..ListOptions::default()
        };
        let options = Options { list, ..Options::default() };
        let labels = asked.target.as_ref().map(watch_labels).unwrap_or_default();
        match self.ask(asker, Verb::Watch, asked.target, None, Body::None, options).await? {
            (Outcome::Watch(watch), ending) => {
                let watching = self.0.metrics.watching(&labels);
                Ok(Response::new(Box::pin(batches(*watch, self.0.shutdown.clone(), watching, ending))))
            }
            _ => Err(Status::internal("an answer of the wrong form")),
        }
    }

    async fn create(&self, request: Request<WriteRequest>) -> Result<Response<Object>, Status> {
        let asker = self.asker(&request).await?;
        let WriteRequest { target, json, cause, dry_run } = request.into_inner();
        object(self.ask(asker, Verb::Create, target, cause, Body::Json(json), write_options(dry_run)).await?)
    }

    async fn update(&self, request: Request<WriteRequest>) -> Result<Response<Object>, Status> {
        let asker = self.asker(&request).await?;
        let WriteRequest { target, json, cause, dry_run } = request.into_inner();
        object(self.ask(asker, Verb::Update, target, cause, Body::Json(json), write_options(dry_run)).await?)
    }

    async fn patch(&self, request: Request<PatchRequest>) -> Result<Response<Object>, Status> {
        let asker = self.asker(&request).await?;
        let asked = request.into_inner();
        let options =
            Options { field_manager: asked.field_manager, force: asked.force, ..write_options(asked.dry_run) };
        let body = Body::Patch { media_type: asked.patch_type, patch: asked.patch };
        object(self.ask(asker, Verb::Patch, asked.target, asked.cause, body, options).await?)
    }

    async fn delete(&self, request: Request<DeleteRequest>) -> Result<Response<Object>, Status> {
        let asker = self.asker(&request).await?;
        let DeleteRequest { target, options, cause } = request.into_inner();
        let whole = target.as_ref().is_some_and(|target| target.name.is_empty());
        let verb = if whole { Verb::DeleteCollection } else { Verb::Delete };
        let body = if options.is_empty() { Body::None } else { Body::Json(options) };
        object(self.ask(asker, verb, target, cause, body, write_options(false)).await?)
    }

    async fn fetch(&self, request: Request<FetchRequest>) -> Result<Response<Fetched>, Status> {
        let asker = self.asker(&request).await?;
        let answered = rest::fetch(&self.0, &asker.user, &request.into_inner().path).await;
        let (code, body) = answered.map_err(|error| status::of(&error))?;
        Ok(Response::new(Fetched { code: code.into(), body }))
    }
}

struct Batches {
    watch: Watch,
    /// Messages that are cut and not yet sent.
    ready: std::vec::IntoIter<WatchBatch>,
    /// How far the receiver has come.
    revision: u64,
    shutdown: CancellationToken,
    over: bool,
    watching: Watching,
    _ending: Option<Ending>,
}

fn batches(
    watch: Watch,
    shutdown: CancellationToken,
    watching: Watching,
    ending: Option<Ending>,
) -> impl Stream<Item = Result<WatchBatch, Status>> + Send {
    let start =
        Batches { watch, ready: Vec::new().into_iter(), revision: 0, shutdown, over: false, watching, _ending: ending };
    stream::unfold(start, |mut batches| async move {
        if let Some(message) = batches.ready.next() {
            return Some((Ok(message), batches));
        }
        if batches.over {
            return None;
        }
        let next = tokio::select! {
            next = batches.watch.next(IDLE) => next?,
            () = batches.shutdown.cancelled() => return None,
        };
        match next {
            Ok(batch) => {
                let revision = batch.revision;
                batches.watching.sent(batch.events.len());
                batches.ready = cut(batch, batches.revision, MESSAGE_BYTES).into_iter();
                batches.revision = revision;
                let message = batches.ready.next().unwrap_or_default();
                Some((Ok(message), batches))
            }
            Err(error) => {
                batches.over = true;
                Some((Err(status::of(&error)), batches))
            }
        }
    })
}

/// Cuts a batch into messages of a bounded size. Only the last may be resumed from, so that no event is lost between.
fn cut(batch: watch::WatchBatch, before: u64, limit: usize) -> Vec<WatchBatch> {
    let mut messages = vec![WatchBatch { revision: before, ..WatchBatch::default() }];
    let mut size = 0;
    for event in batch.events {
        if size > 0 && size + event.json.len() > limit {
            messages.push(WatchBatch { revision: before, ..WatchBatch::default() });
            size = 0;
        }
        size += event.json.len();
        if let Some(message) = messages.last_mut() {
            message.events.push(to_proto(event));
        }
    }
    if let Some(last) = messages.last_mut() {
        last.revision = batch.revision;
        last.synced = batch.synced;
    }
    messages
}

fn to_proto(event: watch::WatchEvent) -> WatchEvent {
    let r#type = match event.event_type {
        EventType::Added => Type::Added,
        EventType::Modified => Type::Modified,
        EventType::Deleted => Type::Deleted,
    };
    let json: Bytes = event.json;
    WatchEvent { r#type: r#type.into(), json, revision: event.revision, trace_id: event.trace_id.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_batches_are_cut_and_only_the_last_part_can_be_resumed_from() {
        let event = |revision| watch::WatchEvent {
            event_type: EventType::Added,
            json: Bytes::from(vec![b'x'; 40]),
            revision,
            trace_id: "".into(),
        };
        let batch = watch::WatchBatch { events: (5..10).map(event).collect(), revision: 12, synced: true };
        let messages = cut(batch, 4, 100);
        let seen: Vec<_> = messages.iter().map(|m| (m.events.len(), m.revision, m.synced)).collect();
        assert_eq!(seen, [(2, 4, false), (2, 4, false), (1, 12, true)]);
        let idle = watch::WatchBatch { events: Vec::new(), revision: 20, synced: false };
        let messages = cut(idle, 12, 100);
        assert_eq!(messages.len(), 1, "an empty batch is a bookmark");
        assert_eq!((messages[0].events.len(), messages[0].revision), (0, 20));
    }
}
