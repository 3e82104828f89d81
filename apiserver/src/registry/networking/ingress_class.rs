//! IngressClass. Source: `pkg/apis/networking/v1/defaults.go`, `pkg/apis/networking/validation/validation.go`.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::IngressClass;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells, text},
    defaults,
    kind::{Column, Kind, age, column},
    validation::{immutable, required},
};

/// IngressClass.
pub struct IngressClassKind;

impl Kind for IngressClassKind {
    type Object = IngressClass;

    fn default(class: &mut IngressClass) {
        if let Some(parameters) = class.spec.as_mut().and_then(|spec| spec.parameters.as_mut()) {
            defaults::text(&mut parameters.scope, "Cluster");
        }
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &IngressClass, old: &IngressClass) -> bool {
        new.spec != old.spec
    }

    fn validate(class: &IngressClass, errors: &mut Errors) {
        let controller = class.spec.as_ref().map_or("", |spec| text(&spec.controller));
        let path = Path::new("spec").child("controller");
        if controller.is_empty() {
            required(controller, &path, errors);
        } else if !controller.contains('/') {
            errors.invalid(&path, controller, "must be a domain-prefixed path (such as \"acme.io/foo\")");
        }
    }

    fn validate_update(new: &IngressClass, old: &IngressClass, errors: &mut Errors) {
        let controller = |class: &IngressClass| class.spec.as_ref().and_then(|spec| spec.controller.clone());
        immutable(&controller(new), &controller(old), &Path::new("spec").child("controller"), errors);
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Controller", "string"), column("Parameters", "string"), AGE];

    fn cells(class: &IngressClass, now: Timestamp) -> Vec<Value> {
        let spec = class.spec.as_ref();
        let parameters =
            spec.and_then(|spec| spec.parameters.as_ref()).map(|parameters| match text(&parameters.api_group) {
                "" => format!("{}/{}", parameters.kind, parameters.name),
                group => format!("{}.{group}/{}", parameters.kind, parameters.name),
            });
        cells![
            cells::name(&class.metadata),
            spec.map_or("", |spec| text(&spec.controller)),
            parameters.unwrap_or_else(|| NONE.into()),
            age(&class.metadata, now),
        ]
    }
}
