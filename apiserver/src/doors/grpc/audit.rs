//! Components' requests as the audit log sees them: as if they had come through the other door.

use std::sync::Arc;

use http::HeaderMap;
use kubelab_api::{Error, Resource};
use kubelab_proto::objects::Target;
use uuid::Uuid;

use crate::{
    audit::{
        Record, Seen,
        event::Stage,
        record::{ANSWER_BYTES, Ending},
    },
    authorization::{Attributes, attributes::named_by},
    corridor::{Answer, Response, User, Verb},
    doors::{Connection, Doors},
};

/// Who asks, and how it came in.
pub struct From<'a> {
    pub user: &'a User,
    pub connection: &'a Connection,
    pub headers: &'a HeaderMap,
}

/// Begins the record of a request, where the policy wants one.
pub fn begin(
    doors: &Doors,
    from: &From<'_>,
    verb: Verb,
    resource: &Resource,
    target: &Target,
    field_selector: &str,
) -> Option<Arc<Record>> {
    let audit = doors.audit.as_ref()?;
    let is_namespace = target.resource == "namespaces" && target.group.is_empty();
    let attributes = Attributes {
        subresource: &target.subresource,
        namespace: if is_namespace { &target.name } else { &target.namespace },
        name: if target.name.is_empty() { named_by(field_selector) } else { &target.name },
        ..Attributes::resource(from.user, verb.name(), &target.group, &target.resource)
    };
    audit.begin(Seen {
        id: Uuid::new_v4().to_string(),
        uri: uri(resource, target, verb),
        headers: from.headers,
        peer: from.connection.peer,
        attributes,
        version: &target.version,
        user: Some(from.user),
        long: verb == Verb::Watch,
    })
}

/// Tells what came of a request. The record of a watch goes on until what is returned is dropped.
pub fn end(record: Arc<Record>, answered: &Result<Answer, Error>) -> Ending {
    match answered {
        Err(refusal) => record.refused(refusal),
        Ok(answer) => match &answer.response {
            Response::Object { json, created } => {
                record.code(if *created { 201 } else { 200 });
                record.answered(Some(json).filter(|json| json.len() <= ANSWER_BYTES).map(|json| &json[..]));
            }
            Response::Status(status) => {
                record.code(status.code.and_then(|code| u16::try_from(code).ok()).unwrap_or(200));
            }
            Response::List(_) | Response::Watch(_) => record.code(200),
        },
    }
    if record.is_long() {
        record.tell(Stage::ResponseStarted);
    }
    Ending(record)
}

/// `/apis/apps/v1/namespaces/default/deployments/web/status`
fn uri(resource: &Resource, target: &Target, verb: Verb) -> String {
    let mut uri = if target.group.is_empty() { "/api/".to_owned() } else { "/apis/".to_owned() };
    uri.push_str(&resource.api_version());
    for (before, part) in
        [("/namespaces/", &target.namespace), ("/", &target.resource), ("/", &target.name), ("/", &target.subresource)]
    {
        if !part.is_empty() {
            uri.push_str(before);
            uri.push_str(part);
        }
    }
    if verb == Verb::Watch {
        uri.push_str("?watch=true");
    }
    uri
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn targets_have_paths() {
        for (target, verb, expected) in [
            (("", "nodes", "", "n1", "status"), Verb::Update, "/api/v1/nodes/n1/status"),
            (
                ("apps", "deployments", "dev", "", ""),
                Verb::Watch,
                "/apis/apps/v1/namespaces/dev/deployments?watch=true",
            ),
            (("", "pods", "", "", ""), Verb::List, "/api/v1/pods"),
        ] {
            let [group, plural, namespace, name, subresource] =
                [target.0, target.1, target.2, target.3, target.4].map(str::to_owned);
            let target = Target { group, version: "v1".into(), resource: plural, namespace, name, subresource };
            let resource = kubelab_api::resource::find(&target.group, "v1", &target.resource).unwrap();
            assert_eq!(uri(resource, &target, verb), expected);
        }
    }
}
