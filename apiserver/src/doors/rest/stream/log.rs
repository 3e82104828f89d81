//! `pods/{name}/log`. Source: `pkg/registry/core/pod/rest/log.go` and `ValidatePodLogOptions`.

use bytes::Bytes;
use futures::{StreamExt, stream};
use http::{HeaderValue, Response, StatusCode, header::CONTENT_TYPE};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use jiff::Timestamp;
use kubelab_api::{Error, Reason, field, pod};
use kubelab_proto::node::LogsRequest;

use super::{
    super::{answer, query::Query},
    Stream, container, uid,
};
use crate::{
    doors::{Body, BoxError},
    nodes::unreachable,
};

/// What is asked of a log.
#[derive(Debug, Default, PartialEq)]
struct Options {
    container: String,
    previous: bool,
    request: LogsRequest,
}

impl Options {
    fn parse(query: &Query, now: Timestamp) -> Result<Self, Error> {
        let number = |name: &str| -> Result<Option<i64>, Error> {
            let Some(text) = query.get(name).filter(|text| !text.is_empty()) else { return Ok(None) };
            let invalid = |_| Error::bad_request(format!("strconv.ParseInt: parsing {text:?}: invalid syntax"));
            text.parse().map(Some).map_err(invalid)
        };
        let mut errors = field::Errors::default();
        let mut at_least = |name: &'static str, value: Option<i64>, least: i64| {
            if let Some(value) = value.filter(|value| *value < least) {
                let rule = if least == 0 { "must be greater than or equal to 0" } else { "must be greater than 0" };
                errors.invalid(&field::Path::new(name), value, rule);
            }
            value.and_then(|value| u64::try_from(value).ok())
        };
        let tail_lines = at_least("tailLines", number("tailLines")?, 0);
        let limit_bytes = at_least("limitBytes", number("limitBytes")?, 1);
        let since_seconds = at_least("sinceSeconds", number("sinceSeconds")?, 1);
        let since_time = match query.get("sinceTime").filter(|text| !text.is_empty()) {
            Some(text) => Some(text.parse::<Timestamp>().map_err(|_| {
                Error::bad_request(format!("parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse"))
            })?),
            None => None,
        };
        if since_seconds.is_some() && since_time.is_some() {
            errors.forbidden(&field::Path::new(""), "at most one of `sinceTime` or `sinceSeconds` may be specified");
        }
        let stream = query.get("stream").unwrap_or_default();
        if !["", "All", "Stdout", "Stderr"].contains(&stream) {
            errors.not_supported(&field::Path::new("stream"), stream, &["All", "Stderr", "Stdout"]);
        }
        // Source: the validation of `PodLogOptions`.
        if tail_lines.is_some() && matches!(stream, "Stdout" | "Stderr") {
            errors.forbidden(&field::Path::new(""), "`tailLines` and specific `stream` are mutually exclusive for now");
        }
        if !errors.is_empty() {
            let message = format!("PodLogOptions \"\" is invalid: {errors}");
            return Err(Error::new(Reason::Invalid, message));
        }
        let seconds = since_seconds.and_then(|seconds| i64::try_from(seconds).ok());
        let since = seconds.map(|seconds| now.as_microsecond().saturating_sub(seconds.saturating_mul(1_000_000)));
        Ok(Self {
            container: query.get("container").unwrap_or_default().to_owned(),
            previous: query.flag("previous").unwrap_or(false),
            request: LogsRequest {
                follow: query.flag("follow").unwrap_or(false),
                since_us: since.or(since_time.map(Timestamp::as_microsecond)),
                tail_lines,
                limit_bytes,
                timestamps: query.flag("timestamps").unwrap_or(false),
                stream: if stream == "All" { String::new() } else { stream.to_lowercase() },
                ..LogsRequest::default()
            },
        })
    }
}

/// Answers with a log, as it is or as it grows.
pub async fn serve(stream: &Stream) -> Result<Response<Body>, Error> {
    let Options { container, previous, mut request } = Options::parse(&stream.query, Timestamp::now())?;
    let pod = stream.pod().await?;
    let container = container::choose(&pod, &container)?;
    if pod::node_name(&pod).is_none() {
        // Source: `LogLocation`: a pod without a node has an empty log.
        return Ok(text(answer::full(Bytes::new())));
    }
    let node = stream.node_of(&pod).await?;
    request.container_id = container::run(&pod, &container, previous)?;
    request.pod_uid = uid(&pod);
    let place = stream.doors.nodes.enter()?;
    let asked = stream.doors.nodes.client(&node)?.logs(request).await;
    let lines = match asked {
        Ok(lines) => lines.into_inner(),
        // Upstream's kubelet answers with 200 and this text.
        Err(status) if status.code() == tonic::Code::NotFound => {
            return Ok(text(answer::full(status.message().to_owned())));
        }
        Err(status) => return Err(Error::internal(unreachable(&status))),
    };
    let shutdown = stream.doors.shutdown.clone().cancelled_owned();
    let frames = lines.take_until(shutdown).map(move |reply| {
        let _place = &place;
        reply.map(|reply| Frame::data(reply.data)).map_err(|error| Box::new(error) as BoxError)
    });
    // At first nothing, so that the answer's head goes out before the first line.
    let frames = stream::iter([Ok(Frame::data(Bytes::new()))]).chain(frames);
    Ok(text(StreamBody::new(frames).boxed_unsync()))
}

fn text(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = StatusCode::OK;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    response
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn parse(query: &str) -> Result<Options, String> {
        let now = Timestamp::from_second(1000).unwrap();
        Options::parse(&Query::parse(Some(query)), now).map_err(|error| format!("{} {}", error.code(), error.message))
    }

    #[test]
    fn options_are_read() {
        let options = parse("container=c&follow=true&previous=1&tailLines=5&limitBytes=9&timestamps=true").unwrap();
        let expected = LogsRequest {
            follow: true,
            tail_lines: Some(5),
            limit_bytes: Some(9),
            timestamps: true,
            ..LogsRequest::default()
        };
        assert_eq!(options, Options { container: "c".into(), previous: true, request: expected });
        assert_eq!(parse("sinceSeconds=10").unwrap().request.since_us, Some(990_000_000));
        assert_eq!(parse("sinceTime=1970-01-01T00:00:07Z").unwrap().request.since_us, Some(7_000_000));
        assert_eq!(parse("stream=Stderr").unwrap().request.stream, "stderr");
    }

    #[test]
    fn wrong_options_are_refused() {
        for (query, expected) in [
            (
                "tailLines=-1",
                "422 PodLogOptions \"\" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0",
            ),
            ("limitBytes=0", "422 PodLogOptions \"\" is invalid: limitBytes: Invalid value: 0: must be greater than 0"),
            (
                "sinceSeconds=0",
                "422 PodLogOptions \"\" is invalid: sinceSeconds: Invalid value: 0: must be greater than 0",
            ),
            ("tailLines=x", "400 strconv.ParseInt: parsing \"x\": invalid syntax"),
        ] {
            assert_eq!(parse(query).unwrap_err(), expected, "{query}");
        }
        let both = parse("sinceSeconds=1&sinceTime=1970-01-01T00:00:07Z").unwrap_err();
        assert!(both.contains("at most one of `sinceTime` or `sinceSeconds` may be specified"), "{both}");
    }
}
