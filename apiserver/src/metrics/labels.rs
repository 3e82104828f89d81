//! What tells the series of a metric apart.

use prometheus_client::encoding::EncodeLabelSet;

use crate::corridor::{Request, Verb};

/// What a request was about. Names of objects are no labels: they have no bound.
#[derive(Clone, Debug, Default, Hash, PartialEq, Eq, EncodeLabelSet)]
#[allow(missing_docs)]
pub struct Labels {
    pub verb: &'static str,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub scope: &'static str,
    pub component: &'static str,
    pub dry_run: &'static str,
}

impl Labels {
    /// The labels of a request.
    pub fn of(request: &Request) -> Self {
        Self {
            verb: verb(request.verb),
            group: request.resource.group.to_string(),
            version: request.resource.version.to_string(),
            resource: request.resource.plural.to_string(),
            subresource: request.subresource.clone(),
            scope: scope(&request.namespace, &request.name),
            component: COMPONENT,
            dry_run: if request.options.dry_run { "All" } else { "" },
        }
    }
}

/// The label `component`.
pub const COMPONENT: &str = "apiserver";

/// The label `verb`.
pub fn verb(verb: Verb) -> &'static str {
    match verb {
        Verb::Get => "GET",
        Verb::List => "LIST",
        Verb::Watch => "WATCH",
        Verb::Create => "POST",
        Verb::Update => "PUT",
        Verb::Patch => "PATCH",
        Verb::Delete => "DELETE",
        Verb::DeleteCollection => "DELETECOLLECTION",
    }
}

/// The label `scope`.
pub fn scope(namespace: &str, name: &str) -> &'static str {
    match (name.is_empty(), namespace.is_empty()) {
        (false, _) => "resource",
        (true, false) => "namespace",
        (true, true) => "cluster",
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Total {
    #[prometheus(flatten)]
    pub labels: Labels,
    pub code: u16,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct SliLabels {
    pub verb: &'static str,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub scope: &'static str,
    pub component: &'static str,
}

impl From<Labels> for SliLabels {
    fn from(labels: Labels) -> Self {
        let Labels { verb, group, version, resource, subresource, scope, component, dry_run: _ } = labels;
        Self { verb, group, version, resource, subresource, scope, component }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct DeprecatedLabels {
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub removed_release: &'static str,
}

impl From<&Labels> for DeprecatedLabels {
    fn from(labels: &Labels) -> Self {
        let Labels { group, version, resource, subresource, .. } = labels.clone();
        // Upstream never said when.
        Self { group, version, resource, subresource, removed_release: "" }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct Kind {
    pub request_kind: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct FlowLabels {
    pub flow_schema: String,
    pub priority_level: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct RefusedLabels {
    pub flow_schema: String,
    pub priority_level: String,
    pub reason: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct LevelLabels {
    pub priority_level: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct ResourceLabels {
    pub group: String,
    pub version: String,
    pub resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct StoredLabels {
    pub resource: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
pub(super) struct BuildLabels {
    pub major: &'static str,
    pub minor: &'static str,
    pub git_version: &'static str,
    pub platform: String,
}
