//! A pod that gets a node gets the zone and the region of the node as labels.
//! Source: `plugin/pkg/admission/podtopologylabels/admission.go`, KEP-4742.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Binding, Pod};
use kubelab_api::Error;

use super::{Attributes, Operation, Plugin};
use crate::registry::{decode, object::AnyObject};

const LABELS: [&str; 2] = ["topology.kubernetes.io/region", "topology.kubernetes.io/zone"];

/// See the module.
pub struct PodTopologyLabels;

impl Plugin for PodTopologyLabels {
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
        let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default();
        merge(&mut pod.metadata.labels, of_node(attributes, node));
        Ok(())
    }
}

/// A binding passes its labels on to the pod.
pub fn admit_binding(attributes: &Attributes, binding: &mut Binding) {
    let node = binding.target.name.as_deref().unwrap_or_default();
    if binding.target.kind.as_deref() == Some("Node") {
        merge(&mut binding.metadata.labels, of_node(attributes, node));
    }
}

fn of_node(attributes: &Attributes, node: &str) -> Vec<(String, String)> {
    let labels = attributes.stored("core/nodes", node).and_then(decode::metadata).and_then(|meta| meta.labels);
    labels.into_iter().flatten().filter(|(key, _)| LABELS.contains(&key.as_str())).collect()
}

/// What is there stays.
fn merge(labels: &mut Option<BTreeMap<String, String>>, more: Vec<(String, String)>) {
    for (key, value) in more {
        labels.get_or_insert_default().entry(key).or_insert(value);
    }
}
