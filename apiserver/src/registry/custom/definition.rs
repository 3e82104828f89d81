//! A CustomResourceDefinition, ready to be used.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::Arc,
};

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionVersion, JSONSchemaProps,
};
use kubelab_api::{
    custom::{has_condition, resources},
    jsonpath::JsonPath,
    meta::is_deleting,
    patch,
    resource::Text,
    structural::Schema,
};
use kubelab_store::{Key, Revision};

use super::{
    columns::Columns, conversion_webhook::Webhook, expressions::Expressions, rules::CustomRules, scale::ScalePaths,
};
use crate::registry::handler::Handler;

/// What is known of a kind.
pub struct Definition {
    /// Where it is stored.
    pub key: Key,
    /// When it was last written.
    pub modified: Revision,
    /// Counts the changes of what follows.
    pub generation: i64,
    /// Tells what it says from what it, or another of the same name, said before.
    pub fingerprint: u64,
    /// The group.
    pub group: String,
    /// The kind.
    pub kind: String,
    /// The plural.
    pub plural: String,
    /// Its objects live in namespaces.
    pub namespaced: bool,
    /// It is being deleted, and nothing new is taken.
    pub ending: bool,
    /// What makes one version of another, where they do not look alike.
    pub webhook: Option<Arc<Webhook>>,
    /// Its versions.
    pub versions: Vec<Version>,
    /// The version in which objects are stored.
    pub storage: usize,
}

/// One version of a kind.
pub struct Version {
    /// `v1`.
    pub name: String,
    /// `example.com/v1`.
    pub api_version: String,
    /// What its objects must be.
    pub schema: Schema,
    /// The same, as it was written.
    pub props: JSONSchemaProps,
    /// Its rules in CEL.
    pub expressions: Option<Expressions>,
    /// `status` is a part with verbs of its own.
    pub has_status: bool,
    /// Where replicas are counted.
    pub scale: Option<ScalePaths>,
    /// How objects are printed.
    pub columns: Columns,
    /// The fields by which objects can be selected, beside name and namespace.
    pub selectable: Vec<(Text, JsonPath)>,
    /// What everyone is told who uses this version.
    pub warning: Option<String>,
}

impl Definition {
    /// The version with this name.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// The version of an apiVersion; the stored one for others.
    pub fn version_of(&self, api_version: &str) -> &Version {
        let name = api_version.strip_prefix(self.group.as_str()).and_then(|rest| rest.strip_prefix('/'));
        name.and_then(|name| self.version(name)).unwrap_or(&self.versions[self.storage])
    }
}

/// The handlers of the versions that are served; none before the definition is accepted.
pub fn handlers(crd: &CustomResourceDefinition, key: Key, modified: Revision) -> Vec<Handler> {
    let rows = resources(crd);
    let spec = &crd.spec;
    let Some(storage) = spec.versions.iter().position(|version| version.storage) else { return Vec::new() };
    if rows.is_empty() {
        return Vec::new();
    }
    let mut hasher = DefaultHasher::new();
    crd.metadata.uid.hash(&mut hasher);
    serde_json::to_string(spec).unwrap_or_default().hash(&mut hasher);
    let definition = Arc::new(Definition {
        key,
        modified,
        generation: crd.metadata.generation.unwrap_or_default(),
        fingerprint: hasher.finish(),
        group: spec.group.clone(),
        kind: spec.names.kind.clone(),
        plural: spec.names.plural.clone(),
        namespaced: spec.scope == "Namespaced",
        ending: is_deleting(&crd.metadata) || has_condition(crd, "Terminating"),
        webhook: Webhook::of(&spec.names.kind, spec.conversion.as_ref()),
        versions: spec.versions.iter().map(|version| Version::new(&spec.group, &spec.names.kind, version)).collect(),
        storage,
    });
    rows.into_iter()
        .filter_map(|resource| {
            let version = definition.versions.iter().position(|version| version.name == resource.version)?;
            let rules = CustomRules::new(Arc::clone(&definition), version);
            let props = serde_json::to_value(&definition.versions[version].props).ok()?;
            let types = patch::Schema::from_structural(&props);
            Some(Handler::custom(resource, Arc::clone(&definition), Box::new(rules), types))
        })
        .collect()
}

impl Version {
    fn new(group: &str, kind: &str, version: &CustomResourceDefinitionVersion) -> Self {
        let props = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.clone()).unwrap_or_default();
        let parts = version.subresources.as_ref();
        let selectable = version.selectable_fields.iter().flatten();
        let api_version = format!("{group}/{}", version.name);
        // Source: `pkg/apiserver/customresource_handler.go`, `getOrCreateServingInfoFor`.
        let warning = version.deprecated.unwrap_or_default().then(|| {
            version.deprecation_warning.clone().unwrap_or_else(|| format!("{api_version} {kind} is deprecated"))
        });
        let schema = Schema::new(&props);
        Self {
            name: version.name.clone(),
            api_version,
            expressions: Expressions::new(&schema),
            schema,
            props,
            has_status: parts.is_some_and(|parts| parts.status.is_some()),
            scale: parts.and_then(|parts| parts.scale.as_ref()).map(ScalePaths::new),
            columns: Columns::new(version.additional_printer_columns.as_deref().unwrap_or_default()),
            selectable: selectable
                .filter_map(|field| {
                    let name = field.json_path.trim_start_matches('.').to_owned();
                    Some((name.into(), JsonPath::parse(&field.json_path).ok()?))
                })
                .collect(),
            warning,
        }
    }
}
