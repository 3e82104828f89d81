//! The group `flowcontrol.apiserver.k8s.io`.

pub mod flow_schema;
pub mod priority_level_configuration;
mod rules;

use std::collections::BTreeSet;

use kubelab_api::field::{Errors, Path};

/// A condition has a type, and it is the only one of that type.
fn condition<'a>(of: &'a str, index: usize, seen: &mut BTreeSet<&'a str>, errors: &mut Errors) {
    let path = Path::new("status").child("conditions").index(index).child("type");
    if !seen.insert(of) {
        errors.duplicate(&path, of);
    }
    if of.is_empty() {
        errors.required(&path, "must not be empty");
    }
}
