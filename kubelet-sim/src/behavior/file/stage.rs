//! kwok's `Stage` objects, reduced to what a kubelet that runs containers can honour. Source of the fields: kwok's
//! `pkg/apis/v1alpha1/stage_types.go` and its documentation.
//!
//! | of a stage of pods | becomes |
//! | --- | --- |
//! | `delay` before a template with `phase: Running` | the containers' start time |
//! | `delay` before `phase: Succeeded` | they exit with 0 after it |
//! | `delay` before `phase: Failed`, or an `exitCode` | they exit with that code, or 1, after it |
//! | `type: Ready` with `status: "False"` while it runs | readiness fails |
//!
//! A selector's labels, annotations and kinds of owners are heeded; what it says of the pod's state is the kubelet's to
//! decide. Passed over, with a word about it: stages of other kinds, `finalizers`, `event`, delays and weights that are
//! read from the object. `delete` needs nothing: pods that are deleted go.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use serde::Deserialize;

use crate::behavior::{Answer, Behavior, Run, images};

/// The version of stages that is read.
pub const API_VERSION: &str = "kwok.x-k8s.io/v1alpha1";

/// A stage as it is written.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    metadata: Metadata,
    spec: Spec,
    #[serde(default, rename = "status")]
    _status: Option<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    name: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Spec {
    resource_ref: Resource,
    #[serde(default)]
    selector: Selector,
    #[serde(default, rename = "weight")]
    _weight: Option<i64>,
    weight_from: Option<serde_json::Value>,
    #[serde(default)]
    delay: Delay,
    next: Next,
    #[serde(default, rename = "immediateNextStage")]
    _immediate: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Resource {
    #[serde(default, rename = "apiGroup")]
    _api_group: String,
    kind: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Selector {
    #[serde(default)]
    match_labels: BTreeMap<String, String>,
    #[serde(default)]
    match_annotations: BTreeMap<String, String>,
    #[serde(default)]
    match_expressions: Vec<Expression>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expression {
    key: String,
    operator: Operator,
    #[serde(default)]
    values: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
enum Operator {
    In,
    NotIn,
    Exists,
    DoesNotExist,
}

#[derive(Clone, Copy, Debug, Default)]
struct Wait {
    least: u64,
    most: Option<u64>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Delay {
    duration_milliseconds: Option<u64>,
    duration_from: Option<serde_json::Value>,
    jitter_duration_milliseconds: Option<u64>,
    jitter_duration_from: Option<serde_json::Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Next {
    event: Option<serde_json::Value>,
    finalizers: Option<serde_json::Value>,
    #[serde(default, rename = "delete")]
    _delete: bool,
    #[serde(default)]
    status_template: String,
    status_subresource: Option<String>,
    status_patch_as: Option<serde_json::Value>,
    patches: Option<serde_json::Value>,
}

/// What a stage comes to.
#[derive(Clone, Debug)]
pub struct Stage {
    selector: Selector,
    wait: Wait,
    effect: Effect,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Starts,
    Ends(i32),
    NotReady,
}

/// What can be honoured of a stage, and what is passed over.
pub fn reduce(document: Document) -> (Option<Stage>, Vec<String>) {
    let Document { metadata: Metadata { name }, spec, .. } = document;
    let about = |what: &str| format!("Stage {name:?}: {what}");
    if spec.resource_ref.kind != "Pod" {
        let kind = &spec.resource_ref.kind;
        return (
            None,
            vec![about(&format!("stages of kind {kind} are not for the kubelet; only those of pods are read"))],
        );
    }
    let mut passed_over = Vec::new();
    let Next { event, finalizers, status_subresource, status_patch_as, patches, status_template, .. } = spec.next;
    let Delay { duration_milliseconds, duration_from, jitter_duration_milliseconds, jitter_duration_from } = spec.delay;
    for (is_there, what) in [
        (event.is_some(), "next.event is not honoured: the kubelet tells of what it does itself"),
        (finalizers.is_some(), "next.finalizers is not honoured"),
        (patches.is_some(), "next.patches is not honoured"),
        (status_subresource.is_some() || status_patch_as.is_some(), "the status is written as the kubelet does"),
        (
            duration_from.is_some() || jitter_duration_from.is_some(),
            "delays that are read from the pod are not honoured",
        ),
        (spec.weight_from.is_some(), "weights that are read from the pod are not honoured"),
    ] {
        if is_there {
            passed_over.push(about(what));
        }
    }
    for expression in spec.selector.match_expressions.iter().filter(|expression| !expression.is_heeded()) {
        passed_over.push(about(&format!("selecting by {} is left to the kubelet", expression.key)));
    }
    let Some(effect) = effect(&status_template) else {
        if !status_template.trim().is_empty() {
            passed_over.push(about("its statusTemplate says nothing that the kubelet could make true"));
        }
        return (None, passed_over);
    };
    let wait = Wait { least: duration_milliseconds.unwrap_or(0), most: jitter_duration_milliseconds };
    (Some(Stage { selector: spec.selector, wait, effect }), passed_over)
}

/// What a template of a status wants. Templates are Go's and no YAML, so this reads line by line.
fn effect(template: &str) -> Option<Effect> {
    let value = |line: &'_ str, key: &str| -> Option<String> {
        let value = line.trim().trim_start_matches("- ").strip_prefix(key)?.strip_prefix(':')?;
        Some(value.trim().trim_matches(['"', '\'']).to_owned())
    };
    let all = |key: &str| template.lines().filter_map(|line| value(line, key)).collect::<Vec<_>>();
    let code = all("exitCode").iter().find_map(|code| code.parse().ok());
    let mut is_ready_condition = false;
    let mut not_ready = false;
    for line in template.lines() {
        if let Some(kind) = value(line, "type") {
            is_ready_condition = matches!(kind.as_str(), "Ready" | "ContainersReady");
        }
        not_ready |= is_ready_condition && value(line, "status").as_deref() == Some("False");
    }
    match (all("phase").first().map(String::as_str), code) {
        (Some("Succeeded"), _) => Some(Effect::Ends(0)),
        (Some("Failed"), code) => Some(Effect::Ends(code.filter(|code| *code != 0).unwrap_or(1))),
        (_, Some(code)) => Some(Effect::Ends(code)),
        (_, None) if not_ready => Some(Effect::NotReady),
        (Some("Running"), None) => Some(Effect::Starts),
        _ => None,
    }
}

impl Expression {
    fn values_of<'a>(&self, pod: &'a Pod) -> Option<Vec<&'a str>> {
        let of_map = |map: Option<&'a BTreeMap<String, String>>, key: &str| -> Vec<&'a str> {
            map.and_then(|map| map.get(key)).map(String::as_str).into_iter().collect()
        };
        // `.metadata.labels["app"]`
        let key =
            |field: &str| Some(self.key.strip_prefix(field)?.strip_prefix("[\"")?.strip_suffix("\"]")?.to_owned());
        if let Some(key) = key(".metadata.labels") {
            return Some(of_map(pod.metadata.labels.as_ref(), &key));
        }
        if let Some(key) = key(".metadata.annotations") {
            return Some(of_map(pod.metadata.annotations.as_ref(), &key));
        }
        let owners = || pod.metadata.owner_references.iter().flatten();
        match self.key.as_str() {
            ".metadata.ownerReferences.[].kind" | ".metadata.ownerReferences[].kind" => {
                Some(owners().map(|owner| owner.kind.as_str()).collect())
            }
            ".metadata.namespace" => Some(pod.metadata.namespace.as_deref().into_iter().collect()),
            ".metadata.name" => Some(pod.metadata.name.as_deref().into_iter().collect()),
            _ => None,
        }
    }

    fn is_heeded(&self) -> bool {
        self.values_of(&Pod::default()).is_some()
    }

    fn holds(&self, pod: &Pod) -> bool {
        let Some(found) = self.values_of(pod) else { return true };
        let named = found.iter().any(|found| self.values.iter().any(|value| value == found));
        match self.operator {
            Operator::In => named,
            Operator::NotIn => !named,
            Operator::Exists => !found.is_empty(),
            Operator::DoesNotExist => found.is_empty(),
        }
    }
}

impl Stage {
    /// Whether it is for this pod.
    pub fn matches(&self, pod: &Pod) -> bool {
        let has = |wanted: &BTreeMap<String, String>, map: Option<&BTreeMap<String, String>>| {
            wanted.iter().all(|(key, value)| map.and_then(|map| map.get(key)) == Some(value))
        };
        has(&self.selector.match_labels, pod.metadata.labels.as_ref())
            && has(&self.selector.match_annotations, pod.metadata.annotations.as_ref())
            && self.selector.match_expressions.iter().all(|expression| expression.holds(pod))
    }

    /// Makes a container of the pod behave so.
    pub fn apply(&self, behavior: &mut Behavior, pod: &Pod) {
        let time = self.wait.of(pod);
        match self.effect {
            Effect::Starts => behavior.start_time = time,
            Effect::Ends(exit_code) => behavior.run = Run::For { time, exit_code },
            Effect::NotReady => behavior.health.readiness = Some(Answer::Fail),
        }
    }
}

impl Wait {
    /// The same for all containers of a pod, another for another pod.
    fn of(self, pod: &Pod) -> Duration {
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        let spread = self.most.unwrap_or(0).saturating_sub(self.least);
        let jitter = images::hash(uid).checked_rem(spread).unwrap_or(0);
        Duration::from_millis(self.least.saturating_add(jitter))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    /// A stage with this selector and template, 2 s late.
    fn stage(selector: &str, template: &str) -> (Option<Stage>, Vec<String>) {
        let yaml = format!(
            "apiVersion: kwok.x-k8s.io/v1alpha1\nkind: Stage\nmetadata: {{name: s}}\nspec:\n  resourceRef: {{apiGroup: v1, \
             kind: Pod}}\n  selector: {selector}\n  delay: {{durationMilliseconds: 2000}}\n  next:\n    statusTemplate: |\n{}",
            template.lines().map(|line| format!("      {line}\n")).collect::<String>()
        );
        reduce(serde_saphyr::from_str(&yaml).unwrap())
    }

    #[test]
    fn a_template_says_what_becomes_of_the_containers() {
        for (template, expected) in [
            ("phase: Running\nstartTime: {{ $now }}", Some(Effect::Starts)),
            ("{{ $now := Now }}\nphase: Succeeded", Some(Effect::Ends(0))),
            ("phase: Failed", Some(Effect::Ends(1))),
            ("containerStatuses:\n- state:\n    terminated:\n      exitCode: 7\nphase: Failed", Some(Effect::Ends(7))),
            ("phase: Running\nconditions:\n- type: Ready\n  status: \"False\"", Some(Effect::NotReady)),
            ("conditions:\n- lastTransitionTime: {{ Now }}\n  type: Initialized", None),
        ] {
            assert_eq!(stage("{}", template).0.map(|stage| stage.effect), expected, "{template}");
        }
    }

    #[test]
    fn labels_and_owners_select_and_the_state_does_not() {
        let selector = r#"{matchLabels: {app: web}, matchExpressions: [
            {key: ".metadata.ownerReferences.[].kind", operator: In, values: [Job]},
            {key: ".status.phase", operator: In, values: [Running]}]}"#;
        let (stage, passed_over) = stage(&selector.replace('\n', " "), "phase: Succeeded");
        let stage = stage.unwrap();
        assert_eq!(passed_over, ["Stage \"s\": selecting by .status.phase is left to the kubelet"]);
        let pod = |label: &str, owner: &str| -> Pod {
            let owner = json!({"apiVersion": "v1", "kind": owner, "name": "o", "uid": "u"});
            serde_json::from_value(json!({"metadata": {"labels": {"app": label}, "ownerReferences": [owner]}})).unwrap()
        };
        assert!(stage.matches(&pod("web", "Job")));
        assert!(!stage.matches(&pod("web", "ReplicaSet")) && !stage.matches(&pod("db", "Job")));
        assert_eq!(stage.wait.of(&pod("web", "Job")), Duration::from_secs(2));
    }

    #[test]
    fn stages_of_nodes_are_passed_over() {
        let yaml = "apiVersion: kwok.x-k8s.io/v1alpha1\nkind: Stage\nmetadata: {name: n}\nspec: {resourceRef: {apiGroup: v1, \
                    kind: Node}, next: {}}";
        let (stage, passed_over) = reduce(serde_saphyr::from_str(yaml).unwrap());
        assert!(stage.is_none() && passed_over[0].contains("kind Node"), "{passed_over:?}");
    }
}
