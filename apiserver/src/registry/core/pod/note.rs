//! What a write did to a pod, for `kubelab why`.

use k8s_openapi::api::core::v1::Pod;

use super::columns::Summary;
use crate::registry::cells::text;

pub(super) fn note(new: &Pod, old: Option<&Pod>) -> String {
    let node = |pod: &Pod| pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default();
    let phase = |pod: &Pod| pod.status.as_ref().map(|status| text(&status.phase).to_owned()).unwrap_or_default();
    let Some(old) = old else {
        return match node(new) {
            node if node.is_empty() => "created".into(),
            node => format!("created on {node}"),
        };
    };
    let mut said = Vec::new();
    if node(old) != node(new) {
        said.push(format!("bound to {}", node(new)));
    }
    if old.metadata.deletion_timestamp.is_none() && new.metadata.deletion_timestamp.is_some() {
        said.push("asked to stop".into());
    }
    let (before, after) = (Summary::of(old), Summary::of(new));
    if phase(old) != phase(new) {
        said.push(format!("{} → {}", phase(old), phase(new)));
    } else if before.reason != after.reason && new.metadata.deletion_timestamp.is_none() {
        said.push(format!("{} → {}", before.reason, after.reason));
    }
    if before.ready != after.ready {
        said.push(format!("ready {}/{} → {}/{}", before.ready, before.total, after.ready, after.total));
    }
    if after.restarts > before.restarts {
        said.push(format!("restart {}", after.restarts));
    }
    said.join(", ")
}
