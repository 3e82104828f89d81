//! A priority class becomes a number and a preemption policy. Source: `plugin/pkg/admission/priority/admission.go`.

use k8s_openapi::api::{core::v1::Pod, scheduling::v1::PriorityClass};
use kubelab_api::Error;

use super::{Attributes, Operation, Plugin};
use crate::registry::object::AnyObject;

const CLASSES: &str = "scheduling.k8s.io/priorityclasses";
const PREEMPT: &str = "PreemptLowerPriority";

/// See the module.
pub struct Priority;

impl Plugin for Priority {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if !attributes.is_about::<Pod>("") {
            return Ok(());
        }
        let Some(pod) = object.downcast_mut::<Pod>() else { return Ok(()) };
        match attributes.operation {
            Operation::Create => resolve(attributes, pod).and_then(|refusal| {
                refusal.map_or(Ok(()), |message| Err(attributes.forbidden(Some(object), &message)))
            }),
            Operation::Update => {
                keep(pod, old.and_then(|old| old.downcast_ref()));
                Ok(())
            }
            Operation::Delete | Operation::Connect => Ok(()),
        }
    }

    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let Some(class) = object.and_then(|object| object.downcast_ref::<PriorityClass>()) else { return Ok(()) };
        if class.global_default != Some(true) {
            return Ok(());
        }
        let others = attributes.list::<PriorityClass>(CLASSES, "")?;
        let other = others
            .iter()
            .find(|other| other.global_default == Some(true) && other.metadata.name != class.metadata.name);
        other.map_or(Ok(()), |other| {
            let name = other.metadata.name.as_deref().unwrap_or_default();
            let message = format!("PriorityClass {name} is already marked as default. Only one default can exist");
            Err(attributes.forbidden(object, &message))
        })
    }
}

/// An update that does not speak of the priority keeps it.
fn keep(pod: &mut Pod, old: Option<&Pod>) {
    let Some(old) = old.and_then(|old| old.spec.as_ref()) else { return };
    let spec = pod.spec.get_or_insert_default();
    if spec.priority.is_none() {
        spec.priority = old.priority;
    }
    if spec.preemption_policy.is_none() {
        spec.preemption_policy.clone_from(&old.preemption_policy);
    }
}

/// Sets the pod's priority, or says why not.
fn resolve(attributes: &Attributes, pod: &mut Pod) -> Result<Option<String>, Error> {
    let spec = pod.spec.get_or_insert_default();
    let name = spec.priority_class_name.as_deref().unwrap_or_default();
    let class = if name.is_empty() {
        let classes = attributes.list::<PriorityClass>(CLASSES, "")?.into_iter();
        // With several defaults, upstream takes the lowest.
        classes.filter(|class| class.global_default == Some(true)).min_by_key(|class| class.value.unwrap_or_default())
    } else {
        match attributes.lookup::<PriorityClass>(CLASSES, name)? {
            None => return Ok(Some(format!("no PriorityClass with name {name} was found"))),
            class => class,
        }
    };
    let (value, policy) = match class {
        Some(class) => {
            spec.priority_class_name = class.metadata.name;
            (class.value.unwrap_or_default(), class.preemption_policy.unwrap_or_else(|| PREEMPT.into()))
        }
        None => (0, PREEMPT.into()),
    };
    if let Some(given) = spec.priority.filter(|given| *given != value) {
        return Ok(Some(format!(
            "the integer value of priority ({given}) must not be provided in pod spec; priority admission controller \
             computed {value} from the given PriorityClass name"
        )));
    }
    if let Some(given) = spec.preemption_policy.as_ref().filter(|given| **given != policy) {
        return Ok(Some(format!(
            "the string value of PreemptionPolicy ({given}) must not be provided in pod spec; priority admission \
             controller computed {policy} from the given PriorityClass name"
        )));
    }
    spec.priority = Some(value);
    spec.preemption_policy = Some(policy);
    Ok(None)
}
