//! IPAddress. Source: `pkg/apis/networking/validation/validation.go`, `printIPAddress`.

use jiff::Timestamp;
use k8s_openapi::api::networking::v1::{IPAddress, ParentReference};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, text},
    kind::{Column, Kind, NameRule, age, column},
    validation::{form, immutable},
};

/// IPAddress.
pub struct IPAddressKind;

impl Kind for IPAddressKind {
    type Object = IPAddress;

    const NAME: NameRule = NameRule::Ip;
    const GENERATION: bool = true;

    fn spec_changed(new: &IPAddress, old: &IPAddress) -> bool {
        new.spec != old.spec
    }

    fn validate(address: &IPAddress, errors: &mut Errors) {
        let parent = address.spec.parent_ref.clone();
        let path = Path::new("spec").child("parentRef");
        if parent == ParentReference::default() {
            return errors.required(&path, "");
        }
        if !text(&parent.group).is_empty() {
            form(text(&parent.group), name::dns1123_subdomain, &path.child("group"), errors);
        }
        for (field, value) in [("resource", &parent.resource), ("name", &parent.name)] {
            match value.as_str() {
                "" => errors.required(&path.child(field), ""),
                value => form(value, name::path_segment, &path.child(field), errors),
            }
        }
        if !text(&parent.namespace).is_empty() {
            form(text(&parent.namespace), name::path_segment, &path.child("namespace"), errors);
        }
    }

    fn validate_update(new: &IPAddress, old: &IPAddress, errors: &mut Errors) {
        let parent = |address: &IPAddress| address.spec.parent_ref.clone();
        immutable(&parent(new), &parent(old), &Path::new("spec").child("parentRef"), errors);
    }

    const COLUMNS: &'static [Column] = &[NAME, column("ParentRef", "string"), AGE];

    fn cells(address: &IPAddress, now: Timestamp) -> Vec<Value> {
        let parent = address.spec.parent_ref.clone();
        let resource = match text(&parent.group) {
            "" => parent.resource.to_lowercase(),
            group => format!("{}.{group}", parent.resource).to_lowercase(),
        };
        let of = match text(&parent.namespace) {
            "" => format!("{resource}/{}", parent.name),
            namespace => format!("{resource}/{namespace}/{}", parent.name),
        };
        cells![cells::name(&address.metadata), of, age(&address.metadata, now)]
    }
}
