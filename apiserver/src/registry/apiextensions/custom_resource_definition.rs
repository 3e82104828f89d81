//! CustomResourceDefinition. Source: `apiextensions-apiserver/pkg/apis/apiextensions/{v1/defaults,validation/validation}.go`,
//! `apiextensions-apiserver/pkg/registry/customresourcedefinition/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionSpec, CustomResourceDefinitionStatus,
};
use kubelab_api::{
    custom::has_condition,
    field::{Errors, Path},
    well_known::finalizer::CUSTOM_RESOURCE_CLEANUP as CLEANUP,
};
use serde_json::Value;

use super::{acceptance, conversion, validation, warnings};
use crate::registry::{
    cells::{self, CREATED_AT, NAME, cells, created_at, list},
    claims::Claims,
    defaults,
    kind::{Column, Kind},
    validation::immutable,
};

/// See the module.
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
        validation::validate(definition, errors);
    }

    fn validate_create(definition: &CustomResourceDefinition, errors: &mut Errors) {
        conversion::validate_authorities(definition, None, errors);
        validation::validate_approval(definition, None, errors);
        validation::validate_rules(definition, None, errors);
    }

    fn validate_update(new: &CustomResourceDefinition, old: &CustomResourceDefinition, errors: &mut Errors) {
        let path = Path::new("spec");
        if has_condition(old, "Established") {
            immutable(&new.spec.scope, &old.spec.scope, &path.child("scope"), errors);
            immutable(&new.spec.names.kind, &old.spec.names.kind, &path.child("names").child("kind"), errors);
        }
        immutable(&new.spec.group, &old.spec.group, &path.child("group"), errors);
        immutable(&new.spec.names.plural, &old.spec.names.plural, &path.child("names").child("plural"), errors);
        conversion::validate_authorities(new, Some(old), errors);
        validation::validate_approval(new, Some(old), errors);
        validation::validate_rules(new, Some(old), errors);
    }

    fn claim(
        new: Option<&mut CustomResourceDefinition>,
        old: Option<&CustomResourceDefinition>,
        claims: &mut Claims,
        _errors: &mut Errors,
    ) {
        match (new, old) {
            (Some(new), old) => acceptance::accept(new, old, claims),
            (None, Some(old)) => acceptance::release(old, claims),
            (None, None) => {}
        }
    }

    /// A definition goes only after its objects, which a controller deletes.
    fn finalizing(definition: &CustomResourceDefinition) -> bool {
        definition.metadata.deletion_timestamp.is_none()
    }

    fn prepare_delete(definition: &mut CustomResourceDefinition) {
        let finalizers = definition.metadata.finalizers.get_or_insert_default();
        if !finalizers.iter().any(|finalizer| finalizer == CLEANUP) {
            finalizers.push(CLEANUP.into());
        }
        acceptance::terminate(definition);
    }

    fn warnings(definition: &CustomResourceDefinition) -> Vec<String> {
        warnings::of(&definition.spec)
    }

    const COLUMNS: &'static [Column] = &[NAME, CREATED_AT];

    fn cells(definition: &CustomResourceDefinition, _now: Timestamp) -> Vec<Value> {
        cells![cells::name(&definition.metadata), created_at(&definition.metadata)]
    }
}
