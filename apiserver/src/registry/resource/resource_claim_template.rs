//! ResourceClaimTemplate. Source: `pkg/apis/resource/validation/validation.go`, `printResourceClaimTemplate`.

use jiff::Timestamp;
use k8s_openapi::api::resource::v1::ResourceClaimTemplate;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::devices;
use crate::registry::{
    cells::{self, AGE, NAME, cells},
    kind::{Column, Kind, age},
    validation::immutable,
};

/// ResourceClaimTemplate.
pub struct ResourceClaimTemplateKind;

impl Kind for ResourceClaimTemplateKind {
    type Object = ResourceClaimTemplate;

    fn default(template: &mut ResourceClaimTemplate) {
        devices::default(template.spec.get_or_insert_default().spec.get_or_insert_default());
    }

    fn validate_create(template: &ResourceClaimTemplate, errors: &mut Errors) {
        let spec = template.spec.clone().unwrap_or_default().spec.unwrap_or_default();
        devices::validate(&spec, &Path::new("spec").child("spec"), errors);
    }

    fn validate_update(new: &ResourceClaimTemplate, old: &ResourceClaimTemplate, errors: &mut Errors) {
        immutable(&new.spec, &old.spec, &Path::new("spec"), errors);
    }

    const COLUMNS: &'static [Column] = &[NAME, AGE];

    fn cells(template: &ResourceClaimTemplate, now: Timestamp) -> Vec<Value> {
        cells![cells::name(&template.metadata), age(&template.metadata, now)]
    }
}
