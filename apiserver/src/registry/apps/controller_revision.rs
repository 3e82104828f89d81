//! ControllerRevision. Source: `pkg/registry/apps/controllerrevision/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ControllerRevision;
use kubelab_api::{
    field::{Errors, Path},
    meta::controller_of,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells},
    kind::{Column, Kind, age, column},
    validation::{immutable, nonnegative},
};

/// ControllerRevision.
pub struct ControllerRevisionKind;

impl Kind for ControllerRevisionKind {
    type Object = ControllerRevision;

    fn validate(revision: &ControllerRevision, errors: &mut Errors) {
        if revision.data.0.is_null() {
            errors.required(&Path::new("data"), "data is mandatory");
        }
        nonnegative(revision.revision, &Path::new("revision"), errors);
    }

    fn validate_update(new: &ControllerRevision, old: &ControllerRevision, errors: &mut Errors) {
        immutable(&new.data, &old.data, &Path::new("data"), errors);
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Controller", "string"), column("Revision", "string"), AGE];

    fn cells(revision: &ControllerRevision, now: Timestamp) -> Vec<Value> {
        let controller = controller_of(&revision.metadata).map(|owner| {
            let (group, kind) = (owner.api_version.split_once('/'), owner.kind.to_lowercase());
            match group {
                Some((group, _)) => format!("{kind}.{group}/{}", owner.name),
                None => format!("{kind}/{}", owner.name),
            }
        });
        cells![
            cells::name(&revision.metadata),
            controller.unwrap_or_else(|| NONE.into()),
            revision.revision.unwrap_or_default(),
            age(&revision.metadata, now),
        ]
    }
}
