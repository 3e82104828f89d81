//! Claims. Source: `pkg/quota/v1/evaluator/core/persistent_volume_claims.go`.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, ScopedResourceSelectorRequirement};

use super::{Amounts, parsed, selects};
use crate::{Quantity, meta::annotation, quantity::Format};

const COUNT: &str = "count/persistentvolumeclaims";
const CLAIMS: &str = "persistentvolumeclaims";
const STORAGE: &str = "requests.storage";
/// Comes between a storage class and what is limited for it.
const OF_CLASS: &str = ".storageclass.storage.k8s.io/";

pub(super) fn tracks(name: &str) -> bool {
    let of_class = |name: &str| name.split_once(OF_CLASS).is_some_and(|(_, rest)| matches!(rest, CLAIMS | STORAGE));
    matches!(name, COUNT | CLAIMS | STORAGE) || of_class(name)
}

pub(super) fn usage(claim: &PersistentVolumeClaim) -> Amounts {
    let one = Quantity::new(1, Format::DecimalSi);
    let mut usage = Amounts::from([(CLAIMS.to_owned(), one), (COUNT.to_owned(), one)]);
    let class = class_of(claim);
    if !class.is_empty() {
        usage.insert(format!("{class}{OF_CLASS}{CLAIMS}"), one);
    }
    if let Some(storage) = storage(claim) {
        usage.insert(STORAGE.to_owned(), storage);
        if !class.is_empty() {
            usage.insert(format!("{class}{OF_CLASS}{STORAGE}"), storage);
        }
    }
    usage
}

fn class_of(claim: &PersistentVolumeClaim) -> &str {
    let legacy = annotation(&claim.metadata, "volume.beta.kubernetes.io/storage-class");
    legacy.or_else(|| claim.spec.as_ref()?.storage_class_name.as_deref()).unwrap_or_default()
}

/// What it asks for, or has been given if that is more, in whole bytes.
fn storage(claim: &PersistentVolumeClaim) -> Option<Quantity> {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let asked = *parsed(resources.and_then(|resources| resources.requests.as_ref())).get("storage")?;
    let allocated = parsed(claim.status.as_ref().and_then(|status| status.allocated_resources.as_ref()));
    let most = allocated.get("storage").copied().filter(|allocated| *allocated > asked).unwrap_or(asked);
    Some(if most.is_integer() { most } else { Quantity::new(most.value(), most.format()) })
}

pub(super) fn is_in(claim: &PersistentVolumeClaim, scope: &ScopedResourceSelectorRequirement) -> bool {
    if scope.scope_name != "VolumeAttributesClass" {
        return false;
    }
    let classes = classes(claim);
    if classes.is_empty() { selects(scope, None) } else { classes.iter().any(|class| selects(scope, Some(class))) }
}

/// The VolumeAttributesClasses that it has, is getting or asks for.
/// Source: `getReferencedVolumeAttributesClassNames`.
pub(super) fn classes(claim: &PersistentVolumeClaim) -> BTreeSet<&str> {
    let status = claim.status.as_ref();
    let classes = [
        claim.spec.as_ref().and_then(|spec| spec.volume_attributes_class_name.as_deref()),
        status.and_then(|status| status.current_volume_attributes_class_name.as_deref()),
        status.and_then(|status| status.modify_volume_status.as_ref()?.target_volume_attributes_class_name.as_deref()),
    ];
    classes.into_iter().flatten().filter(|class| !class.is_empty()).collect()
}
