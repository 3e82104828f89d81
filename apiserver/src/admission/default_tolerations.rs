//! Pods outlast a short absence of their node: five minutes. Source: `plugin/pkg/admission/defaulttolerationseconds`.

use k8s_openapi::api::core::v1::{Pod, Toleration};
use kubelab_api::{
    Error,
    well_known::taint::{NO_EXECUTE, NOT_READY, UNREACHABLE},
};

use super::{Attributes, Operation, Plugin};
use crate::registry::object::AnyObject;

const SECONDS: i64 = 300;

/// See the module.
pub struct DefaultTolerationSeconds;

impl Plugin for DefaultTolerationSeconds {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation == Operation::Delete || !attributes.is_about::<Pod>("") {
            return Ok(());
        }
        let Some(pod) = object.downcast_mut::<Pod>() else { return Ok(()) };
        let tolerations = pod.spec.get_or_insert_default().tolerations.get_or_insert_default();
        for taint in [NOT_READY, UNREACHABLE] {
            if !tolerations.iter().any(|toleration| tolerates(toleration, taint)) {
                tolerations.push(Toleration {
                    key: Some(taint.into()),
                    operator: Some("Exists".into()),
                    effect: Some(NO_EXECUTE.into()),
                    toleration_seconds: Some(SECONDS),
                    ..Default::default()
                });
            }
        }
        Ok(())
    }
}

fn tolerates(toleration: &Toleration, taint: &str) -> bool {
    let (key, effect) =
        (toleration.key.as_deref().unwrap_or_default(), toleration.effect.as_deref().unwrap_or_default());
    (key.is_empty() || key == taint) && (effect.is_empty() || effect == NO_EXECUTE)
}
