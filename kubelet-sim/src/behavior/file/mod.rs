//! The behaviour file: what containers do, by their image, labels and names. It is YAML of one or more documents, each a
//! list of rules of ours or a `Stage` of kwok's:
//!
//! ```yaml
//! apiVersion: kubelab.dev/v1alpha1
//! kind: Behaviors
//! rules:
//! - match: {image: "team/*", labels: {tier: web}}
//!   behavior: {start-time: 3s, cpu-usage: "0s:50m,2m:800m"}
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`stage`] | kwok's stages, as far as they can be honoured |
//!
//! All rules that match apply, in the order of the file; a pod's annotations come after them. What a rule says are the keys
//! and values of the annotations, without `kubelab.dev/`.

pub mod stage;

use std::{collections::BTreeMap, io, path::Path};

use k8s_openapi::api::core::v1::{Container, Pod};
use serde::Deserialize;

use self::stage::Stage;
use super::{
    Behavior,
    annotations::{self, Override},
    images,
};

const API_VERSION: &str = "kubelab.dev/v1alpha1";
const KIND: &str = "Behaviors";

/// What containers do, by what they are. Empty: what their images and commands say.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    rules: Vec<Rule>,
    stages: Vec<Stage>,
    /// What of the file is passed over, for people to read.
    pub passed_over: Vec<String>,
}

/// Why a behaviour file is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("the behaviour file {path} cannot be read: {source}")]
    Unreadable {
        /// Where it should be.
        path: String,
        /// Why not.
        source: io::Error,
    },
    /// It is not YAML, or has fields that are not known or of another type.
    #[error("document {number} of the behaviour file is malformed: {why}")]
    Malformed {
        /// Which, counted from 1.
        number: usize,
        /// Why.
        why: String,
    },
    /// It is of a kind that is not known.
    #[error(
        "document {number} of the behaviour file is a {kind:?} of {version:?}: it must be a {KIND} of {API_VERSION}, or a Stage of {}",
        stage::API_VERSION
    )]
    OtherKind {
        /// Which, counted from 1.
        number: usize,
        /// What it says it is.
        kind: String,
        /// Of which version.
        version: String,
    },
    /// What a rule says makes no sense.
    #[error("rule {rule} in document {number} of the behaviour file: {source}")]
    Rule {
        /// Which document, counted from 1.
        number: usize,
        /// Which rule in it, counted from 1.
        rule: usize,
        /// What is wrong.
        source: annotations::Error,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Document {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    #[serde(rename = "kind")]
    _kind: String,
    rules: Vec<RuleDocument>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleDocument {
    #[serde(rename = "match", default)]
    matches: Match,
    behavior: BTreeMap<String, Text>,
}

/// A text, or a number that stands for one: `exit-code: 3`.
#[derive(Deserialize)]
#[serde(untagged)]
enum Text {
    Number(i64),
    Text(String),
}

impl Text {
    fn into_string(self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text,
        }
    }
}

/// Which containers a rule is for: those that have all of this.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Match {
    /// With `*` for any text; the whole name as the spec has it, or its last part without the tag.
    image: Option<String>,
    namespace: Option<String>,
    container: Option<String>,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Rule {
    matches: Match,
    overrides: Vec<Override>,
}

impl Rules {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| Error::Unreadable { path: path.display().to_string(), source })?;
        Self::parse(&text)
    }

    /// Reads the text of a file.
    pub fn parse(yaml: &str) -> Result<Self, Error> {
        let mut rules = Self::default();
        for (number, text) in (1..).zip(documents(yaml)) {
            let malformed = |error: serde_saphyr::Error| Error::Malformed { number, why: error.to_string() };
            let header: Header = serde_saphyr::from_str(&text).map_err(malformed)?;
            match (header.kind.as_str(), header.api_version.as_str()) {
                (KIND, API_VERSION) => {
                    let document: Document = serde_saphyr::from_str(&text).map_err(malformed)?;
                    for (rule, document) in (1..).zip(document.rules) {
                        let parse = |(key, value): (String, Text)| Override::parse(&key, &key, &value.into_string());
                        let overrides: Result<Vec<_>, _> = document.behavior.into_iter().map(parse).collect();
                        let overrides = overrides.map_err(|source| Error::Rule { number, rule, source })?;
                        rules.rules.push(Rule { matches: document.matches, overrides });
                    }
                }
                ("Stage", stage::API_VERSION) => {
                    let document: stage::Document = serde_saphyr::from_str(&text).map_err(malformed)?;
                    let (stage, passed_over) = stage::reduce(document);
                    rules.stages.extend(stage);
                    rules.passed_over.extend(passed_over);
                }
                (kind, version) => {
                    let (kind, version) = (kind.to_owned(), version.to_owned());
                    return Err(Error::OtherKind { number, kind, version });
                }
            }
        }
        Ok(rules)
    }

    /// Changes what a container of a pod does into what the file says.
    pub fn apply(&self, behavior: &mut Behavior, pod: &Pod, container: &Container) {
        for stage in self.stages.iter().filter(|stage| stage.matches(pod)) {
            stage.apply(behavior, pod);
        }
        for rule in self.rules.iter().filter(|rule| rule.matches.holds(pod, container)) {
            for change in &rule.overrides {
                change.clone().apply(behavior);
            }
        }
    }
}

/// The documents of a YAML stream; those that only comment are passed over.
fn documents(yaml: &str) -> Vec<String> {
    let mut all = vec![String::new()];
    for line in yaml.lines() {
        if line == "---" || line.starts_with("--- ") {
            all.push(String::new());
        } else if let Some(last) = all.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    let says = |line: &str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    all.retain(|document| document.lines().any(says));
    all
}

impl Match {
    fn holds(&self, pod: &Pod, container: &Container) -> bool {
        let is = |wanted: &Option<String>, is: Option<&str>| wanted.is_none() || wanted.as_deref() == is;
        let image = container.image.as_deref().unwrap_or_default();
        let names = |pattern: &String| glob(pattern, image) || glob(pattern, images::short_name(image));
        let labels = pod.metadata.labels.as_ref();
        self.image.as_ref().is_none_or(names)
            && is(&self.namespace, pod.metadata.namespace.as_deref())
            && is(&self.container, Some(&container.name))
            && self.labels.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
    }
}

/// Whether a text is what a pattern says, where `*` is any text.
fn glob(pattern: &str, text: &str) -> bool {
    let Some((head, rest)) = pattern.split_once('*') else { return pattern == text };
    let Some(text) = text.strip_prefix(head) else { return false };
    (0..=text.len()).filter(|at| text.is_char_boundary(*at)).any(|at| glob(rest, &text[at..]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;
    use crate::behavior::{Pull, Run};

    fn behavior(yaml: &str, image: &str, annotations: serde_json::Value) -> Behavior {
        let pod = json!({"metadata": {"namespace": "shop", "labels": {"tier": "web"}, "annotations": annotations},
            "spec": {"containers": [{"name": "main", "image": image}]}});
        let pod: Pod = serde_json::from_value(pod).unwrap();
        Behavior::of(&pod, &pod.spec.as_ref().unwrap().containers[0], &Rules::parse(yaml).unwrap())
    }

    const FILE: &str = r#"
# Two rules.
apiVersion: kubelab.dev/v1alpha1
kind: Behaviors
rules:
- match: {image: "team/*", labels: {tier: web}, namespace: shop}
  behavior: {exit-after: 9s, exit-code: 3}
- match: {image: slow}
  behavior:
    pull-time: 1m
    memory-usage: "0s:10Mi,1m:64Mi"
"#;

    #[test]
    fn rules_that_match_apply_and_annotations_come_last() {
        let ends = |seconds, exit_code| Run::For { time: std::time::Duration::from_secs(seconds), exit_code };
        assert_eq!(behavior(FILE, "team/app:2", json!({})).run, ends(9, 3));
        assert_eq!(behavior(FILE, "team/app:2", json!({"kubelab.dev/exit-code": "0"})).run, ends(9, 0));
        assert_eq!(behavior(FILE, "other/app", json!({})).run, Run::UntilStopped);
        let slow = behavior(FILE, "example.com/x/slow:1", json!({}));
        assert!(matches!(slow.pull, Pull::Succeeds { time, .. } if time.as_secs() == 60), "{:?}", slow.pull);
        assert_eq!(slow.usage.memory.at(std::time::Duration::from_secs(60)), 64 << 20);
    }

    #[test]
    fn a_bad_file_is_refused_and_says_where() {
        let document = |rules: &str| format!("apiVersion: kubelab.dev/v1alpha1\nkind: Behaviors\nrules: {rules}\n");
        for (yaml, says) in [
            ("kind: Behaviors".to_owned(), "document 1 of the behaviour file is a \"Behaviors\" of \"\""),
            (document("[{behavior: {exit-code: many}}]"), "rule 1 in document 1"),
            (document("[{behavior: {colour: blue}}]"), "annotation \"colour\" is not known"),
            (document("[{behavior: {}, when: later}]"), "unknown field"),
            (document("[{match: {image: x, tag: y}, behavior: {}}]"), "unknown field"),
            (format!("{}---\nnot: [yaml", document("[]")), "document 2 of the behaviour file is malformed"),
        ] {
            let error = Rules::parse(&yaml).unwrap_err().to_string();
            assert!(error.contains(says), "{yaml}: {error}");
        }
        assert!(Rules::parse("").unwrap().rules.is_empty());
    }

    #[test]
    fn a_star_is_any_text() {
        for (pattern, text, expected) in
            [("*", "", true), ("a*c", "abbc", true), ("a*c", "abcd", false), ("a", "ab", false), ("*b*", "abc", true)]
        {
            assert_eq!(glob(pattern, text), expected, "{pattern} {text}");
        }
    }
}
