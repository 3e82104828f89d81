//! CustomResourceDefinition. Source: `apiextensions-apiserver/pkg/apis/apiextensions/{v1/defaults,validation/validation}.go`,
//! `apiextensions-apiserver/pkg/registry/customresourcedefinition/strategy.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionNames, CustomResourceDefinitionSpec,
    CustomResourceDefinitionStatus,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, CREATED_AT, NAME, cells, created_at, list, text},
    defaults,
    kind::{Column, Kind},
    validation::{form, immutable, json, required_choice, required_form},
};

/// CustomResourceDefinition.
pub struct CustomResourceDefinitionKind;

/// The versions in which objects are or were stored, the new one included.
fn stored_versions(spec: &CustomResourceDefinitionSpec, before: &[String]) -> Vec<String> {
    let mut versions = before.to_vec();
    let storage = spec.versions.iter().find(|version| version.storage).map(|version| version.name.clone());
    versions.extend(storage.filter(|storage| !before.contains(storage)));
    versions
}

impl Kind for CustomResourceDefinitionKind {
    type Object = CustomResourceDefinition;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(definition: &mut CustomResourceDefinition) {
        let spec = &mut definition.spec;
        if spec.scope.is_empty() {
            spec.scope = "Namespaced".into();
        }
        let kind = spec.names.kind.clone();
        defaults::text(&mut spec.names.singular, &kind.to_lowercase());
        defaults::text(&mut spec.names.list_kind, &format!("{kind}List"));
        let conversion = spec.conversion.get_or_insert_default();
        if conversion.strategy.is_empty() {
            conversion.strategy = "None".into();
        }
        let service = conversion.webhook.as_mut().and_then(|webhook| webhook.client_config.as_mut()?.service.as_mut());
        if let Some(service) = service {
            defaults::missing(&mut service.port, 443);
        }
    }

    fn prepare_create(definition: &mut CustomResourceDefinition) {
        definition.status = Some(CustomResourceDefinitionStatus {
            stored_versions: Some(stored_versions(&definition.spec, &[])),
            ..Default::default()
        });
    }

    fn prepare_update(new: &mut CustomResourceDefinition, old: &CustomResourceDefinition) {
        new.status.clone_from(&old.status);
        let status = new.status.get_or_insert_default();
        status.stored_versions = Some(stored_versions(&new.spec, list(&status.stored_versions)));
    }

    fn prepare_status_update(new: &mut CustomResourceDefinition, old: &CustomResourceDefinition) {
        new.spec.clone_from(&old.spec);
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &CustomResourceDefinition, old: &CustomResourceDefinition) -> bool {
        new.spec != old.spec
    }

    fn validate(definition: &CustomResourceDefinition, errors: &mut Errors) {
        let (spec, path) = (&definition.spec, Path::new("spec"));
        let own = cells::name(&definition.metadata);
        if own != format!("{}.{}", spec.names.plural, spec.group) {
            let detail = "must be spec.names.plural+\".\"+spec.group";
            errors.invalid(&Path::new("metadata").child("name"), own, detail);
        }
        required_form(&spec.group, name::dns1123_subdomain, &path.child("group"), errors);
        if !spec.group.is_empty() && spec.group.split('.').count() < 2 {
            let detail = "should be a domain with at least one dot";
            errors.invalid(&path.child("group"), spec.group.as_str(), detail);
        }
        required_choice(&spec.scope, &["Cluster", "Namespaced"], &path.child("scope"), errors);
        validate_versions(spec, &path, errors);
        validate_names(&spec.names, &path.child("names"), errors);
        let strategy = spec.conversion.as_ref().map_or("", |conversion| &conversion.strategy);
        required_choice(strategy, &["None", "Webhook"], &path.child("conversion").child("strategy"), errors);
        if spec.preserve_unknown_fields == Some(true) {
            let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema \
                          instead";
            errors.invalid(&path.child("preserveUnknownFields"), true, detail);
        }
    }

    fn validate_update(new: &CustomResourceDefinition, old: &CustomResourceDefinition, errors: &mut Errors) {
        let path = Path::new("spec");
        immutable(&new.spec.group, &old.spec.group, &path.child("group"), errors);
        immutable(&new.spec.names.plural, &old.spec.names.plural, &path.child("names").child("plural"), errors);
        let conditions = old.status.as_ref().map_or(&[][..], |status| list(&status.conditions));
        let established = conditions.iter().any(|c| c.type_ == "Established" && c.status == "True");
        if established {
            immutable(&new.spec.scope, &old.spec.scope, &path.child("scope"), errors);
            immutable(&new.spec.names.kind, &old.spec.names.kind, &path.child("names").child("kind"), errors);
        }
        let stored = new.status.as_ref().map_or(&[][..], |status| list(&status.stored_versions));
        for (i, version) in stored.iter().enumerate() {
            if !new.spec.versions.iter().any(|known| known.name == *version) {
                let path = Path::new("status").child("storedVersions").index(i);
                errors.invalid(
                    &path,
                    version.as_str(),
                    "missing from spec.versions; \
                    must remain in spec.versions until a storage migration ensures no data remains persisted in the \
                    version and removes it from status.storedVersions",
                );
            }
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, CREATED_AT];

    fn cells(definition: &CustomResourceDefinition, _now: Timestamp) -> Vec<Value> {
        cells![cells::name(&definition.metadata), created_at(&definition.metadata)]
    }
}

fn validate_versions(spec: &CustomResourceDefinitionSpec, path: &Path, errors: &mut Errors) {
    let path = path.child("versions");
    let mut names = BTreeSet::new();
    let mut unique = true;
    for (i, version) in spec.versions.iter().enumerate() {
        let path = path.index(i);
        form(&version.name, name::dns1035_label, &path.child("name"), errors);
        unique &= names.insert(&version.name);
        let has_schema = version.schema.as_ref().is_some_and(|schema| schema.open_api_v3_schema.is_some());
        if !has_schema {
            errors.required(&path.child("schema").child("openAPIV3Schema"), "schemas are required");
        }
        if version.deprecation_warning.is_some() && version.deprecated != Some(true) {
            let detail = "can only be set for deprecated versions";
            errors.invalid(&path.child("deprecationWarning"), text(&version.deprecation_warning), detail);
        }
        for (i, column) in list(&version.additional_printer_columns).iter().enumerate() {
            let path = path.child("additionalPrinterColumns").index(i);
            if column.name.is_empty() {
                errors.required(&path.child("name"), "");
            }
            let types = ["boolean", "date", "integer", "number", "string"];
            if column.type_.is_empty() {
                let detail = "must be one of boolean,date,integer,number,string";
                errors.required(&path.child("type"), detail);
            } else if !types.contains(&column.type_.as_str()) {
                let detail = "must be one of boolean,date,integer,number,string";
                errors.invalid(&path.child("type"), column.type_.as_str(), detail);
            }
            if column.json_path.is_empty() {
                errors.required(&path.child("jsonPath"), "");
            }
        }
    }
    if !unique {
        errors.invalid(&path, json(&spec.versions), "must contain unique version names");
    }
    if spec.versions.iter().filter(|version| version.storage).count() != 1 {
        errors.invalid(&path, json(&spec.versions), "must have exactly one version marked as storage version");
    }
}

fn validate_names(names: &CustomResourceDefinitionNames, path: &Path, errors: &mut Errors) {
    required_form(&names.plural, name::dns1035_label, &path.child("plural"), errors);
    let singular = text(&names.singular);
    if !singular.is_empty() {
        form(singular, name::dns1035_label, &path.child("singular"), errors);
    }
    let (kind, list_kind) = (names.kind.as_str(), text(&names.list_kind));
    let lower = |value: &str| name::dns1035_label(&value.to_lowercase());
    for (value, field) in [(kind, "kind"), (list_kind, "listKind")] {
        match value {
            "" => errors.required(&path.child(field), ""),
            _ => {
                for wrong in lower(value) {
                    let detail = format!("may have mixed case, but should otherwise match: {wrong}");
                    errors.invalid(&path.child(field), value, &detail);
                }
            }
        }
    }
    for (i, short) in list(&names.short_names).iter().enumerate() {
        form(short, name::dns1035_label, &path.child("shortNames").index(i), errors);
    }
    if !kind.is_empty() && kind == list_kind {
        errors.invalid(&path.child("listKind"), list_kind, "kind and listKind may not be the same");
    }
    for (i, category) in list(&names.categories).iter().enumerate() {
        form(category, name::dns1035_label, &path.child("categories").index(i), errors);
    }
}
