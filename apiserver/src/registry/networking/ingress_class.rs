//! IngressClass. Source: `pkg/apis/networking/v1/defaults.go`, `pkg/apis/networking/validation/validation.go`.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::IngressClass;
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells, text},
    defaults,
    kind::{Column, Kind, age, column},
    networking::ingress::reference,
    validation::{choice, domain_prefixed_path, form, immutable},
};

/// A controller's name is no longer.
const MAX_CONTROLLER: usize = 250;

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
        let path = Path::new("spec");
        if controller.len() > MAX_CONTROLLER {
            errors.too_long(&path.child("controller"), MAX_CONTROLLER);
        }
        domain_prefixed_path(controller, &path.child("controller"), errors);
        let Some(parameters) = class.spec.as_ref().and_then(|spec| spec.parameters.as_ref()) else { return };
        let path = path.child("parameters");
        reference((parameters.api_group.as_deref(), &parameters.kind, &parameters.name), &path, errors);
        let at = path.child("namespace");
        match (text(&parameters.scope), &parameters.namespace) {
            ("Namespace", None) => errors.required(&at, "`parameters.scope` is set to 'Namespace'"),
            ("Namespace", Some(namespace)) => form(namespace, name::dns1123_label, &at, errors),
            ("Cluster", None) => {}
            ("Cluster", Some(_)) => errors.forbidden(&at, "`parameters.scope` is set to 'Cluster'"),
            (scope, _) => choice(scope, &["Cluster", "Namespace"], &path.child("scope"), errors),
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
