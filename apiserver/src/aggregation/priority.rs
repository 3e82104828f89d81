//! Which groups and versions come first. Source: `DefaultGenericAPIServicePriorities` in
//! `pkg/controlplane/apiserver/aggregator.go` and `cmd/kube-apiserver/app/aggregator.go`.

/// Of a group among groups, and of a version within its group; the higher the earlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Priority {
    /// `groupPriorityMinimum`.
    pub group: i32,
    /// `versionPriority`.
    pub version: i32,
}

const GROUPS: &[(&str, i32)] = &[
    ("", 18000),
    ("apps", 17800),
    ("events.k8s.io", 17750),
    ("authentication.k8s.io", 17700),
    ("authorization.k8s.io", 17600),
    ("autoscaling", 17500),
    ("batch", 17400),
    ("certificates.k8s.io", 17300),
    ("networking.k8s.io", 17200),
    ("policy", 17100),
    ("rbac.authorization.k8s.io", 17000),
    ("storage.k8s.io", 16800),
    ("storagemigration.k8s.io", 16800),
    ("apiextensions.k8s.io", 16700),
    ("admissionregistration.k8s.io", 16700),
    ("scheduling.k8s.io", 16600),
    ("coordination.k8s.io", 16500),
    ("node.k8s.io", 16300),
    ("discovery.k8s.io", 16200),
    ("flowcontrol.apiserver.k8s.io", 16100),
    ("internal.apiserver.k8s.io", 16000),
    ("resource.k8s.io", 15900),
];

/// Of a group and version that is built in; `None` for any other. The aggregator's own group has no APIService.
pub fn built_in(group: &str, version: &str) -> Option<Priority> {
    let (_, priority) = GROUPS.iter().find(|(name, _)| *name == group)?;
    let version = match (group, version) {
        ("", "v1") => 1,
        ("autoscaling", "v2") => 30,
        ("flowcontrol.apiserver.k8s.io", "v1") => 21,
        (_, "v1") => 15,
        (_, beta) if beta.contains("beta") => 9,
        _ => 1,
    };
    Some(Priority { group: *priority, version })
}

/// Of custom resources. Source: `pkg/controlplane/controller/crdregistration/crdregistration_controller.go`.
pub const CUSTOM: Priority = Priority { group: 1000, version: 100 };
