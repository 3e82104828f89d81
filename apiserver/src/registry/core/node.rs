//! Node. Source: `pkg/registry/core/node/strategy.go`, `printNode` in `pkg/printers/internalversion/printers.go`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, NONE, cells, list, text},
    core::{pod::validation::taint_effect, resources},
    kind::{Column, Kind, age, column, wide},
    validation::{cidr, json, label_key},
};

/// Node.
pub struct NodeKind;

impl Kind for NodeKind {
    type Object = Node;

    fn default(node: &mut Node) {
        let status = node.status.get_or_insert_default();
        if status.allocatable.is_none() {
            status.allocatable.clone_from(&status.capacity);
        }
        [&mut status.capacity, &mut status.allocatable].into_iter().flatten().for_each(resources::canonical);
    }

    fn prepare_update(new: &mut Node, old: &Node) {
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut Node, old: &Node) {
        new.spec.clone_from(&old.spec);
    }

    fn validate(node: &Node, errors: &mut Errors) {
        if let Some(status) = &node.status {
            let path = Path::new("status");
            for (field, amounts) in [("capacity", &status.capacity), ("allocatable", &status.allocatable)] {
                for (name, amount) in amounts.iter().flatten() {
                    resources::amount(name, amount, &path.child(field).child(name), errors);
                }
            }
        }
        let Some(spec) = &node.spec else { return };
        // Upstream reports them below metadata.
        taints(list(&spec.taints), &Path::new("metadata").child("taints"), errors);
        pod_cidrs(list(&spec.pod_cidrs), &Path::new("spec").child("podCIDRs"), errors);
    }

    fn validate_status_update(new: &Node, _old: &Node, errors: &mut Errors) {
        NodeKind::validate(new, errors);
        let addresses = new.status.as_ref().map_or(&[][..], |status| list(&status.addresses));
        for (i, address) in addresses.iter().enumerate().filter(|(i, address)| addresses[..*i].contains(address)) {
            errors.duplicate(&Path::new("status").child("addresses").index(i), json(address));
        }
    }

    // Source: `pkg/registry/core/node/strategy.go`, `fieldIsDeprecatedWarnings`.
    fn warnings(node: &Node) -> Vec<String> {
        let none = NodeSpec::default();
        let spec = node.spec.as_ref().unwrap_or(&none);
        let mut warnings = Vec::new();
        if spec.config_source.is_some() {
            warnings.push("spec.configSource: the feature is removed".into());
        }
        if !text(&spec.external_id).is_empty() {
            warnings.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".into());
        }
        warnings
    }

    fn validate_update(new: &Node, old: &Node, errors: &mut Errors) {
        let path = Path::new("spec");
        let external = |node: &Node| node.spec.as_ref().and_then(|spec| spec.external_id.clone()).unwrap_or_default();
        if external(new) != external(old) {
            errors.forbidden(&path.child("externalID"), "may not be updated");
        }
        let (new, old) = (new.spec.clone().unwrap_or_default(), old.spec.clone().unwrap_or_default());
        if !list(&old.pod_cidrs).is_empty() && new.pod_cidrs != old.pod_cidrs {
            let detail = "node updates may not change podCIDR except from \"\" to valid";
            errors.forbidden(&path.child("podCIDRs"), detail);
        }
        if !text(&old.provider_id).is_empty() && new.provider_id != old.provider_id {
            let detail = "node updates may not change providerID except from \"\" to valid";
            errors.forbidden(&path.child("providerID"), detail);
        }
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Status", "string"),
        column("Roles", "string"),
        AGE,
        column("Version", "string"),
        wide("Internal-IP", "string"),
        wide("External-IP", "string"),
        wide("OS-Image", "string"),
        wide("Kernel-Version", "string"),
        wide("Container-Runtime", "string"),
    ];

    fn cells(node: &Node, now: Timestamp) -> Vec<Value> {
        let none = NodeStatus::default();
        let status = node.status.as_ref().unwrap_or(&none);
        let info = status.node_info.as_ref();
        let address = |kind: &str| {
            let found = list(&status.addresses).iter().find(|address| address.type_ == kind);
            found.map_or(NONE, |address| address.address.as_str())
        };
        let known = |text: Option<&String>| match text {
            Some(text) if !text.is_empty() => text.clone(),
            _ => "<unknown>".into(),
        };
        cells![
            cells::name(&node.metadata),
            state(node),
            roles(node),
            age(&node.metadata, now),
            info.map_or("", |info| &info.kubelet_version),
            address("InternalIP"),
            address("ExternalIP"),
            known(info.map(|info| &info.os_image)),
            known(info.map(|info| &info.kernel_version)),
            known(info.map(|info| &info.container_runtime_version)),
        ]
    }

    fn fields(node: &Node) -> Vec<(&'static str, String)> {
        vec![("spec.unschedulable", is_cordoned(node).to_string())]
    }

    fn note(new: &Node, old: Option<&Node>) -> String {
        let Some(old) = old else { return "registered".into() };
        let mut said = Vec::new();
        if ready(old) != ready(new) {
            said.push(format!("{} → {}", ready(old), ready(new)));
        }
        match (is_cordoned(old), is_cordoned(new)) {
            (false, true) => said.push("cordoned".into()),
            (true, false) => said.push("uncordoned".into()),
            _ => {}
        }
        let taints = |node: &Node| -> BTreeSet<String> {
            let taints = node.spec.as_ref().map_or(&[][..], |spec| list(&spec.taints));
            taints.iter().map(|taint| format!("{}:{}", taint.key, taint.effect)).collect()
        };
        let (before, after) = (taints(old), taints(new));
        said.extend(after.difference(&before).map(|taint| format!("tainted {taint}")));
        said.extend(before.difference(&after).map(|taint| format!("untainted {taint}")));
        said.join(", ")
    }
}

/// At most one block of each family.
fn pod_cidrs(blocks: &[String], path: &Path, errors: &mut Errors) {
    blocks.iter().enumerate().for_each(|(i, block)| cidr(block, &path.index(i), errors));
    if blocks.len() < 2 {
        return;
    }
    let families: BTreeSet<_> = blocks.iter().map(|block| block.contains(':')).collect();
    if families.len() != 2 || blocks.len() > 2 {
        errors.invalid(path, json(&blocks), "may specify no more than one CIDR for each IP family");
    }
    let mut seen = BTreeSet::new();
    for (i, block) in blocks.iter().enumerate().filter(|(_, block)| !seen.insert(*block)) {
        errors.duplicate(&path.index(i), block.as_str());
    }
}

fn taints(taints: &[Taint], path: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (i, taint) in taints.iter().enumerate() {
        let path = path.index(i);
        label_key(&taint.key, &path.child("key"), errors);
        let value = text(&taint.value);
        let wrong = name::label_value(value);
        if !wrong.is_empty() {
            errors.invalid(&path.child("value"), value, &wrong.join(";"));
        }
        taint_effect(&taint.effect, &path.child("effect"), errors);
        if !seen.insert((&taint.key, &taint.effect)) {
            errors.duplicate(&path, json(taint));
            if let Some(error) = errors.0.last_mut() {
                error.message += ": taints must be unique by key and effect pair";
            }
        }
    }
}

fn is_cordoned(node: &Node) -> bool {
    node.spec.as_ref().is_some_and(|spec| spec.unschedulable == Some(true))
}

fn ready(node: &Node) -> &'static str {
    let conditions = node.status.as_ref().map_or(&[][..], |status| list(&status.conditions));
    match conditions.iter().find(|condition| condition.type_ == "Ready") {
        Some(condition) if condition.status == "True" => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
}

fn state(node: &Node) -> String {
    let cordoned = if is_cordoned(node) { ",SchedulingDisabled" } else { "" };
    format!("{}{cordoned}", ready(node))
}

fn roles(node: &Node) -> String {
    let labels = node.metadata.labels.iter().flatten();
    let roles = labels.filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
        Some(role) => Some(role),
        None if key == "kubernetes.io/role" => Some(value.as_str()),
        None => None,
    });
    let roles: BTreeSet<_> = roles.filter(|role| !role.is_empty()).collect();
    if roles.is_empty() { NONE.into() } else { roles.into_iter().collect::<Vec<_>>().join(",") }
}
