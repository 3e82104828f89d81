//! The paths of an OpenAPI v3 document: what `kubectl apply` and `kubectl explain` look for.
//! Source of the layout: `k8s.io/kube-openapi/pkg/builder3` and `k8s.io/apiserver/pkg/endpoints/installer.go`.

mod connect;

use kubelab_api::{Resource, resource::Verbs};
use serde_json::{Map, Value, json};

use super::schemas::{Dialect, PATCH, Schemas, gvk};
use crate::discovery::subresource;

/// What the operations of one path are about.
struct Place<'a> {
    schemas: &'a Schemas,
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    /// Makes the names of operations: `AppsV1NamespacedDeployment`.
    subject: String,
    tag: String,
    /// Only built-in kinds take strategic merge patches.
    strategic: bool,
}

/// The paths of these resources, which are of one group and version.
pub fn build<'a>(resources: impl Iterator<Item = &'a Resource>, schemas: &Schemas) -> Map<String, Value> {
    let mut paths = Map::new();
    for resource in resources.filter(|resource| schemas.kinds.contains_key(&*resource.kind)) {
        add(resource, schemas, &mut paths);
    }
    paths
}

fn add(resource: &Resource, schemas: &Schemas, paths: &mut Map<String, Value>) {
    let root = match &*resource.group {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let collection = match resource.namespaced {
        true => format!("{root}/namespaces/{{namespace}}/{}", resource.plural),
        false => format!("{root}/{}", resource.plural),
    };
    let place = |scope: &str, part: &str| {
        let group = resource.group.split('.').next().filter(|group| !group.is_empty()).unwrap_or("core");
        Place {
            schemas,
            group: &resource.group,
            version: &resource.version,
            kind: &resource.kind,
            subject: [group, &resource.version, scope, &resource.kind, part].map(capitalize).concat(),
            tag: format!("{group}_{}", resource.version),
            strategic: true,
        }
    };
    let list = format!("{}List", resource.kind);
    let mut above = Vec::new();
    if resource.namespaced {
        above.push(path_parameter("namespace", "object name and auth scope, such as for teams and projects"));
    }
    let scope = if resource.namespaced { "Namespaced" } else { "" };
    let here = place(scope, "");
    let mut operations = Map::new();
    operations.insert("post".into(), here.write("create", "post", &resource.kind));
    if resource.verbs == Verbs::All {
        operations.insert("get".into(), here.read("list", "list", &list, LIST_PARAMETERS));
        operations.insert("delete".into(), here.delete("deleteCollection", "deletecollection"));
    }
    paths.insert(collection.clone(), with_parameters(operations, &above));
    if resource.verbs != Verbs::All {
        return;
    }
    if resource.namespaced {
        let everywhere = place("", "ForAllNamespaces").read("list", "list", &list, LIST_PARAMETERS);
        paths.insert(format!("{root}/{}", resource.plural), json!({ "get": everywhere }));
    }
    above.insert(0, path_parameter("name", &format!("name of the {}", resource.kind)));
    let item = format!("{collection}/{{name}}");
    let mut operations = Map::new();
    operations.insert("get".into(), here.read("read", "get", &resource.kind, &[]));
    operations.insert("put".into(), here.write("replace", "put", &resource.kind));
    operations.insert("patch".into(), here.patch(&resource.kind));
    operations.insert("delete".into(), here.delete("delete", "delete"));
    paths.insert(item.clone(), with_parameters(operations, &above));

    for name in resource.subresources.iter() {
        let Some(part) = subresource::find(resource, name) else { continue };
        let mut there = place(scope, name);
        if !part.kind.is_empty() {
            (there.group, there.version, there.kind) = (part.group, part.version, part.kind);
        }
        if let Some(operations) = connect::operations(&there, name) {
            paths.insert(format!("{item}/{name}"), with_parameters(operations, &above));
            continue;
        }
        if !schemas.kinds.contains_key(there.kind) {
            continue;
        }
        let kind = there.kind;
        let operations: Map<String, Value> = part
            .verbs
            .iter()
            .filter_map(|verb| match *verb {
                "get" => Some(("get".into(), there.read("read", "get", kind, &[]))),
                "create" => Some(("post".into(), there.write("create", "post", kind))),
                "update" => Some(("put".into(), there.write("replace", "put", kind))),
                "patch" => Some(("patch".into(), there.patch(kind))),
                _ => None,
            })
            .collect();
        paths.insert(format!("{item}/{name}"), with_parameters(operations, &above));
    }
}

const LIST_PARAMETERS: &[(&str, &str)] = &[
    ("allowWatchBookmarks", "boolean"),
    ("continue", "string"),
    ("fieldSelector", "string"),
    ("labelSelector", "string"),
    ("limit", "integer"),
    ("resourceVersion", "string"),
    ("resourceVersionMatch", "string"),
    ("sendInitialEvents", "boolean"),
    ("timeoutSeconds", "integer"),
    ("watch", "boolean"),
];
const WRITE_PARAMETERS: &[(&str, &str)] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string")];
const PATCH_PARAMETERS: &[(&str, &str)] =
    &[("dryRun", "string"), ("fieldManager", "string"), ("fieldValidation", "string"), ("force", "boolean")];
const DELETE_PARAMETERS: &[(&str, &str)] = &[
    ("dryRun", "string"),
    ("gracePeriodSeconds", "integer"),
    ("orphanDependents", "boolean"),
    ("propagationPolicy", "string"),
];

impl Place<'_> {
    fn content(&self, kind: &str) -> Value {
        match self.schemas.kinds.get(kind) {
            Some(name) => json!({ "schema": Dialect::V3.reference(name) }),
            None => json!({}),
        }
    }

    fn operation(&self, id: &str, action: &str, parameters: &[(&str, &str)], answer: Value) -> Value {
        let parameters: Vec<Value> = parameters
            .iter()
            .map(|(name, kind)| json!({ "name": name, "in": "query", "schema": { "type": kind, "uniqueItems": true } }))
            .collect();
        json!({
            "tags": [self.tag],
            "operationId": format!("{id}{}", self.subject),
            "parameters": parameters,
            "responses": {
                "200": { "description": "OK", "content": { "application/json": answer } },
                "401": { "description": "Unauthorized" },
            },
            "x-kubernetes-action": action,
            "x-kubernetes-group-version-kind": gvk(self.group, self.version, self.kind),
        })
    }

    fn read(&self, id: &str, action: &str, answer: &str, parameters: &[(&str, &str)]) -> Value {
        self.operation(id, action, parameters, self.content(answer))
    }

    fn write(&self, id: &str, action: &str, kind: &str) -> Value {
        let mut operation = self.operation(id, action, WRITE_PARAMETERS, self.content(kind));
        operation["requestBody"] = json!({ "content": { "*/*": self.content(kind) }, "required": true });
        operation
    }

    fn patch(&self, kind: &str) -> Value {
        let mut operation = self.operation("patch", "patch", PATCH_PARAMETERS, self.content(kind));
        let mut types =
            vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
        if self.strategic {
            types.push("application/strategic-merge-patch+json");
        }
        let patch = json!({ "schema": Dialect::V3.reference(PATCH) });
        let content: Map<String, Value> = types.iter().map(|kind| ((*kind).to_owned(), patch.clone())).collect();
        operation["requestBody"] = json!({ "content": content, "required": true });
        operation
    }

    fn delete(&self, id: &str, action: &str) -> Value {
        let answer = json!({ "schema": Dialect::V3.reference(&self.schemas.status) });
        let mut operation = self.operation(id, action, DELETE_PARAMETERS, answer);
        let options = json!({ "schema": Dialect::V3.reference(&self.schemas.delete_options) });
        operation["requestBody"] = json!({ "content": { "*/*": options } });
        operation
    }
}

fn path_parameter(name: &str, description: &str) -> Value {
    json!({
        "name": name,
        "in": "path",
        "description": description,
        "required": true,
        "schema": { "type": "string", "uniqueItems": true },
    })
}

fn with_parameters(mut operations: Map<String, Value>, parameters: &[Value]) -> Value {
    if !parameters.is_empty() {
        operations.insert("parameters".into(), parameters.into());
    }
    operations.into()
}

fn capitalize(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
    use kubelab_api::resource;

    use super::*;

    #[test]
    fn kubectl_finds_what_it_looks_for() {
        let apps = || resource::BUILT_IN.iter().filter(|r| r.group == "apps" && r.kind == "Deployment");
        let schemas = Schemas::collect(apps(), |_, g| Some(g.subschema_for::<Deployment>()), Dialect::V3);
        let paths = build(apps(), &schemas);
        let item = &paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"];
        assert_eq!(item["patch"]["x-kubernetes-group-version-kind"], gvk("apps", "v1", "Deployment"));
        let names: Vec<_> = item["patch"]["parameters"].as_array().into_iter().flatten().map(|p| &p["name"]).collect();
        assert!(names.contains(&&json!("fieldValidation")) && names.contains(&&json!("dryRun")), "{names:?}");
        assert!(item["patch"]["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
        assert_eq!(item["get"]["operationId"], "readAppsV1NamespacedDeployment");
        let scale = &paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
        assert_eq!(scale["put"]["x-kubernetes-group-version-kind"], gvk("autoscaling", "v1", "Scale"));
        let pods = || resource::BUILT_IN.iter().filter(|r| r.kind == "Pod" && r.group.is_empty());
        let schemas = Schemas::collect(pods(), |_, g| Some(g.subschema_for::<Pod>()), Dialect::V3);
        let exec = &build(pods(), &schemas)["/api/v1/namespaces/{namespace}/pods/{name}/exec"];
        assert_eq!(exec["get"]["operationId"], "connectGetCoreV1NamespacedPodExec");
        assert_eq!(exec["post"]["x-kubernetes-group-version-kind"], gvk("", "v1", "PodExecOptions"));
        assert_eq!(paths["/apis/apps/v1/deployments"]["get"]["x-kubernetes-action"], "list");
    }
}
