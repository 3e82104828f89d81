//! The kinds that upstream calls deprecated: whoever asks for them is warned.
//! Source: `k8s.io/api/core/v1/lifecycle.go`, `k8s.io/apiserver/pkg/endpoints/deprecation`.

use kubelab_api::Resource;

/// Version, plural name, warning; all in the core group.
const DEPRECATED: [(&str, &str, &str); 2] = [
    ("v1", "componentstatuses", "v1 ComponentStatus is deprecated in v1.19+"),
    ("v1", "endpoints", "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
];

/// What those are told who ask for this resource.
pub fn warning(resource: &Resource) -> Option<&'static str> {
    let known = DEPRECATED.iter().find(|(version, plural, _)| {
        resource.group.is_empty() && resource.version == *version && resource.plural == *plural
    });
    known.map(|(.., warning)| *warning)
}
