//! A pod gets what its runtime class says: overhead, node selector, tolerations.
//! Source: `plugin/pkg/admission/runtimeclass/admission.go`, `pkg/util/tolerations/tolerations.go`.

use k8s_openapi::api::{
    core::v1::{Pod, PodSpec, Toleration},
    node::v1::{RuntimeClass, Scheduling},
};
use kubelab_api::{Error, Quantity};

use super::{Attributes, Operation, Plugin};
use crate::registry::{core::resources::Amounts, object::AnyObject};

const WRONG_OVERHEAD: &str = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
const NO_OVERHEAD: &str = "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead";

/// See the module.
pub struct RuntimeClassPlugin;

impl Plugin for RuntimeClassPlugin {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Create || !attributes.is_about::<Pod>("") {
            return Ok(());
        }
        let Some(pod) = object.downcast_mut::<Pod>() else { return Ok(()) };
        let spec = pod.spec.get_or_insert_default();
        let refusal = match class_of(attributes, spec)? {
            Found::None => None,
            Found::Missing(message) => Some(message),
            Found::Class(class) => apply(spec, *class).err(),
        };
        refusal.map_or(Ok(()), |message| Err(attributes.forbidden(Some(object), &message)))
    }

    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Create || !attributes.is_about::<Pod>("") {
            return Ok(());
        }
        let pod = object.and_then(|object| object.downcast_ref::<Pod>());
        let Some(spec) = pod.and_then(|pod| pod.spec.as_ref()) else { return Ok(()) };
        let refusal = match class_of(attributes, spec)? {
            Found::Missing(message) => Some(message),
            Found::Class(class) if class.overhead.is_some() => {
                let fixed = class.overhead.and_then(|overhead| overhead.pod_fixed);
                (!same(fixed.as_ref(), spec.overhead.as_ref())).then(|| WRONG_OVERHEAD.into())
            }
            _ => spec.overhead.is_some().then(|| NO_OVERHEAD.into()),
        };
        refusal.map_or(Ok(()), |message| Err(attributes.forbidden(object, &message)))
    }
}

enum Found {
    None,
    Missing(String),
    Class(Box<RuntimeClass>),
}

fn class_of(attributes: &Attributes, spec: &PodSpec) -> Result<Found, Error> {
    let Some(name) = &spec.runtime_class_name else { return Ok(Found::None) };
    let class = attributes.lookup::<RuntimeClass>("node.k8s.io/runtimeclasses", name)?;
    let missing = || Found::Missing(format!("pod rejected: RuntimeClass {name:?} not found"));
    Ok(class.map_or_else(missing, |class| Found::Class(Box::new(class))))
}

fn apply(spec: &mut PodSpec, class: RuntimeClass) -> Result<(), String> {
    if let Some(overhead) = class.overhead {
        if spec.overhead.is_some() && !same(overhead.pod_fixed.as_ref(), spec.overhead.as_ref()) {
            return Err(WRONG_OVERHEAD.into());
        }
        spec.overhead = overhead.pod_fixed;
    }
    class.scheduling.map_or(Ok(()), |scheduling| schedule(spec, scheduling))
}

fn schedule(spec: &mut PodSpec, scheduling: Scheduling) -> Result<(), String> {
    for (key, wanted) in scheduling.node_selector.into_iter().flatten() {
        let selector = spec.node_selector.get_or_insert_default();
        if let Some(present) = selector.get(&key).filter(|present| **present != wanted) {
            return Err(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {present}"
            ));
        }
        selector.insert(key, wanted);
    }
    let all: Vec<_> =
        spec.tolerations.take().into_iter().flatten().chain(scheduling.tolerations.into_iter().flatten()).collect();
    spec.tolerations = (!all.is_empty()).then(|| merged(&all));
    Ok(())
}

/// Amounts are worth the same, however they are written.
fn same(a: Option<&Amounts>, b: Option<&Amounts>) -> bool {
    let worth = |amounts: Option<&Amounts>| -> Vec<(String, Option<Quantity>)> {
        amounts.into_iter().flatten().map(|(name, text)| (name.clone(), Quantity::try_from(text).ok())).collect()
    };
    worth(a) == worth(b)
}

/// Each toleration once, and none that another one includes.
fn merged(all: &[Toleration]) -> Vec<Toleration> {
    let mut merged: Vec<Toleration> = Vec::new();
    for (i, one) in all.iter().enumerate() {
        let included = merged.iter().any(|other| includes(other, one))
            || all[i + 1..].iter().any(|other| other != one && includes(other, one));
        if !included {
            merged.push(one.clone());
        }
    }
    merged
}

fn includes(large: &Toleration, small: &Toleration) -> bool {
    let text = |text: &'_ Option<String>| text.clone().unwrap_or_default();
    if large == small {
        return true;
    }
    let exists = large.operator.as_deref() == Some("Exists");
    let keys = text(&small.key) == text(&large.key) || (text(&large.key).is_empty() && exists);
    let effects = text(&small.effect) == text(&large.effect) || text(&large.effect).is_empty();
    let shorter = large.effect.as_deref() == Some("NoExecute")
        && large.toleration_seconds.is_some_and(|large| small.toleration_seconds.is_none_or(|small| small > large));
    let equal = small.operator.as_deref().unwrap_or("Equal") == "Equal" && text(&small.value) == text(&large.value);
    keys && effects && !shorter && (exists || equal)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn applied(spec: Value, class: Value) -> Result<Value, String> {
        let mut spec: PodSpec = serde_json::from_value(spec).unwrap();
        let class: RuntimeClass = serde_json::from_value(class).unwrap();
        apply(&mut spec, class).map(|()| serde_json::to_value(spec).unwrap())
    }

    #[test]
    fn a_pod_gets_what_its_class_says() {
        let class = json!({
            "metadata": {"name": "gvisor"}, "handler": "runsc",
            "overhead": {"podFixed": {"cpu": "100m"}},
            "scheduling": {"nodeSelector": {"runtime": "gvisor"}, "tolerations": [{"key": "gvisor", "operator": "Exists"}]},
        });
        let containers = json!([{"name": "c"}]);
        let spec =
            json!({"containers": containers, "tolerations": [{"key": "gvisor", "operator": "Equal", "value": "x"}]});
        let once = applied(spec, class.clone()).unwrap();
        assert_eq!(
            once,
            json!({"containers": containers, "overhead": {"cpu": "100m"}, "nodeSelector": {"runtime": "gvisor"},
                   "tolerations": [{"key": "gvisor", "operator": "Exists"}]})
        );
        assert_eq!(applied(once.clone(), class.clone()), Ok(once));

        let spec = json!({"containers": containers, "overhead": {"cpu": "0.1"}});
        assert!(applied(spec, class.clone()).is_ok(), "the same amount, written differently");
        for (spec, message) in [
            (json!({"containers": containers, "overhead": {"cpu": "1"}}), WRONG_OVERHEAD),
            (
                json!({"containers": containers, "nodeSelector": {"runtime": "runc"}}),
                "conflict: runtimeClass.scheduling.nodeSelector[runtime] = gvisor; pod.spec.nodeSelector[runtime] = runc",
            ),
        ] {
            assert_eq!(applied(spec, class.clone()), Err(message.into()));
        }
    }
}
