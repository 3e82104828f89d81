//! What a definition's author is warned of. Source: `WarningsOnCreate` in
//! `pkg/registry/customresourcedefinition/strategy.go`.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionSpec;
use kubelab_api::structural::{ListType, Schema, value::is_known_format};

/// The warnings about all schemas of a definition.
pub fn of(spec: &CustomResourceDefinitionSpec) -> Vec<String> {
    let schemas = spec.versions.iter().filter_map(|version| version.schema.as_ref()?.open_api_v3_schema.as_ref());
    let mut formats = BTreeSet::new();
    let mut sets = BTreeSet::new();
    for schema in schemas.map(Schema::new) {
        visit(&schema, &mut |schema| {
            let format = &schema.values.format;
            if !format.is_empty() && !is_known_format(&schema.kind, format) {
                formats.insert(format!("unrecognized format {format:?}"));
            }
            let items = schema.items.as_ref().map_or("", |items| &items.kind);
            if schema.list_type == Some(ListType::Set) && ["object", "array"].contains(&items) {
                sets.insert(format!(
                    "x-kubernetes-list-type: set for items of type {items:?} is not supported by server-side apply or CEL \
                     validation rules"
                ));
            }
        });
    }
    formats.into_iter().chain(sets).collect()
}

fn visit(schema: &Schema, look: &mut dyn FnMut(&Schema)) {
    look(schema);
    schema.children().for_each(|child| visit(child, look));
}
