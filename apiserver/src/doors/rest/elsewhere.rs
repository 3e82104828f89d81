//! Requests that another server answers. Whether the caller may ask is decided here, as for every request.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use http::{
    Method, Request, Response, Uri,
    header::{ACCEPT, UPGRADE},
    uri::InvalidUri,
};
use http_body_util::{BodyExt, Empty};
use kubelab_api::Error;

use super::{
    body::LIMIT,
    kubelet_page,
    path::{self, Target},
    query::Query,
    resource::verb,
};
use crate::{
    aggregation::{proxy, remote::Remote},
    authorization::Attributes,
    corridor::{User, Verb},
    doors::{Body, Doors, within_time},
    metrics::{self, Labels},
};

pub(super) async fn serve(
    doors: &Doors,
    user: &User,
    remote: &Remote,
    target: Option<Target>,
    query: &Query,
    request: Request<Body>,
) -> Result<Response<Body>, Error> {
    let begin = Instant::now();
    let asked = target.as_ref().and_then(|target| verb(request.method(), target, query).ok());
    let method = request.method().as_str().to_ascii_lowercase();
    match &target {
        Some(target) => {
            let attributes = Attributes {
                subresource: &target.subresource,
                namespace: &target.namespace,
                name: &target.name,
                field_selector: query.get("fieldSelector").unwrap_or_default(),
                ..Attributes::resource(
                    user,
                    asked.map_or(method.as_str(), |verb| verb.name()),
                    &target.group,
                    &target.resource,
                )
            };
            doors.corridor.authorize(&attributes).await?;
        }
        None => doors.corridor.authorize_path(user, &method, request.uri().path())?,
    }
    let _place =
        doors.limits.enter(asked.unwrap_or(if request.method() == Method::GET { Verb::Get } else { Verb::Create }))?;
    let lasting = asked == Some(Verb::Watch) || request.headers().contains_key(UPGRADE);
    let state = doors.aggregator.store().local();
    let answer = async { Ok(proxy::forward(remote, &state, user, request).await) };
    let answered = if lasting { answer.await } else { within_time(query.timeout()?, answer).await };
    let code = answered.as_ref().map_or_else(Error::code, |response| response.status().as_u16());
    // What other servers serve has no bound here, so only the group is a label.
    let labels = Labels {
        verb: asked.map_or("", metrics::verb),
        group: remote.group.clone(),
        version: remote.version.clone(),
        component: metrics::COMPONENT,
        ..Labels::default()
    };
    doors.metrics.answered(labels, code, begin.elapsed());
    answered
}

/// What another server, or a kubelet, answers to a program that asks by gRPC: the status and the body.
pub(in crate::doors) async fn fetch(doors: &Doors, user: &User, path: &str) -> Result<(u16, Bytes), Error> {
    let uri: Uri =
        path.parse().map_err(|error: InvalidUri| Error::bad_request(format!("{path:?} is no path: {error}")))?;
    if let Some((node, page)) = kubelet_page::parse(uri.path()) {
        return kubelet_page::fetch(doors, user, node, page).await;
    }
    let remote = doors.aggregator.find(uri.path()).ok_or_else(Error::no_such_page)?;
    let (target, query) = (path::parse(uri.path()), Query::parse(uri.query()));
    let body = Empty::<Bytes>::new().map_err(|never| match never {}).boxed_unsync();
    let request = Request::get(uri).header(ACCEPT, "application/json").body(body).map_err(Error::internal)?;
    let response = serve(doors, user, &remote, target, &query, request).await?;
    let code = response.status().as_u16();
    Ok((code, whole(response.into_body()).await?))
}

/// The body as one piece, if it is not too large. (`Limited` cannot be used here: its bounds on a boxed error are not seen to
/// hold where the future must be `Send`.)
async fn whole(mut body: Body) -> Result<Bytes, Error> {
    let mut bytes = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            Err(error) => return Err(Error::internal(error)),
        }
        if bytes.len() > LIMIT {
            return Err(Error::internal(format!("the answer has more than {LIMIT} bytes")));
        }
    }
    Ok(bytes.freeze())
}
