//! A claim that names no storage class gets the default one.
//! Source: `plugin/pkg/admission/storage/storageclass/setdefault/admission.go`, `pkg/volume/util/storageclass.go`.

use k8s_openapi::{
    api::{core::v1::PersistentVolumeClaim, storage::v1::StorageClass},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{Error, meta::annotation, well_known::annotation::DEFAULT_STORAGE_CLASS};

use super::{Attributes, Operation, Plugin};
use crate::registry::object::AnyObject;

const CLASSES: &str = "storage.k8s.io/storageclasses";
const LEGACY_DEFAULT: &str = "storageclass.beta.kubernetes.io/is-default-class";
/// A claim's class, before there was a field for it.
const LEGACY_CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// See the module.
pub struct DefaultStorageClass;

impl Plugin for DefaultStorageClass {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Create || !attributes.is_about::<PersistentVolumeClaim>("") {
            return Ok(());
        }
        let Some(claim) = object.downcast_mut::<PersistentVolumeClaim>() else { return Ok(()) };
        let spec = claim.spec.get_or_insert_default();
        if spec.storage_class_name.is_some() || annotation(&claim.metadata, LEGACY_CLASS).is_some() {
            return Ok(());
        }
        let classes = attributes.list::<StorageClass>(CLASSES, "")?;
        let is_default = |class: &&StorageClass| {
            [DEFAULT_STORAGE_CLASS, LEGACY_DEFAULT]
                .into_iter()
                .any(|key| annotation(&class.metadata, key) == Some("true"))
        };
        spec.storage_class_name = newest(classes.iter().filter(is_default).map(|class| &class.metadata));
        Ok(())
    }
}

/// The newest of several defaults; of those that are as new, the first by name.
pub(super) fn newest<'a>(defaults: impl Iterator<Item = &'a ObjectMeta>) -> Option<String> {
    let newest = defaults.min_by(|a, b| {
        let born = |meta: &ObjectMeta| meta.creation_timestamp.as_ref().map(|time| time.0);
        born(b).cmp(&born(a)).then_with(|| a.name.cmp(&b.name))
    });
    newest?.name.clone()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    #[test]
    fn the_newest_default_wins() {
        let class = |name: &str, second: i64| ObjectMeta {
            name: Some(name.into()),
            creation_timestamp: Some(Time(jiff::Timestamp::from_second(second).unwrap())),
            ..Default::default()
        };
        for (classes, wanted) in [
            (vec![], None),
            (vec![class("a", 1), class("b", 2)], Some("b")),
            (vec![class("b", 2), class("a", 2)], Some("a")),
        ] {
            assert_eq!(newest(classes.iter()).as_deref(), wanted);
        }
    }
}
