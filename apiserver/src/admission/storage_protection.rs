//! Claims and volumes get a finalizer, so that none vanishes while it is used. The loops
//! `persistentvolumeclaim-protection-controller` and `persistentvolume-protection-controller` remove it.
//! Source: `plugin/pkg/admission/storage/storageobjectinuseprotection/admission.go`.

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kubelab_api::{
    Error,
    well_known::finalizer::{PV_PROTECTION, PVC_PROTECTION},
};

use super::{Attributes, Operation, Plugin};
use crate::registry::object::AnyObject;

/// See the module.
pub struct StorageObjectInUseProtection;

impl Plugin for StorageObjectInUseProtection {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Create {
            return Ok(());
        }
        let finalizer = if attributes.is_about::<PersistentVolumeClaim>("") {
            PVC_PROTECTION
        } else if attributes.is_about::<PersistentVolume>("") {
            PV_PROTECTION
        } else {
            return Ok(());
        };
        let finalizers = object.metadata_mut().finalizers.get_or_insert_default();
        if !finalizers.iter().any(|present| present == finalizer) {
            finalizers.push(finalizer.into());
        }
        Ok(())
    }
}
