//! What may be wrong with a definition. Source: `pkg/apis/apiextensions/validation/validation.go`, which sees what all
//! versions have in common at the top of the spec (`v1/conversion.go`), and names it there.

use std::collections::BTreeSet;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceColumnDefinition, CustomResourceDefinition, CustomResourceDefinitionNames,
    CustomResourceDefinitionSpec, CustomResourceDefinitionVersion, CustomResourceSubresources, SelectableField,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
    structural::{Schema, definition, definition::field_path},
};

use super::conversion;
use crate::registry::{
    cells::{self, list, text},
    custom::{expressions, validation::metadata_of_embedded},
    validation::{form, json, required_choice, required_form},
};

const COLUMN_TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: [&str; 8] = ["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const MAX_SELECTABLE_FIELDS: usize = 8;
const APPROVAL: &str = "api-approved.kubernetes.io";

/// What is wrong with a new or changed definition.
pub fn validate(definition: &CustomResourceDefinition, errors: &mut Errors) {
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
    validate_common(spec, &path, errors);
    conversion::validate(spec.conversion.as_ref(), &path.child("conversion"), errors);
    if spec.preserve_unknown_fields == Some(true) {
        let detail = "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema \
                      instead";
        errors.invalid(&path.child("preserveUnknownFields"), true, detail);
    }
    validate_stored_versions(definition, errors);
}

fn same<T: PartialEq>(
    spec: &CustomResourceDefinitionSpec,
    of: impl Fn(&CustomResourceDefinitionVersion) -> &T,
) -> bool {
    spec.versions.iter().all(|version| of(version) == of(&spec.versions[0]))
}

fn has_status(parts: Option<&CustomResourceSubresources>) -> bool {
    parts.is_some_and(|parts| parts.status.is_some())
}

fn validate_versions(spec: &CustomResourceDefinitionSpec, path: &Path, errors: &mut Errors) {
    let path = path.child("versions");
    let mut names = BTreeSet::new();
    let mut unique = true;
    for (i, version) in spec.versions.iter().enumerate() {
        if version.schema.as_ref().is_none_or(|schema| schema.open_api_v3_schema.is_none()) {
            errors.required(&path.index(i).child("schema").child("openAPIV3Schema"), "");
        }
    }
    for (i, version) in spec.versions.iter().enumerate() {
        let path = path.index(i);
        form(&version.name, name::dns1035_label, &path.child("name"), errors);
        unique &= names.insert(&version.name);
        validate_deprecation(version, &path.child("deprecationWarning"), errors);
        if !same(spec, |version| &version.schema) {
            validate_schema(version, has_status(version.subresources.as_ref()), &path.child("schema"), errors);
        }
        if !same(spec, |version| &version.subresources) {
            validate_parts(version.subresources.as_ref(), &path.child("subresources"), errors);
        }
        if !same(spec, |version| &version.additional_printer_columns) {
            validate_columns(version, &path.child("additionalPrinterColumns"), errors);
        }
        if !same(spec, |version| &version.selectable_fields) {
            validate_selectable(version, &path.child("selectableFields"), errors);
        }
    }
    if !unique {
        errors.invalid(&path, json(&spec.versions), "must contain unique version names");
    }
    if spec.versions.iter().filter(|version| version.storage).count() != 1 {
        errors.invalid(&path, json(&spec.versions), "must have exactly one version marked as storage version");
    }
}

/// What all versions have in common.
fn validate_common(spec: &CustomResourceDefinitionSpec, path: &Path, errors: &mut Errors) {
    let Some(first) = spec.versions.first() else { return };
    if same(spec, |version| &version.schema) {
        let any_status = spec.versions.iter().any(|version| has_status(version.subresources.as_ref()));
        validate_schema(first, any_status, &path.child("validation"), errors);
    }
    if same(spec, |version| &version.subresources) {
        validate_parts(first.subresources.as_ref(), &path.child("subresources"), errors);
    }
    if same(spec, |version| &version.additional_printer_columns) {
        validate_columns(first, &path.child("additionalPrinterColumns"), errors);
    }
    if same(spec, |version| &version.selectable_fields) {
        validate_selectable(first, &path.child("selectableFields"), errors);
    }
}

fn validate_schema(version: &CustomResourceDefinitionVersion, has_status: bool, path: &Path, errors: &mut Errors) {
    let schema = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    if let Some(props) = schema {
        definition::validate(props, has_status, path, &metadata_of_embedded, errors);
    }
}

/// What is wrong with the rules in CEL of the schemas, where nothing is wrong with a schema itself. `old` is what a
/// definition was before.
pub fn validate_rules(new: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>, errors: &mut Errors) {
    let (spec, path) = (&new.spec, Path::new("spec"));
    let schema_of = |version: &CustomResourceDefinitionVersion| version.schema.as_ref()?.open_api_v3_schema.clone();
    let mut check = |version: &CustomResourceDefinitionVersion, has_status: bool, path: &Path| {
        let Some(props) = schema_of(version) else { return };
        let mut ignored = Errors::default();
        if definition::validate(&props, has_status, path, &metadata_of_embedded, &mut ignored) {
            let before = old.into_iter().flat_map(|old| &old.spec.versions).find(|old| old.name == version.name);
            let unchanged = before.and_then(schema_of).is_some_and(|before| before == props);
            expressions::check::check(&Schema::new(&props), unchanged, &path.child("openAPIV3Schema"), errors);
        }
    };
    if spec.versions.is_empty() || !same(spec, |version| &version.schema) {
        for (i, version) in spec.versions.iter().enumerate() {
            let path = path.child("versions").index(i).child("schema");
            check(version, has_status(version.subresources.as_ref()), &path);
        }
    } else {
        let any_status = spec.versions.iter().any(|version| has_status(version.subresources.as_ref()));
        check(&spec.versions[0], any_status, &path.child("validation"));
    }
}

fn validate_deprecation(version: &CustomResourceDefinitionVersion, path: &Path, errors: &mut Errors) {
    let Some(warning) = &version.deprecation_warning else { return };
    if version.deprecated != Some(true) {
        errors.invalid(path, warning.as_str(), "can only be set for deprecated versions");
        return;
    }
    if warning.len() > 256 {
        errors.invalid(path, warning.as_str(), "must be <= 256 characters long");
    }
    if warning.is_empty() {
        errors.invalid(path, "", "must not be an empty string");
    }
    if let Some((index, _)) = warning.char_indices().find(|(_, c)| c.is_control()) {
        let detail =
            format!("must only contain printable UTF-8 characters; non-printable character found at index {index}");
        errors.invalid(path, warning.as_str(), &detail);
    }
}

fn validate_parts(parts: Option<&CustomResourceSubresources>, path: &Path, errors: &mut Errors) {
    let Some(scale) = parts.and_then(|parts| parts.scale.as_ref()) else { return };
    let path = path.child("scale");
    for (field, value, root) in [
        ("specReplicasPath", &scale.spec_replicas_path, ".spec."),
        ("statusReplicasPath", &scale.status_replicas_path, ".status."),
    ] {
        let path = path.child(field);
        if value.is_empty() {
            errors.required(&path, "");
        } else if is_simple_path(value, &path, errors) && !value.starts_with(root) {
            let detail = format!("should be a json path under {}", root.trim_end_matches('.'));
            errors.invalid(&path, value.as_str(), &detail);
        }
    }
    let (selector, path) = (text(&scale.label_selector_path), path.child("labelSelectorPath"));
    if !selector.is_empty()
        && is_simple_path(selector, &path, errors)
        && !selector.starts_with(".spec.")
        && !selector.starts_with(".status.")
    {
        errors.invalid(&path, selector, "should be a json path under either .spec or .status");
    }
}

fn is_simple_path(value: &str, path: &Path, errors: &mut Errors) -> bool {
    let simple = value.starts_with('.');
    if !simple {
        errors.invalid(path, value, "must be a simple json path starting with .");
    }
    simple
}

fn validate_columns(version: &CustomResourceDefinitionVersion, path: &Path, errors: &mut Errors) {
    for (i, column) in list(&version.additional_printer_columns).iter().enumerate() {
        validate_column(column, &path.index(i), errors);
    }
}

fn validate_column(column: &CustomResourceColumnDefinition, path: &Path, errors: &mut Errors) {
    if column.name.is_empty() {
        errors.required(&path.child("name"), "");
    }
    let detail = format!("must be one of {}", COLUMN_TYPES.join(","));
    match column.type_.as_str() {
        "" => errors.required(&path.child("type"), &detail),
        kind if !COLUMN_TYPES.contains(&kind) => errors.invalid(&path.child("type"), kind, &detail),
        _ => {}
    }
    let format = text(&column.format);
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format) {
        let detail = format!("must be one of {}", COLUMN_FORMATS.join(","));
        errors.invalid(&path.child("format"), format, &detail);
    }
    if column.json_path.is_empty() {
        errors.required(&path.child("JSONPath"), "");
    } else {
        is_simple_path(&column.json_path, &path.child("JSONPath"), errors);
    }
}

fn validate_selectable(version: &CustomResourceDefinitionVersion, path: &Path, errors: &mut Errors) {
    let fields: &[SelectableField] = list(&version.selectable_fields);
    let props = version.schema.as_ref().and_then(|schema| schema.open_api_v3_schema.as_ref());
    let schema = props.map(Schema::new).unwrap_or_default();
    let mut seen = BTreeSet::new();
    for (i, field) in fields.iter().enumerate() {
        let (given, path) = (field.json_path.as_str(), path.index(i).child("jsonPath"));
        if given.is_empty() {
            errors.required(&path, "");
            continue;
        }
        match field_path::find(given, &schema, false) {
            Err(why) => errors.invalid(&path, given, &format!("is an invalid path: {why}")),
            Ok((found, field)) => {
                if given == ".metadata" || given.starts_with(".metadata.") {
                    errors.invalid(&path, given, "must not point to fields in metadata");
                }
                if !["string", "boolean", "integer"].contains(&field.kind.as_str()) {
                    let detail = "must point to a field of type string, boolean or integer. Enum string fields and \
                                  strings with formats are allowed.";
                    errors.invalid(&path, given, detail);
                }
                if !seen.insert(found.to_string()) {
                    errors.duplicate(&path, given);
                }
            }
        }
    }
    if seen.len() > MAX_SELECTABLE_FIELDS {
        errors.too_many(path, seen.len(), MAX_SELECTABLE_FIELDS);
    }
}

fn validate_names(names: &CustomResourceDefinitionNames, path: &Path, errors: &mut Errors) {
    let (singular, list_kind) = (text(&names.singular), text(&names.list_kind));
    for (value, field) in [(names.plural.as_str(), "plural"), (singular, "singular")] {
        required_form(value, name::dns1035_label, &path.child(field), errors);
    }
    let lower = |value: &str| name::dns1035_label(&value.to_lowercase());
    for (value, field) in [(names.kind.as_str(), "kind"), (list_kind, "listKind")] {
        let wrong = lower(value);
        if value.is_empty() {
            errors.required(&path.child(field), "");
        } else if !wrong.is_empty() {
            let detail = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
            errors.invalid(&path.child(field), value, &detail);
        }
    }
    for (i, short) in list(&names.short_names).iter().enumerate() {
        form(short, name::dns1035_label, &path.child("shortNames").index(i), errors);
    }
    if !names.kind.is_empty() && names.kind == list_kind {
        errors.invalid(&path.child("listKind"), list_kind, "kind and listKind may not be the same");
    }
    for (i, category) in list(&names.categories).iter().enumerate() {
        form(category, name::dns1035_label, &path.child("categories").index(i), errors);
    }
}

fn validate_stored_versions(definition: &CustomResourceDefinition, errors: &mut Errors) {
    let stored = definition.status.as_ref().map_or(&[][..], |status| list(&status.stored_versions));
    for (i, version) in stored.iter().enumerate() {
        if !definition.spec.versions.iter().any(|known| known.name == *version) {
            let detail = format!(
                "missing from spec.versions; {version} was previously a storage version, and must remain in \
                 spec.versions until a storage migration ensures no data remains persisted in {version} and removes \
                 {version} from status.storedVersions"
            );
            let path = Path::new("status").child("storedVersions").index(i);
            errors.invalid(&path, version.as_str(), &detail);
        }
    }
}

/// How a definition stands to the groups that belong to the community. Source: `pkg/apihelpers/helpers.go`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// The annotation is a URL.
    Approved,
    /// The annotation says why it needs none.
    Bypassed,
    /// There is no annotation.
    Missing,
    /// The annotation is neither.
    Invalid,
}

/// The approval of a definition in a protected group, and why; `None` in all other groups.
pub fn approval(definition: &CustomResourceDefinition) -> Option<(Approval, String)> {
    let group = definition.spec.group.as_str();
    let protected = ["k8s.io", "kubernetes.io"];
    if !protected.iter().any(|name| group == *name || group.ends_with(&format!(".{name}"))) {
        return None;
    }
    let annotations = definition.metadata.annotations.as_ref();
    let given = annotations.and_then(|annotations| annotations.get(APPROVAL)).map_or("", String::as_str);
    let pull = "see https://github.com/kubernetes/enhancements/pull/1111";
    let is_url = given.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    Some(match given {
        "" => (Approval::Missing, format!("protected groups must have approval annotation {APPROVAL:?}, {pull}")),
        _ if given.starts_with("unapproved") => (Approval::Bypassed, format!("not approved: {given:?}")),
        _ if is_url => (Approval::Approved, format!("approved in {given}")),
        _ => {
            let detail = format!(
                "protected groups must have approval annotation {APPROVAL:?} with either a URL or a reason starting \
                 with \"unapproved\", {pull}"
            );
            (Approval::Invalid, detail)
        }
    })
}

/// A definition in a protected group says who approved it. What did not change is not asked for again.
pub fn validate_approval(new: &CustomResourceDefinition, old: Option<&CustomResourceDefinition>, errors: &mut Errors) {
    let Some((state, reason)) = approval(new) else { return };
    if old.and_then(approval).is_some_and(|(old, _)| old == state) {
        return;
    }
    let path = Path::new("metadata").child("annotations").key(APPROVAL);
    match state {
        Approval::Approved | Approval::Bypassed => {}
        Approval::Missing => errors.required(&path, &reason),
        Approval::Invalid => {
            let annotations = new.metadata.annotations.as_ref();
            let given = annotations.and_then(|annotations| annotations.get(APPROVAL));
            errors.invalid(&path, given.map_or("", String::as_str), &reason);
        }
    }
}
