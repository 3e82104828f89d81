//! The documents about discovery itself: `api`, `apis`, `apis/<group>` and `version`.
//! Source of paths and names: `k8s.io/apiserver/pkg/endpoints/discovery` and `pkg/server/routes/version.go`.

use k8s_openapi::{
    apimachinery::pkg::{
        apis::meta::v1::{APIGroup, APIGroupList, APIVersions},
        version::Info,
    },
    schemars::SchemaGenerator,
};
use serde_json::{Value, json};

use super::{
    paths::{camel, capitalize},
    schemas::{Dialect, definitions},
};

/// A document, as the index names it; `None` where it is about resources or nothing.
pub fn document(path: &str, groups: &[String]) -> Option<Value> {
    let (title, id, tag, about) = match path {
        "api" => ("api", "getCoreAPIVersions".to_owned(), "core".to_owned(), "The versions of the core group."),
        "apis" => ("apis", "getAPIVersions".to_owned(), "apis".to_owned(), "The named groups and their versions."),
        "version" => ("version", "getCodeVersion".to_owned(), "version".to_owned(), "The version of this server."),
        path => {
            let group = path.strip_prefix("apis/").filter(|group| groups.iter().any(|known| known == group))?;
            let name = camel(group);
            ("group", format!("get{}APIGroup", capitalize(&name)), name, "The versions of this group.")
        }
    };
    let answer = |generator: &mut SchemaGenerator| match title {
        "api" => generator.subschema_for::<APIVersions>(),
        "apis" => generator.subschema_for::<APIGroupList>(),
        "version" => generator.subschema_for::<Info>(),
        _ => generator.subschema_for::<APIGroup>(),
    };
    let (reference, schemas) = definitions(answer, Dialect::V3);
    let content = match title {
        "version" => json!({ "application/json": { "schema": reference } }),
        _ => json!({
            "application/json": { "schema": reference },
            "application/vnd.kubernetes.protobuf": { "schema": reference },
            "application/yaml": { "schema": reference },
        }),
    };
    let operation = json!({
        "description": about,
        "operationId": id,
        "tags": [tag],
        "responses": {
            "200": { "description": "OK", "content": content },
            "401": { "description": "Unauthorized" },
        },
    });
    let path = format!("/{path}/");
    Some(json!({ "paths": { path: { "get": operation } }, "components": { "schemas": schemas } }))
}
