//! What is allowed and yet hardly meant. Source: `pkg/api/pod/warnings.go`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{Container, PodSpec};
use kubelab_api::field::Path;

use crate::registry::cells::{list, text};

const OLD_LABELS: &[(&str, &str)] = &[
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    ("failure-domain.beta.kubernetes.io/zone", "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead"),
];

/// Warnings about a pod's spec, in a pod or in a template.
pub fn warnings(spec: &PodSpec, path: &Path) -> Vec<String> {
    let mut warnings = Vec::new();
    for key in spec.node_selector.iter().flat_map(|selector| selector.keys()) {
        if let Some((_, advice)) = OLD_LABELS.iter().find(|(old, _)| old == key) {
            warnings.push(format!("{}: {advice}", path.child("nodeSelector").key(key)));
        }
    }
    let lists = [("initContainers", list(&spec.init_containers)), ("containers", &spec.containers[..])];
    let mut ports = BTreeMap::new();
    for (field, containers) in lists {
        for (i, container) in containers.iter().enumerate() {
            let path = path.child(field).index(i);
            env(container, &path, &mut warnings);
            for (i, port) in list(&container.ports).iter().enumerate() {
                let path = path.child("ports").index(i);
                let key = (port.container_port, port.host_port, text(&port.host_ip), text(&port.protocol));
                if let Some(other) = ports.insert(key, path.clone()) {
                    warnings.push(format!("{path}: duplicate port definition with {other}"));
                }
            }
        }
    }
    warnings
}

fn env(container: &Container, path: &Path, warnings: &mut Vec<String>) {
    let variables = list(&container.env);
    for (i, variable) in variables.iter().enumerate() {
        let before = variables[..i].iter().rev().find(|before| before.name == variable.name);
        // A variable that builds on its former value is meant.
        let builds_on = text(&variable.value).contains(&format!("$({})", variable.name));
        if before.is_some() && !builds_on {
            let path = path.child("env").index(i);
            let name = &variable.name;
            warnings
                .push(format!("{path}: hides previous definition of {name:?}, which may be dropped when using apply"));
        }
    }
}
