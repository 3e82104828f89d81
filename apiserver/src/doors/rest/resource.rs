//! Requests for resources: from a URL to a [`Request`], from an [`Answer`] to a response.

use std::{sync::Arc, time::Instant};

use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{ACCEPT, CONTENT_TYPE, WARNING},
};
use hyper::body::Incoming;
use jiff::Timestamp;
use kubelab_api::{Error, Reason, Resource, resource::Verbs};
use kubelab_store::Door;

use super::{
    accepts_gzip, answer,
    answer::Wrapping,
    body, header, negotiate,
    negotiate::{Encoding, Form},
    path::Target,
    protobuf::encode,
    query::Query,
    shape::Shape,
    stream,
    table::Include,
    wants_pretty, watch,
};
use crate::{
    audit,
    corridor::{Answer, Body, Request, Response as Outcome, User, Verb},
    discovery::subresource,
    doors::{self, Doors, TIMEOUT, origin::Caller, within_time},
    metrics::{self, Labels},
    registry::deprecation,
};

/// The most bytes of a warning that are sent. Source: `k8s.io/apiserver/pkg/endpoints/filters/warning.go`.
const WARNING_BYTES: usize = 4 * 1024;

pub(super) async fn serve(
    doors: &Arc<Doors>,
    user: User,
    target: Target,
    query: Query,
    request: http::Request<Incoming>,
) -> Result<Response<doors::Body>, Error> {
    let begin = Instant::now();
    let verb = verb(request.method(), &target, &query);
    let mut labels = Labels {
        verb: verb.as_ref().map_or("", |verb| metrics::verb(*verb)),
        group: target.group.clone(),
        version: target.version.clone(),
        resource: target.resource.clone(),
        subresource: target.subresource.clone(),
        scope: metrics::scope(&target.namespace, &target.name),
        component: metrics::COMPONENT,
        dry_run: if query.get("dryRun").is_some() { "All" } else { "" },
    };
    let answered = match find(doors, &target).await {
        Ok(resource) if stream::is_stream(&resource, &target.subresource) => {
            labels.verb = if target.subresource == "log" { "GET" } else { "CONNECT" };
            stream::serve(doors, user, resource, target, query, request).await
        }
        Ok(resource) => match verb.and_then(|verb| allowed(&resource, &target, verb).map(|()| verb)) {
            Ok(verb) => pass(doors, Asked { user, resource, verb, target, query }, request, &labels).await,
            Err(refusal) => Err(refusal),
        },
        Err(refusal) => {
            // What does not exist has no bound, so it is no label.
            labels = Labels { verb: labels.verb, component: labels.component, ..Labels::default() };
            let resources = doors.corridor.registry().resources();
            let known = resources.iter().any(|r| r.group == target.group && r.version == target.version);
            if known { Err(refusal) } else { Ok(answer::no_page()) }
        }
    };
    let code = answered.as_ref().map_or_else(Error::code, |response| response.status().as_u16());
    doors.metrics.answered(labels, code, begin.elapsed());
    answered
}

async fn find(doors: &Doors, target: &Target) -> Result<Arc<Resource>, Error> {
    let found = doors.corridor.registry().find_latest(&target.group, &target.version, &target.resource).await?;
    let resource = found.ok_or_else(Error::no_such_page)?;
    let known = target.subresource.is_empty() || resource.has(&target.subresource);
    let placed = match resource.namespaced {
        true => !target.namespace.is_empty() || target.name.is_empty(),
        false => target.namespace.is_empty(),
    };
    if known && placed { Ok(resource) } else { Err(Error::no_such_page()) }
}

/// What is asked. Source: `k8s.io/apiserver/pkg/endpoints/request/requestinfo.go`.
pub(crate) fn verb(method: &Method, target: &Target, query: &Query) -> Result<Verb, Error> {
    let one = !target.name.is_empty();
    Ok(match *method {
        Method::GET | Method::HEAD if target.watch => Verb::Watch,
        Method::GET | Method::HEAD if one => Verb::Get,
        Method::GET | Method::HEAD if query.flag("watch") == Some(true) => Verb::Watch,
        Method::GET | Method::HEAD => Verb::List,
        Method::POST => Verb::Create,
        Method::PUT if one => Verb::Update,
        Method::PATCH if one => Verb::Patch,
        Method::DELETE if one => Verb::Delete,
        Method::DELETE => Verb::DeleteCollection,
        _ => return Err(Error::method_not_allowed()),
    })
}

/// Refuses what the resource, or this part of it, does not do.
fn allowed(resource: &Resource, target: &Target, verb: Verb) -> Result<(), Error> {
    let everywhere = resource.namespaced && target.namespace.is_empty();
    let allowed = match subresource::find(resource, &target.subresource) {
        Some(part) => !target.name.is_empty() && part.verbs.contains(&verb.name()),
        None => match verb {
            Verb::Create => target.name.is_empty() && !everywhere,
            Verb::DeleteCollection => resource.verbs == Verbs::All && !everywhere,
            Verb::Get | Verb::List => resource.verbs != Verbs::Create,
            _ => resource.verbs == Verbs::All,
        },
    };
    if allowed { Ok(()) } else { Err(Error::method_not_allowed()) }
}

/// Who asks what.
struct Asked {
    user: User,
    resource: Arc<Resource>,
    verb: Verb,
    target: Target,
    query: Query,
}

async fn pass(
    doors: &Arc<Doors>,
    asked: Asked,
    request: http::Request<Incoming>,
    labels: &Labels,
) -> Result<Response<doors::Body>, Error> {
    let Asked { user, resource, verb, target, query } = asked;
    let (head, incoming) = request.into_parts();
    let headers = head.headers;
    let mut accepted = negotiate::negotiate(header(&headers, ACCEPT), verb == Verb::Watch)?;
    accepted.pretty |= wants_pretty(&headers, &query);
    if accepted.encoding == Encoding::Protobuf
        && accepted.form == Form::Object
        && !encode::knows(&resource.api_version(), &resource.kind)
    {
        return Err(not_protobuf(verb));
    }
    let include = Include::parse(query.get("includeObject").unwrap_or_default())?;
    let _place = doors.limits.enter(verb)?;

    let caller = Caller::of(&headers);
    let options = query.options(verb)?;
    let list_options = options.list.clone();
    let shape = Shape {
        corridor: Arc::clone(&doors.corridor),
        resource: Arc::clone(&resource),
        foreign: subresource::find(&resource, &target.subresource).is_some_and(|part| !part.kind.is_empty()),
        accepted,
        include,
        now: Timestamp::now(),
    };
    let limit = if verb == Verb::Watch { TIMEOUT } else { query.timeout()? };
    let answer = within_time(limit, async {
        let body = read(verb, &headers, &query, incoming).await?;
        if let Some(record) = audit::current() {
            record.sent(&body);
        }
        let request = Request {
            user,
            agent: caller.agent,
            door: Door::Rest,
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
        doors.corridor.handle(request).await
    })
    .await?;

    let Answer { response: outcome, mut warnings } = answer;
    if let Some(warning) = deprecation::warning(&shape.resource) {
        warnings.insert(0, warning.to_owned());
        audit::annotate("k8s.io/deprecated", || "true".into());
        doors.metrics.deprecated(labels);
    }
    let wrapping = Wrapping { encoding: accepted.encoding, pretty: accepted.pretty, gzip: accepts_gzip(&headers) };
    let mut response = match outcome {
        Outcome::Object { json, created } => {
            let status = if created { StatusCode::CREATED } else { StatusCode::OK };
            match accepted.encoding {
                Encoding::Protobuf => answer::encoded(status, shape.protobuf(&json)?, wrapping),
                _ => answer::object(status, shape.object(json), wrapping),
            }
        }
        Outcome::List(list) if accepted.encoding == Encoding::Protobuf => {
            answer::encoded(StatusCode::OK, shape.protobuf_list(&list)?, wrapping)
        }
        Outcome::List(list) => answer::pieces(StatusCode::OK, shape.list(list), wrapping),
        Outcome::Status(status) => {
            let code = status.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(200);
            let code = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
            answer::object(code, serde_json::to_vec(&status).map_err(Error::internal)?.into(), wrapping)
        }
        Outcome::Watch(watch) => {
            let watching = doors.metrics.watching(labels);
            let body = watch::body(*watch, shape, &list_options, doors.shutdown.clone(), watching);
            answer::stream(accepted.encoding, body)
        }
    };
    warn(response.headers_mut(), &warnings);
    Ok(response)
}

/// Custom resources have no protobuf form, and upstream does not look for another one that the caller accepts too.
/// Source: `errNotMarshalable` in `k8s.io/apimachinery/pkg/runtime/serializer/protobuf/protobuf.go`.
fn not_protobuf(verb: Verb) -> Error {
    let go_type = if verb == Verb::List { "*unstructured.UnstructuredList" } else { "*unstructured.Unstructured" };
    let message = format!(
        "object {go_type} does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message"
    );
    Error::new(Reason::NotAcceptable, message)
}

async fn read(verb: Verb, headers: &HeaderMap, query: &Query, incoming: Incoming) -> Result<Body, Error> {
    let content_type = header(headers, CONTENT_TYPE).unwrap_or_default();
    match verb {
        Verb::Get | Verb::List | Verb::Watch => Ok(Body::None),
        Verb::Create | Verb::Update => body::object(content_type, body::read(incoming).await?),
        Verb::Patch => body::patch(content_type, body::read(incoming).await?),
        Verb::Delete | Verb::DeleteCollection => match body::read(incoming).await? {
            empty if empty.is_empty() => Ok(query.delete_options()?.map_or(Body::None, Body::Json)),
            options => body::object(content_type, options),
        },
    }
}

/// Adds warnings as RFC 7234 wants them: `299 - "text"`.
fn warn(headers: &mut HeaderMap, warnings: &[String]) {
    let mut left = WARNING_BYTES;
    for warning in warnings {
        let clean: String = warning.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let quoted = clean.replace('\\', "\\\\").replace('"', "\\\"");
        let Some(rest) = left.checked_sub(quoted.len()) else { return };
        left = rest;
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            headers.append(WARNING, value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use kubelab_api::resource;

    use super::{super::path, *};

    fn ask(method: &str, url: &str) -> Result<Verb, u16> {
        let (path, query) = url.split_once('?').unwrap_or((url, ""));
        let target = path::parse(path).unwrap();
        let resource = resource::find(&target.group, &target.version, &target.resource).unwrap();
        verb(&method.parse().unwrap(), &target, &Query::parse(Some(query)))
            .and_then(|verb| allowed(resource, &target, verb).map(|()| verb))
            .map_err(|error| error.code())
    }

    #[test]
    fn methods_and_paths_make_verbs() {
        let cases = [
            ("GET", "/api/v1/pods", Ok(Verb::List)),
            ("GET", "/api/v1/pods?watch=true", Ok(Verb::Watch)),
            ("GET", "/api/v1/pods?watch=0", Ok(Verb::List)),
            ("GET", "/api/v1/watch/pods", Ok(Verb::Watch)),
            ("GET", "/api/v1/namespaces/a/pods/b", Ok(Verb::Get)),
            ("GET", "/api/v1/namespaces/a/pods/b?watch=1", Ok(Verb::Get)),
            ("HEAD", "/api/v1/namespaces/a/pods/b", Ok(Verb::Get)),
            ("POST", "/api/v1/namespaces/a/pods", Ok(Verb::Create)),
            ("POST", "/api/v1/namespaces", Ok(Verb::Create)),
            ("POST", "/api/v1/pods", Err(405)),
            ("POST", "/api/v1/namespaces/a/pods/b", Err(405)),
            ("POST", "/api/v1/namespaces/a/pods/b/binding", Ok(Verb::Create)),
            ("POST", "/api/v1/namespaces/a/pods/b/eviction", Ok(Verb::Create)),
            ("GET", "/api/v1/namespaces/a/pods/b/eviction", Err(405)),
            ("PUT", "/api/v1/namespaces/a/pods/b", Ok(Verb::Update)),
            ("PUT", "/api/v1/namespaces/a/pods", Err(405)),
            ("PUT", "/api/v1/namespaces/a/finalize", Ok(Verb::Update)),
            ("PATCH", "/api/v1/namespaces/a/pods/b/status", Ok(Verb::Patch)),
            ("DELETE", "/api/v1/namespaces/a/pods/b", Ok(Verb::Delete)),
            ("DELETE", "/api/v1/namespaces/a/pods", Ok(Verb::DeleteCollection)),
            ("DELETE", "/api/v1/pods", Err(405)),
            ("DELETE", "/api/v1/nodes", Ok(Verb::DeleteCollection)),
            ("PUT", "/apis/apps/v1/namespaces/a/deployments/b/scale", Ok(Verb::Update)),
            ("DELETE", "/apis/apps/v1/namespaces/a/deployments/b/scale", Err(405)),
            ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", Ok(Verb::Create)),
            ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", Err(405)),
            ("GET", "/api/v1/componentstatuses", Ok(Verb::List)),
            ("GET", "/api/v1/componentstatuses?watch=1", Err(405)),
            ("DELETE", "/api/v1/componentstatuses/etcd-0", Err(405)),
            ("TRACE", "/api/v1/pods", Err(405)),
        ];
        for (method, url, expected) in cases {
            assert_eq!(ask(method, url), expected, "{method} {url}");
        }
    }

    #[test]
    fn warnings_are_quoted_and_bounded() {
        let mut headers = HeaderMap::new();
        warn(&mut headers, &["unknown field \"spec.x\"".into(), "y".repeat(WARNING_BYTES)]);
        let warnings: Vec<_> = headers.get_all(WARNING).iter().collect();
        assert_eq!(warnings, ["299 - \"unknown field \\\"spec.x\\\"\""]);
    }
}
