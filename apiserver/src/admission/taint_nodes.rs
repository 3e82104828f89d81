//! A new node takes no pods until the node controller has seen it ready.
//! Source: `plugin/pkg/admission/nodetaint/admission.go`.

use k8s_openapi::api::core::v1::{Node, Taint};
use kubelab_api::{
    Error,
    well_known::taint::{NO_SCHEDULE, NOT_READY},
};

use super::{Attributes, Operation, Plugin};
use crate::registry::object::AnyObject;

/// See the module.
pub struct TaintNodesByCondition;

impl Plugin for TaintNodesByCondition {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Create || !attributes.is_about::<Node>("") {
            return Ok(());
        }
        let Some(node) = object.downcast_mut::<Node>() else { return Ok(()) };
        let taints = node.spec.get_or_insert_default().taints.get_or_insert_default();
        if !taints.iter().any(|taint| taint.key == NOT_READY && taint.effect == NO_SCHEDULE) {
            taints.push(Taint { key: NOT_READY.into(), effect: NO_SCHEDULE.into(), ..Default::default() });
        }
        Ok(())
    }
}
