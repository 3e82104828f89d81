//! A claim grows only once it is bound, and where its storage class allows that.
//! Source: `plugin/pkg/admission/storage/persistentvolume/resize/admission.go`.

use k8s_openapi::api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass};
use kubelab_api::{Error, Quantity, meta::annotation};

use super::{Attributes, Operation, Plugin};
use crate::registry::object::AnyObject;

/// See the module.
pub struct PersistentVolumeClaimResize;

impl Plugin for PersistentVolumeClaimResize {
    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Update || !attributes.is_about::<PersistentVolumeClaim>("") {
            return Ok(());
        }
        let (Some(new), Some(old)) = (downcast(object), downcast(old)) else { return Ok(()) };
        if size(new) <= size(old) {
            return Ok(());
        }
        if old.status.as_ref().and_then(|status| status.phase.as_deref()) != Some("Bound") {
            return Err(attributes.forbidden(object, "Only bound persistent volume claims can be expanded"));
        }
        if allows(attributes, new, old)? {
            return Ok(());
        }
        Err(attributes.forbidden(
            object,
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support \
             resize",
        ))
    }
}

fn downcast(object: Option<&dyn AnyObject>) -> Option<&PersistentVolumeClaim> {
    object?.downcast_ref()
}

fn size(claim: &PersistentVolumeClaim) -> Quantity {
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let storage = resources.and_then(|resources| resources.requests.as_ref()?.get("storage"));
    storage.and_then(|text| Quantity::try_from(text).ok()).unwrap_or_default()
}

fn class_of(claim: &PersistentVolumeClaim) -> &str {
    let legacy = annotation(&claim.metadata, "volume.beta.kubernetes.io/storage-class");
    legacy.or_else(|| claim.spec.as_ref()?.storage_class_name.as_deref()).unwrap_or_default()
}

fn allows(attributes: &Attributes, new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> Result<bool, Error> {
    let name = class_of(new);
    if name.is_empty() || name != class_of(old) {
        return Ok(false);
    }
    let class: Option<StorageClass> = attributes.lookup("storage.k8s.io/storageclasses", name)?;
    Ok(class.and_then(|class| class.allow_volume_expansion).unwrap_or_default())
}
