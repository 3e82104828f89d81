//! A namespace uses no more than its quotas say. What an object uses is charged in the transaction that writes the object,
//! so that two apiservers never give the same amount twice; what becomes free again, the quota controller finds out.
//! Source: `k8s.io/apiserver/pkg/admission/plugin/resourcequota`, `pkg/quota/v1/evaluator/core`.

use k8s_openapi::{
    api::core::v1::{PersistentVolumeClaim, Pod, ResourceQuota, Service},
    apimachinery::pkg::api::resource::Quantity,
};
use kubelab_api::{
    Error,
    quota::{Change, Item, charge},
};
use kubelab_store::Precondition;

use super::{Attributes, Operation, Plugin};
use crate::registry::{object::AnyObject, plan};

const TOPIC: &str = "core/resourcequotas";
/// These are not counted. Source: `DefaultIgnoredResources` in `pkg/quota/v1/install/registry.go`.
const IGNORED: [&str; 3] = ["events", "events.events.k8s.io", "bindings"];

/// See the module.
pub struct ResourceQuotas;

impl Plugin for ResourceQuotas {
    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let request = attributes.request;
        let Some(object) = object.filter(|_| request.resource.namespaced) else { return Ok(()) };
        // There is no quota in most namespaces.
        let prefix = format!("{}/", request.namespace);
        if attributes.state.range(TOPIC, &prefix, None).next().is_none() {
            return Ok(());
        }
        let resource = request.resource.group_resource();
        if IGNORED.contains(&resource.as_str()) || !is_charged(attributes, object, old) {
            return Ok(());
        }
        let change = Change {
            new: item(object, &resource),
            old: old.map(|old| item(old, &resource)),
            noted_only: request.subresource == "status",
            now: attributes.now,
        };
        for (key, entry) in attributes.state.range(TOPIC, &prefix, None) {
            let mut quota: ResourceQuota = serde_json::from_slice(&entry.value).map_err(Error::internal)?;
            let used = charge(&quota, &change).map_err(|refusal| attributes.forbidden(Some(object), &refusal))?;
            let Some(used) = used else { continue };
            let used = used.into_iter().map(|(name, amount)| (name, Quantity::from(amount)));
            quota.status.get_or_insert_default().used = Some(used.collect());
            attributes.write(Precondition::Modified(key.clone(), entry.modified), plan::put(key, &mut quota)?);
        }
        Ok(())
    }
}

/// What quotas are about: new objects, and those changes that may use more.
fn is_charged(attributes: &Attributes, object: &dyn AnyObject, old: Option<&dyn AnyObject>) -> bool {
    let part = attributes.request.subresource.as_str();
    match attributes.operation {
        Operation::Create => part.is_empty(),
        Operation::Update if object.downcast_ref::<Service>().is_some() => part.is_empty(),
        Operation::Update if object.downcast_ref::<Pod>().is_some() => part == "resize",
        Operation::Update => match (claim(Some(object)), claim(old)) {
            (Some(new), Some(old)) => part.is_empty() || (part == "status" && needs_replenishing(new, old)),
            _ => false,
        },
        Operation::Delete => false,
    }
}

fn claim(object: Option<&dyn AnyObject>) -> Option<&PersistentVolumeClaim> {
    object?.downcast_ref()
}

/// Source: `RequiresQuotaReplenish`.
fn needs_replenishing(new: &PersistentVolumeClaim, old: &PersistentVolumeClaim) -> bool {
    let allocated = |claim: &PersistentVolumeClaim| {
        let status = claim.status.clone().unwrap_or_default();
        (status.allocated_resources, status.current_volume_attributes_class_name, status.modify_volume_status)
    };
    allocated(new) != allocated(old)
}

fn item<'a>(object: &'a dyn AnyObject, resource: &'a str) -> Item<'a> {
    if let Some(pod) = object.downcast_ref::<Pod>() {
        Item::Pod(pod)
    } else if let Some(service) = object.downcast_ref::<Service>() {
        Item::Service(service)
    } else if let Some(claim) = claim(Some(object)) {
        Item::Claim(claim)
    } else {
        Item::Other(resource)
    }
}
