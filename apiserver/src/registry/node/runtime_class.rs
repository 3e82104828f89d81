//! RuntimeClass. Source: `pkg/apis/node/validation/validation.go`.

use jiff::Timestamp;
use k8s_openapi::api::node::v1::RuntimeClass;
use kubelab_api::{
    field::{Errors, Path},
    name,
    selector::label,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, list},
    core::{pod::validation::tolerations, resources},
    kind::{Column, Kind, age, column},
    validation::{form, immutable},
};

/// RuntimeClass.
pub struct RuntimeClassKind;

impl Kind for RuntimeClassKind {
    type Object = RuntimeClass;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(class: &mut RuntimeClass) {
        let overhead = class.overhead.as_mut().and_then(|overhead| overhead.pod_fixed.as_mut());
        overhead.into_iter().for_each(resources::canonical);
    }

    fn validate(class: &RuntimeClass, errors: &mut Errors) {
        form(&class.handler, name::dns1123_label, &Path::new("handler"), errors);
        let overhead = class.overhead.as_ref().and_then(|overhead| overhead.pod_fixed.as_ref());
        for (name, amount) in overhead.into_iter().flatten() {
            resources::amount(name, amount, &Path::new("overhead").child("podFixed").key(name), errors);
        }
        if let Some(scheduling) = &class.scheduling {
            let path = Path::new("scheduling");
            label::validate_labels(scheduling.node_selector.as_ref(), &path.child("nodeSelector"), errors);
            tolerations(list(&scheduling.tolerations), &path.child("tolerations"), errors);
        }
    }

    fn validate_update(new: &RuntimeClass, old: &RuntimeClass, errors: &mut Errors) {
        immutable(&new.handler, &old.handler, &Path::new("handler"), errors);
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Handler", "string"), AGE];

    fn cells(class: &RuntimeClass, now: Timestamp) -> Vec<Value> {
        cells![cells::name(&class.metadata), class.handler.as_str(), age(&class.metadata, now)]
    }
}
