//! VolumeAttachment. Source: `pkg/apis/storage/validation/validation.go`, `pkg/registry/storage/volumeattachment`.

use jiff::Timestamp;
use k8s_openapi::api::storage::v1::VolumeAttachment;
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, text},
    core::{persistent_volume::validate_spec, pod::validation::source::csi_driver},
    kind::{Column, Kind, age, column},
    status::spec_and_status,
    validation::{form, immutable},
};

/// What went wrong is told in no more bytes.
const LONGEST_MESSAGE: usize = 1024;

/// VolumeAttachment.
pub struct VolumeAttachmentKind;

impl Kind for VolumeAttachmentKind {
    type Object = VolumeAttachment;

    const RETURNS_DELETED: bool = true;
    const UNCONDITIONAL_UPDATE: bool = false;

    spec_and_status!();

    fn validate(attachment: &VolumeAttachment, errors: &mut Errors) {
        let (spec, path) = (&attachment.spec, Path::new("spec"));
        let source = path.child("source");
        match (&spec.source.inline_volume_spec, text(&spec.source.persistent_volume_name)) {
            (None, "") => {
                errors.required(&source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName")
            }
            (Some(_), name) if !name.is_empty() => {
                errors.forbidden(&source, "must specify exactly one of inlineVolumeSpec and persistentVolumeName");
            }
            (None, name) => form(name, name::dns1123_subdomain, &source.child("persistentVolumeName"), errors),
            (Some(inline), _) => validate_spec(inline, "", true, &source.child("inlineVolumeSpec"), errors),
        }
        form(&spec.node_name, name::dns1123_subdomain, &path.child("nodeName"), errors);
        csi_driver(&spec.attacher, &path.child("attacher"), errors);
        let Some(status) = &attachment.status else { return };
        for (field, error) in [("attachError", &status.attach_error), ("detachError", &status.detach_error)] {
            if error.as_ref().is_some_and(|error| text(&error.message).len() > LONGEST_MESSAGE) {
                errors.too_long(&Path::new("status").child(field).child("message"), LONGEST_MESSAGE);
            }
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
