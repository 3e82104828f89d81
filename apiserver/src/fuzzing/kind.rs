//! Custom kinds: a definition, and an object that its schema judges.

use bytes::Bytes;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition, CustomResourceDefinitionStatus,
};
use kubelab_api::field::Errors;
use kubelab_store::Key;

use super::{
    body::{keeps, post},
    ground::Ground,
    line,
};
use crate::registry::{
    apiextensions::custom_resource_definition::CustomResourceDefinitionKind, custom::definition, decode::Validation,
    kind::Kind,
};

/// A definition and an object.
pub fn custom(input: &[u8]) {
    let (crd, object) = line(input);
    let handler = Ground::get().table.find("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    let handler = handler.expect("a built-in kind");
    post(handler, Bytes::copy_from_slice(crd));
    let Ok((decoded, _)) = handler.decode(crd, Validation::Ignore) else { return };
    let Some(crd) = decoded.downcast_ref::<CustomResourceDefinition>() else { return };
    let mut errors = Errors::default();
    CustomResourceDefinitionKind::validate(crd, &mut errors);
    CustomResourceDefinitionKind::validate_create(crd, &mut errors);
    if !errors.is_empty() {
        return;
    }
    for handler in definition::handlers(&accepted(crd), Key::new("fuzz", "fuzz"), 1) {
        post(&handler, Bytes::copy_from_slice(object));
        for validation in [Validation::Strict, Validation::Warn] {
            if let Ok((object, _)) = handler.decode(object, validation) {
                keeps(&handler, &object.encode().expect("what was decoded can be encoded"));
            }
        }
    }
}

/// The definition with its names taken.
fn accepted(crd: &CustomResourceDefinition) -> CustomResourceDefinition {
    let condition = |kind: &str| CustomResourceDefinitionCondition {
        type_: kind.into(),
        status: "True".into(),
        ..CustomResourceDefinitionCondition::default()
    };
    let status = CustomResourceDefinitionStatus {
        accepted_names: Some(crd.spec.names.clone()),
        conditions: Some(vec![condition("NamesAccepted"), condition("Established")]),
        ..CustomResourceDefinitionStatus::default()
    };
    CustomResourceDefinition { status: Some(status), ..crd.clone() }
}
