//! VolumeAttachment. Source: `pkg/apis/storage/validation/validation.go`, `pkg/registry/storage/volumeattachment`.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, text},
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{immutable, required},
};

/// VolumeAttachment.
pub struct VolumeAttachmentKind;

impl Kind for VolumeAttachmentKind {
    type Object = VolumeAttachment;

    const RETURNS_DELETED: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    spec_and_status!();

    fn validate(attachment: &VolumeAttachment, errors: &mut Errors) {
        let (spec, path) = (&attachment.spec, Path::new("spec"));
        required(&spec.attacher, &path.child("attacher"), errors);
        required(&spec.node_name, &path.child("nodeName"), errors);
        let source = path.child("source");
        match (&spec.source.inline_volume_spec, text(&spec.source.persistent_volume_name)) {
            (None, "") => {
                errors.required(&source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
            }
            (Some(_), name) if !name.is_empty() => {
                errors.forbidden(&source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
            }
            _ => {}
        }
    }

    fn validate_update(new: &VolumeAttachment, old: &VolumeAttachment, errors: &mut Errors) {
        immutable(&new.spec, &old.spec, &Path::new("spec"), errors);
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Attacher", "string"),
        column("PV", "string"),
        column("Node", "string"),
        column("Attached", "boolean"),
        AGE,
    ];

    fn cells(attachment: &VolumeAttachment, now: Timestamp) -> Vec<Value> {
        let spec = &attachment.spec;
        cells![
            cells::name(&attachment.metadata),
            spec.attacher.as_str(),
            text(&spec.source.persistent_volume_name),
            spec.node_name.as_str(),
            attachment.status.as_ref().is_some_and(|status| status.attached),
            age(&attachment.metadata, now),
        ]
    }
}
