//! The schemas of objects: `k8s-openapi`'s, with what upstream adds to them.

use std::{collections::HashMap, sync::LazyLock};

use k8s_openapi::{
    api::{authentication::v1::TokenRequest, autoscaling::v1::Scale, core::v1::Binding, policy::v1::Eviction},
    apimachinery::pkg::apis::meta::v1::{APIResourceList, DeleteOptions, ListMeta, Status},
    schemars::{Schema, SchemaGenerator, generate::SchemaSettings},
};
use kubelab_api::{Resource, patch::schema::list_types};
use serde_json::{Map, Value, json};

/// Which of the two formats the schemas are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Swagger 2.0.
    V2,
    /// OpenAPI 3.0.
    V3,
}

impl Dialect {
    fn path(self) -> &'static str {
        match self {
            Dialect::V2 => "/definitions",
            Dialect::V3 => "/components/schemas",
        }
    }

    /// A reference to a schema.
    pub fn reference(self, name: &str) -> Value {
        json!({ "$ref": format!("#{}/{name}", self.path()) })
    }
}

/// The name under which every patch is known.
pub const PATCH: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.Patch";

const WATCH_EVENT: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent";

/// Schemas by name, and the names of what requests carry.
pub struct Schemas {
    /// By name, in order.
    pub definitions: Map<String, Value>,
    /// The schema of each resource's objects, by group, version and kind.
    kinds: HashMap<[String; 3], String>,
    /// `DeleteOptions`.
    pub delete_options: String,
    /// `Status`.
    pub status: String,
    /// `APIResourceList`.
    pub resource_list: String,
    /// `WatchEvent`.
    pub watch_event: String,
}

impl Schemas {
    /// The schemas of these resources and all that they hold. `schema` adds one resource's.
    pub fn collect<'a>(
        resources: impl Iterator<Item = &'a Resource>,
        mut schema: impl FnMut(&Resource, &mut SchemaGenerator) -> Option<Schema>,
        dialect: Dialect,
    ) -> Self {
        let settings = SchemaSettings::draft07().with(|settings| settings.definitions_path = dialect.path().into());
        let mut generator = settings.into_generator();
        let status = name(&generator.subschema_for::<Status>());
        let delete_options = name(&generator.subschema_for::<DeleteOptions>());
        let list_meta = name(&generator.subschema_for::<ListMeta>());
        let resource_list = name(&generator.subschema_for::<APIResourceList>());
        let mut kinds = HashMap::new();
        let mut named: Vec<(String, Value)> = Vec::new();
        let mut lists = Vec::new();
        for resource in resources {
            let Some(schema) = schema(resource, &mut generator) else { continue };
            let of_kind = name(&schema);
            named.push((of_kind.clone(), gvk(&resource.group, &resource.version, &resource.kind)));
            let place = |kind: &str| [&resource.group, &resource.version, kind].map(|part: &str| part.to_owned());
            kinds.insert(place(&resource.kind), of_kind.clone());
            if resource.verbs != kubelab_api::resource::Verbs::Create {
                let list = of_kind.replace(&*resource.kind, &resource.list_kind());
                lists.push((list.clone(), list_schema(&of_kind, resource, &list_meta, dialect)));
                let kind = resource.list_kind();
                named.push((list.clone(), gvk(&resource.group, &resource.version, &kind)));
                kinds.insert(place(&kind), list);
            }
            for part in resource.subresources.iter() {
                let (of_part, gvk) = match &**part {
                    "scale" => (generator.subschema_for::<Scale>(), gvk("autoscaling", "v1", "Scale")),
                    "binding" => (generator.subschema_for::<Binding>(), gvk("", "v1", "Binding")),
                    "eviction" => (generator.subschema_for::<Eviction>(), gvk("policy", "v1", "Eviction")),
                    "token" => {
                        (generator.subschema_for::<TokenRequest>(), gvk("authentication.k8s.io", "v1", "TokenRequest"))
                    }
                    _ => continue,
                };
                let of_part = name(&of_part);
                let place = ["group", "version", "kind"].map(|part| gvk[part].as_str().unwrap_or_default().to_owned());
                kinds.insert(place, of_part.clone());
                named.push((of_part, gvk));
            }
        }
        let mut definitions = generator.take_definitions(false);
        definitions.extend(lists);
        definitions.insert(
            PATCH.to_owned(),
            json!({
                "description": "Patch is provided to give a concrete name and type to the Kubernetes PATCH request body.",
                "type": "object",
            }),
        );
        definitions.insert(
            WATCH_EVENT.to_owned(),
            json!({
                "description": "What happened to an object that is watched.",
                "type": "object",
                "properties": {
                    "object": { "description": "The object, or a Status for an error.", "type": "object" },
                    "type": { "description": "ADDED, MODIFIED, DELETED, BOOKMARK or ERROR.", "type": "string" },
                },
                "required": ["type", "object"],
            }),
        );
        for (name, definition) in &mut definitions {
            add_list_types(name, definition);
            translate(definition, dialect);
        }
        for (name, gvk) in named {
            if let Some(definition) = definitions.get_mut(&name) {
                make_metadata_optional(definition);
                definition["x-kubernetes-group-version-kind"] = json!([gvk]);
            }
        }
        definitions.sort_keys();
        let watch_event = WATCH_EVENT.to_owned();
        Self { definitions, kinds, delete_options, status, resource_list, watch_event }
    }

    /// The name of a kind's schema.
    pub fn kind(&self, (group, version, kind): (&str, &str, &str)) -> Option<&str> {
        self.kinds.get(&[group, version, kind].map(str::to_owned)).map(String::as_str)
    }
}

/// A reference to one type's schema, and the schemas of all that it holds.
pub fn definitions(of: impl FnOnce(&mut SchemaGenerator) -> Schema, dialect: Dialect) -> (Value, Map<String, Value>) {
    let settings = SchemaSettings::draft07().with(|settings| settings.definitions_path = dialect.path().into());
    let mut generator = settings.into_generator();
    let reference = dialect.reference(&name(&of(&mut generator)));
    let mut definitions = generator.take_definitions(false);
    definitions.values_mut().for_each(|definition| translate(definition, dialect));
    (reference, definitions)
}

/// A group, version and kind, as extensions hold it.
pub fn gvk(group: &str, version: &str, kind: &str) -> Value {
    json!({ "group": group, "version": version, "kind": kind })
}

/// The name that a reference points to.
fn name(schema: &Schema) -> String {
    let reference = schema.get("$ref").and_then(Value::as_str).unwrap_or_default();
    reference.rsplit('/').next().unwrap_or_default().to_owned()
}

fn list_schema(of_kind: &str, resource: &Resource, list_meta: &str, dialect: Dialect) -> Value {
    let mut metadata = dialect.reference(list_meta);
    metadata["description"] = "Standard list metadata.".into();
    json!({
        "description": format!("{} is a list of {}", resource.list_kind(), resource.kind),
        "type": "object",
        "properties": {
            "apiVersion": { "description": "APIVersion is the version of this representation.", "type": "string" },
            "items": {
                "description": "Items is the list of objects.",
                "type": "array",
                "items": dialect.reference(of_kind),
            },
            "kind": { "description": "Kind names the REST resource that this object represents.", "type": "string" },
            "metadata": metadata,
        },
        "required": ["items"],
    })
}

/// `k8s-openapi` always has metadata, and says so; clients may leave it out.
fn make_metadata_optional(definition: &mut Value) {
    let Some(object) = definition.as_object_mut() else { return };
    if let Some(Value::Array(required)) = object.get_mut("required") {
        required.retain(|name| name != "metadata");
        if required.is_empty() {
            object.remove("required");
        }
    }
}

type ListType = [&'static str; 6];

/// The rows about each type: `apps/v1.Deployment`.
static LIST_TYPES: LazyLock<HashMap<&'static str, Vec<ListType>>> = LazyLock::new(|| {
    let mut table: HashMap<_, Vec<ListType>> = HashMap::new();
    for row in list_types() {
        table.entry(row[0]).or_default().push(row);
    }
    table
});

/// Adds list and map types, keys and patch strategies, which `k8s-openapi` does not know.
fn add_list_types(name: &str, definition: &mut Value) {
    let mut parts = name.rsplitn(4, '.');
    let (Some(kind), Some(version), Some(group)) = (parts.next(), parts.next(), parts.next()) else { return };
    let Some(rows) = LIST_TYPES.get(format!("{group}/{version}.{kind}").as_str()) else { return };
    for [_, field, topology, keys, strategy, merge_key] in rows {
        let target = if field.is_empty() { Some(&mut *definition) } else { definition["properties"].get_mut(*field) };
        let Some(Value::Object(target)) = target else { continue };
        match topology.split_once(':') {
            Some((_, topology)) => {
                target.insert("x-kubernetes-map-type".into(), topology.into());
            }
            None if !topology.is_empty() => {
                target.insert("x-kubernetes-list-type".into(), (*topology).into());
            }
            None => {}
        }
        if !keys.is_empty() {
            target.insert("x-kubernetes-list-map-keys".into(), keys.split(',').collect());
        }
        if !strategy.is_empty() {
            target.insert("x-kubernetes-patch-strategy".into(), (*strategy).into());
        }
        if !merge_key.is_empty() {
            target.insert("x-kubernetes-patch-merge-key".into(), (*merge_key).into());
        }
    }
}

/// From JSON schema as schemars writes it to what Kubernetes' clients read.
fn translate(schema: &mut Value, dialect: Dialect) {
    match schema {
        Value::Bool(_) => *schema = json!({}),
        Value::Object(object) => {
            if object.remove("x-kubernetes-int-or-string").is_some() {
                let quantity = object
                    .get("description")
                    .and_then(Value::as_str)
                    .is_some_and(|description| description.starts_with("Quantity "));
                let (format, other) = if quantity { (None, "number") } else { (Some("int-or-string"), "integer") };
                if let Some(format) = format {
                    object.insert("format".into(), format.into());
                }
                match dialect {
                    Dialect::V2 => object.insert("type".into(), "string".into()),
                    Dialect::V3 => object.insert("oneOf".into(), json!([{ "type": "string" }, { "type": other }])),
                };
            }
            // OpenAPI 3.0 ignores what stands beside a reference, so the reference moves into an `allOf`.
            if dialect == Dialect::V3 && object.len() > 1 && object.contains_key("$ref") {
                let reference = object.remove("$ref");
                object.insert("allOf".into(), json!([{ "$ref": reference }]));
            }
            for (key, value) in object {
                match key.as_str() {
                    "properties" => {
                        for value in value.as_object_mut().into_iter().flat_map(Map::values_mut) {
                            translate(value, dialect);
                        }
                    }
                    "items" | "additionalProperties" => translate(value, dialect),
                    "oneOf" | "anyOf" | "allOf" => {
                        for value in value.as_array_mut().into_iter().flatten() {
                            translate(value, dialect);
                        }
                    }
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod};
    use kubelab_api::resource;

    use super::*;

    fn apps(dialect: Dialect) -> Schemas {
        let of = |resource: &Resource, generator: &mut SchemaGenerator| match &*resource.kind {
            "Deployment" => Some(generator.subschema_for::<Deployment>()),
            "Pod" => Some(generator.subschema_for::<Pod>()),
            _ => None,
        };
        Schemas::collect(resource::BUILT_IN.iter(), of, dialect)
    }

    #[test]
    fn lists_tell_how_they_merge() {
        let schemas = apps(Dialect::V3).definitions;
        let containers = &schemas["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
        assert_eq!(containers["x-kubernetes-list-type"], "map");
        assert_eq!(containers["x-kubernetes-list-map-keys"], json!(["name"]));
        assert_eq!(containers["x-kubernetes-patch-strategy"], "merge");
        assert_eq!(containers["x-kubernetes-patch-merge-key"], "name");
        let strategy = &schemas["io.k8s.api.apps.v1.DeploymentSpec"]["properties"]["strategy"];
        assert_eq!(strategy["x-kubernetes-patch-strategy"], "retainKeys");
        assert_eq!(schemas["io.k8s.apimachinery.pkg.apis.meta.v1.LabelSelector"]["x-kubernetes-map-type"], "atomic");
    }

    #[test]
    fn kinds_carry_their_group_and_version() {
        let schemas = apps(Dialect::V3);
        assert_eq!(schemas.kind(("apps", "v1", "Deployment")), Some("io.k8s.api.apps.v1.Deployment"));
        assert_eq!(schemas.kind(("autoscaling", "v1", "Scale")), Some("io.k8s.api.autoscaling.v1.Scale"));
        assert_eq!(
            schemas.definitions["io.k8s.api.apps.v1.Deployment"]["x-kubernetes-group-version-kind"],
            json!([{ "group": "apps", "version": "v1", "kind": "Deployment" }])
        );
        assert_eq!(schemas.definitions["io.k8s.api.apps.v1.Deployment"]["required"], json!(["spec"]));
        let items = &schemas.definitions["io.k8s.api.apps.v1.DeploymentList"]["properties"]["items"]["items"];
        assert_eq!(items["$ref"], "#/components/schemas/io.k8s.api.apps.v1.Deployment");
    }

    #[test]
    fn references_and_mixed_types_follow_the_dialect() {
        let v3 = apps(Dialect::V3).definitions;
        let spec = &v3["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"];
        assert_eq!(spec["allOf"][0]["$ref"], "#/components/schemas/io.k8s.api.apps.v1.DeploymentSpec");
        assert!(spec["description"].is_string());
        assert_eq!(v3["io.k8s.apimachinery.pkg.api.resource.Quantity"]["oneOf"][1]["type"], "number");
        assert_eq!(v3["io.k8s.apimachinery.pkg.util.intstr.IntOrString"]["format"], "int-or-string");
        let v2 = apps(Dialect::V2).definitions;
        let spec = &v2["io.k8s.api.apps.v1.Deployment"]["properties"]["spec"];
        assert_eq!(spec["$ref"], "#/definitions/io.k8s.api.apps.v1.DeploymentSpec");
        assert_eq!(v2["io.k8s.apimachinery.pkg.api.resource.Quantity"]["type"], "string");
    }
}
