//! An ingress that names no class gets the default one.
//! Source: `plugin/pkg/admission/network/defaultingressclass/admission.go`.

use k8s_openapi::api::networking::v1::{Ingress, IngressClass};
use kubelab_api::{Error, meta::annotation, well_known::annotation::DEFAULT_INGRESS_CLASS};

use super::{Attributes, Operation, Plugin, default_storage_class::newest};
use crate::registry::object::AnyObject;

const CLASSES: &str = "networking.k8s.io/ingressclasses";
/// An ingress's class, before there was a field for it.
const LEGACY_CLASS: &str = "kubernetes.io/ingress.class";

/// See the module.
pub struct DefaultIngressClass;

impl Plugin for DefaultIngressClass {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Create || !attributes.is_about::<Ingress>("") {
            return Ok(());
        }
        let Some(ingress) = object.downcast_mut::<Ingress>() else { return Ok(()) };
        let spec = ingress.spec.get_or_insert_default();
        if spec.ingress_class_name.is_some() || annotation(&ingress.metadata, LEGACY_CLASS).is_some() {
            return Ok(());
        }
        let classes = attributes.list::<IngressClass>(CLASSES, "")?;
        let is_default = |class: &&IngressClass| annotation(&class.metadata, DEFAULT_INGRESS_CLASS) == Some("true");
        spec.ingress_class_name = newest(classes.iter().filter(is_default).map(|class| &class.metadata));
        Ok(())
    }
}
