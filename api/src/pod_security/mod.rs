//! The Pod Security Standards: what a pod may ask of its node, at three levels and in the version that a namespace names.
//! Source: `k8s.io/pod-security-admission`, <https://kubernetes.io/docs/concepts/security/pod-security-standards/>.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`baseline`], [`restricted`] | the checks of each level |
//! | [`policy`] | what a namespace's labels ask for |

mod baseline;
mod containers;
mod policy;
mod restricted;

use std::{collections::BTreeMap, fmt};

use k8s_openapi::api::core::v1::PodSpec;

pub use policy::Policy;

/// How much a pod may ask for. The order is from lenient to strict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Anything.
    #[default]
    Privileged,
    /// Nothing that is known to escalate rights.
    Baseline,
    /// Best practice only.
    Restricted,
}

impl Level {
    const TABLE: [(&str, Level); 3] =
        [("privileged", Level::Privileged), ("baseline", Level::Baseline), ("restricted", Level::Restricted)];

    fn name(self) -> &'static str {
        Self::TABLE.iter().find(|row| row.1 == self).map_or("", |row| row.0)
    }
}

/// A version of the standards. The order is from old to new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Version {
    /// As they were in Kubernetes 1.x.
    Minor(u32),
    /// As they are.
    Latest,
}

/// A level in a version: `restricted:v1.25`, `baseline:latest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standard {
    /// The level.
    pub level: Level,
    /// The version.
    pub version: Version,
}

impl Default for Standard {
    fn default() -> Self {
        Self { level: Level::default(), version: Version::Latest }
    }
}

impl fmt::Display for Standard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Version::Latest => write!(f, "{}:latest", self.level.name()),
            Version::Minor(minor) => write!(f, "{}:v1.{minor}", self.level.name()),
        }
    }
}

/// What a pod has of annotations.
pub type Annotations = BTreeMap<String, String>;

/// What is looked at.
#[derive(Clone, Copy)]
struct Subject<'a> {
    annotations: Option<&'a Annotations>,
    spec: &'a PodSpec,
}

/// One way in which a pod keeps not to a standard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// In short: `privileged`.
    pub reason: String,
    /// What exactly: `container "c" must not set securityContext.privileged=true`.
    pub detail: String,
}

impl Violation {
    fn new(reason: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { reason: reason.into(), detail: detail.into() }
    }
}

type Check = fn(Subject<'_>) -> Option<Violation>;

/// A check, in the versions in which it changed, from old to new.
struct Row {
    versions: &'static [(u32, Check)],
    /// The check of the same name at the stricter level stands in for this one.
    overridden_since: Option<u32>,
}

impl Row {
    fn at(&self, version: Version) -> Option<Check> {
        let applies = |row: &&(u32, Check)| version >= Version::Minor(row.0);
        self.versions.iter().rev().find(applies).map(|row| row.1)
    }

    fn stands(&self, standard: Standard) -> bool {
        let overridden = self.overridden_since.is_some_and(|since| standard.version >= Version::Minor(since));
        !(standard.level == Level::Restricted && overridden)
    }
}

/// How a pod, or the template of one, violates a standard.
pub fn violations(standard: Standard, annotations: Option<&Annotations>, spec: &PodSpec) -> Vec<Violation> {
    let subject = Subject { annotations, spec };
    let rows: &[&[Row]] = match standard.level {
        Level::Privileged => &[],
        Level::Baseline => &[baseline::CHECKS],
        Level::Restricted => &[baseline::CHECKS, restricted::CHECKS],
    };
    let checks = rows.iter().copied().flatten().filter(|row| row.stands(standard));
    checks.filter_map(|row| row.at(standard.version)).filter_map(|check| check(subject)).collect()
}

/// All reasons: `host namespaces, privileged`.
pub fn reasons(violations: &[Violation]) -> String {
    let reasons: Vec<_> = violations.iter().map(|violation| violation.reason.as_str()).collect();
    reasons.join(", ")
}

/// All reasons with their details: `host namespaces (hostNetwork=true), privileged (container …)`.
pub fn details(violations: &[Violation]) -> String {
    let one = |violation: &Violation| match violation.detail.as_str() {
        "" => violation.reason.clone(),
        detail => format!("{} ({detail})", violation.reason),
    };
    violations.iter().map(one).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests;
