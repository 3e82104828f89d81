//! The paths of an OpenAPI document: what `kubectl apply` and `kubectl explain` look for, and what generators read.
//! Source of the layout: `k8s.io/kube-openapi/pkg/builder3` and `k8s.io/apiserver/pkg/endpoints/installer.go`.

mod connect;

use kubelab_api::{
    Resource,
    resource::{self, Verbs},
};
use serde_json::{Map, Value, json};

use super::{
    parameters::{Parameters, Takes},
    schemas::{Dialect, PATCH, Schemas, gvk},
};
use crate::discovery::subresource;

const NAMESPACE: (&str, &str) = ("namespace", "The namespace in which the objects are.");

/// What the operations of one path are about.
struct Place<'a> {
    schemas: &'a Schemas,
    dialect: Dialect,
    group: &'a str,
    version: &'a str,
    kind: &'a str,
    /// Makes the names of operations: `AppsV1`, `NamespacedDeployment`.
    of: String,
    subject: String,
    tag: String,
    /// Custom resources take no strategic merge patches and have no protobuf form.
    built_in: bool,
}

/// The paths of these resources.
pub fn build<'a>(
    resources: impl Iterator<Item = &'a Resource>,
    schemas: &Schemas,
    parameters: &mut Parameters,
    dialect: Dialect,
) -> Map<String, Value> {
    let mut paths = Map::new();
    for resource in resources {
        let group = (&*resource.group, &*resource.version, &*resource.kind);
        if schemas.kind(group).is_some() {
            add(resource, schemas, parameters, dialect, &mut paths);
        }
    }
    paths
}

/// A group as names of operations have it: `rbac.authorization.k8s.io` → `rbacAuthorization`.
pub fn camel(group: &str) -> String {
    let group = match group {
        "" => "core",
        group => group.strip_suffix(".k8s.io").unwrap_or(group),
    };
    let mut words = group.split('.');
    words.next().map(str::to_owned).into_iter().chain(words.map(capitalize)).collect()
}

fn add(
    resource: &Resource,
    schemas: &Schemas,
    parameters: &mut Parameters,
    dialect: Dialect,
    paths: &mut Map<String, Value>,
) {
    let root = match &*resource.group {
        "" => format!("/api/{}", resource.version),
        group => format!("/apis/{group}/{}", resource.version),
    };
    let group = camel(&resource.group);
    let place = |scope: &str, part: &str| Place {
        schemas,
        dialect,
        group: &resource.group,
        version: &resource.version,
        kind: &resource.kind,
        of: [&group, &*resource.version].map(capitalize).concat(),
        subject: [scope, &resource.kind, part].map(capitalize).concat(),
        tag: format!("{group}_{}", resource.version),
        built_in: resource::find(&resource.group, &resource.version, &resource.plural).is_some(),
    };
    let list = resource.list_kind();
    let (scope, below) = match resource.namespaced {
        true => ("Namespaced", format!("/namespaces/{{namespace}}/{}", resource.plural)),
        false => ("", format!("/{}", resource.plural)),
    };
    let collection = format!("{root}{below}");
    let in_path: &[(&str, &str)] = if resource.namespaced { &[NAMESPACE] } else { &[] };
    let here = place(scope, "");
    let lists = resource.verbs != Verbs::Create;
    let writes = resource.verbs != Verbs::Read;
    let index = place("", "").resources();
    paths.entry(format!("{root}/")).or_insert_with(|| json!({ "get": index }));

    let mut operations = Map::new();
    if writes {
        operations.insert("post".into(), here.write("create", "post", &resource.kind, parameters));
    }
    if lists {
        operations.insert("get".into(), here.read("list", "list", &list, Takes::Selection, parameters));
    }
    if lists && writes {
        operations.insert("delete".into(), here.delete("Collection", "deletecollection", parameters));
    }
    operations.insert("parameters".into(), parameters.above(in_path, false).into());
    paths.insert(collection.clone(), operations.into());
    if !lists {
        return;
    }
    if resource.namespaced {
        let everywhere = place("", "ForAllNamespaces").read("list", "list", &list, Takes::Nothing, parameters);
        let above = parameters.above(&[], true);
        paths.insert(format!("{root}/{}", resource.plural), json!({ "get": everywhere, "parameters": above }));
        let watch = place("", "ListForAllNamespaces").watch("watchlist");
        let above = parameters.above(&[], true);
        paths.insert(format!("{root}/watch/{}", resource.plural), json!({ "get": watch, "parameters": above }));
    }
    let meaning = format!("The name of the {}.", resource.kind);
    let named: Vec<(&str, &str)> = std::iter::once(("name", &*meaning)).chain(in_path.iter().copied()).collect();
    let item = format!("{collection}/{{name}}");
    if writes {
        let watches = [
            (format!("{root}/watch{below}"), place(scope, "List").watch("watchlist"), in_path),
            (format!("{root}/watch{below}/{{name}}"), here.watch("watch"), &named[..]),
        ];
        for (path, operation, in_path) in watches {
            let above = parameters.above(in_path, true);
            paths.insert(path, json!({ "get": operation, "parameters": above }));
        }
    }
    let mut operations = Map::new();
    operations.insert("get".into(), here.read("read", "get", &resource.kind, Takes::Nothing, parameters));
    if writes {
        operations.insert("put".into(), here.write("replace", "put", &resource.kind, parameters));
        operations.insert("patch".into(), here.patch(&resource.kind, parameters));
        operations.insert("delete".into(), here.delete("", "delete", parameters));
    }
    operations.insert("parameters".into(), parameters.above(&named, false).into());
    paths.insert(item.clone(), operations.into());

    for name in resource.subresources.iter() {
        let Some(part) = subresource::find(resource, name) else { continue };
        let mut there = place(scope, name);
        if !part.kind.is_empty() {
            (there.group, there.version, there.kind) = (part.group, part.version, part.kind);
        }
        if let Some(mut operations) = connect::operations(&there, name, parameters) {
            operations.insert("parameters".into(), parameters.above(&named, false).into());
            paths.insert(format!("{item}/{name}"), operations.into());
            continue;
        }
        if schemas.kind((there.group, there.version, there.kind)).is_none() {
            continue;
        }
        let kind = there.kind;
        let mut operations = Map::new();
        for verb in part.verbs {
            let (method, operation) = match *verb {
                "get" => ("get", there.read("read", "get", kind, Takes::Nothing, parameters)),
                "create" => ("post", there.write("create", "post", kind, parameters)),
                "update" => ("put", there.write("replace", "put", kind, parameters)),
                "patch" => ("patch", there.patch(kind, parameters)),
                _ => continue,
            };
            operations.insert(method.into(), operation);
        }
        operations.insert("parameters".into(), parameters.above(&named, false).into());
        paths.insert(format!("{item}/{name}"), operations.into());
    }
}

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

impl Place<'_> {
    fn schema(&self, kind: &str) -> Option<Value> {
        self.schemas.kind((self.group, self.version, kind)).map(|name| self.dialect.reference(name))
    }

    /// The media types of answers.
    fn produces(&self, lists: bool) -> Vec<&'static str> {
        let mut types = vec!["application/json", "application/yaml"];
        if self.built_in {
            types.push(PROTOBUF);
        }
        if lists {
            types.push("application/json;stream=watch");
            if self.built_in {
                types.push("application/vnd.kubernetes.protobuf;stream=watch");
            }
        }
        types
    }

    fn operation(&self, id: String, about: (&str, String), parameters: Vec<Value>) -> Map<String, Value> {
        let (action, description) = about;
        let mut operation = Map::new();
        operation.insert("description".into(), description.into());
        operation.insert("operationId".into(), id.into());
        operation.insert("tags".into(), json!([self.tag]));
        if !parameters.is_empty() {
            operation.insert("parameters".into(), parameters.into());
        }
        if self.dialect == Dialect::V2 {
            operation.insert("consumes".into(), json!(["*/*"]));
            operation.insert("schemes".into(), json!(["https"]));
        }
        if !action.is_empty() {
            operation.insert("x-kubernetes-action".into(), action.into());
            operation.insert("x-kubernetes-group-version-kind".into(), gvk(self.group, self.version, self.kind));
        }
        operation
    }

    /// Adds the answers with these codes.
    fn answers(&self, operation: &mut Map<String, Value>, codes: &[(&str, &str)], schema: Option<Value>, lists: bool) {
        let types = self.produces(lists);
        let mut responses = Map::new();
        for (code, description) in codes {
            let mut response = json!({ "description": description });
            if let Some(schema) = &schema {
                match self.dialect {
                    Dialect::V2 => response["schema"] = schema.clone(),
                    Dialect::V3 => {
                        let content = types.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": schema })));
                        response["content"] = Value::Object(content.collect());
                    }
                }
            }
            responses.insert((*code).to_owned(), response);
        }
        responses.insert("401".into(), json!({ "description": "Unauthorized" }));
        operation.insert("responses".into(), responses.into());
        if self.dialect == Dialect::V2 {
            operation.insert("produces".into(), types.into());
        }
    }

    /// Adds the body that an operation takes.
    fn takes(
        &self,
        operation: &mut Map<String, Value>,
        schema: Value,
        types: &[&str],
        required: bool,
        parameters: &mut Parameters,
    ) {
        match self.dialect {
            Dialect::V2 => {
                let body = parameters.body(schema, required);
                operation.insert("consumes".into(), json!(types));
                if let Value::Array(all) = operation.entry("parameters").or_insert_with(|| json!([])) {
                    all.insert(0, body);
                }
            }
            Dialect::V3 => {
                let content = types.iter().map(|kind| ((*kind).to_owned(), json!({ "schema": schema })));
                let mut body = json!({ "content": Value::Object(content.collect()) });
                if required {
                    body["required"] = true.into();
                }
                operation.insert("requestBody".into(), body);
            }
        }
    }

    fn resources(&self) -> Value {
        let id = format!("get{}APIResources", self.of);
        let about = ("", "What this group and version serves.".to_owned());
        let mut operation = self.operation(id, about, Vec::new());
        let schema = self.dialect.reference(&self.schemas.resource_list);
        let plain = Place { built_in: true, of: String::new(), subject: String::new(), tag: String::new(), ..*self };
        plain.answers(&mut operation, &[("200", "OK")], Some(schema), false);
        operation.into()
    }

    fn read(&self, id: &str, action: &str, answer: &str, takes: Takes, parameters: &mut Parameters) -> Value {
        let about = match action {
            "list" => format!("List or watch objects of kind {}.", self.kind),
            _ => format!("Read the {}.", self.kind),
        };
        let id = format!("{id}{}{}", self.of, self.subject);
        let mut operation = self.operation(id, (action, about), parameters.of(takes));
        self.answers(&mut operation, &[("200", "OK")], self.schema(answer), action == "list");
        operation.into()
    }

    fn watch(&self, action: &str) -> Value {
        let id = format!("watch{}{}", self.of, self.subject);
        let about = format!("Watch changes of kind {}. Deprecated: use the parameter `watch` of a list.", self.kind);
        let mut operation = self.operation(id, (action, about), Vec::new());
        let schema = self.dialect.reference(&self.schemas.watch_event);
        self.answers(&mut operation, &[("200", "OK")], Some(schema), true);
        operation.into()
    }

    fn write(&self, id: &str, action: &str, kind: &str, parameters: &mut Parameters) -> Value {
        let creates = action == "post";
        let about = format!("{} the {}.", if creates { "Create" } else { "Replace" }, self.kind);
        let id = format!("{id}{}{}", self.of, self.subject);
        let mut operation = self.operation(id, (action, about), parameters.of(Takes::Writing));
        let codes: &[(&str, &str)] = match creates {
            true => &[("200", "OK"), ("201", "Created"), ("202", "Accepted")],
            false => &[("200", "OK"), ("201", "Created")],
        };
        self.answers(&mut operation, codes, self.schema(kind), false);
        if let Some(schema) = self.schema(kind) {
            self.takes(&mut operation, schema, &["*/*"], true, parameters);
        }
        operation.into()
    }

    fn patch(&self, kind: &str, parameters: &mut Parameters) -> Value {
        let id = format!("patch{}{}", self.of, self.subject);
        let about = format!("Change some fields of the {}.", self.kind);
        let mut operation = self.operation(id, ("patch", about), parameters.of(Takes::Patching));
        self.answers(&mut operation, &[("200", "OK"), ("201", "Created")], self.schema(kind), false);
        let mut types =
            vec!["application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"];
        if self.built_in {
            types.push("application/strategic-merge-patch+json");
        }
        self.takes(&mut operation, self.dialect.reference(PATCH), &types, true, parameters);
        operation.into()
    }

    fn delete(&self, collection: &str, action: &str, parameters: &mut Parameters) -> Value {
        let id = format!("delete{}{collection}{}", self.of, self.subject);
        let (takes, codes): (_, &[(&str, &str)]) = match collection {
            "" => (Takes::Deletion, &[("200", "OK"), ("202", "Accepted")]),
            _ => (Takes::Collection, &[("200", "OK")]),
        };
        let about = format!(
            "Delete {} {}.",
            if collection.is_empty() { "the" } else { "all selected objects of kind" },
            self.kind
        );
        let mut operation = self.operation(id, (action, about), parameters.of(takes));
        let answer = self.dialect.reference(&self.schemas.status);
        self.answers(&mut operation, codes, Some(answer), false);
        let options = self.dialect.reference(&self.schemas.delete_options);
        self.takes(&mut operation, options, &["*/*"], false, parameters);
        operation.into()
    }
}

/// A word with its first letter large.
pub fn capitalize(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests;
