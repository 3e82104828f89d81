//! Who has the default roles.
//!
//! Unlike upstream, kubelab's controller-manager has one identity for all of its loops: so the roles of the loops, which
//! upstream binds to a service account each, are bound to the user `system:kube-controller-manager` as well. That happens
//! in [`super::roles`]; here is the rest.

use serde_json::{Value, json};

use super::roles::{CONTROLLER_MANAGER, GROUP};

/// Somebody who has a role.
#[derive(Clone, Copy)]
pub(super) enum Subject {
    /// By name.
    User(&'static str),
    /// All its members.
    Group(&'static str),
    /// A service account in `kube-system`.
    Account(&'static str),
}
use Subject::{Account, Group, User};

impl Subject {
    /// As a binding has it.
    pub(super) fn value(self) -> Value {
        match self {
            User(name) => json!({"kind": "User", "apiGroup": GROUP, "name": name}),
            Group(name) => json!({"kind": "Group", "apiGroup": GROUP, "name": name}),
            Account(name) => json!({"kind": "ServiceAccount", "name": name, "namespace": "kube-system"}),
        }
    }
}

/// Cluster role, subjects. The binding has the role's name.
pub(super) const CLUSTER_BINDINGS: &[(&str, &[Subject])] = &[
    ("cluster-admin", &[Group("system:masters")]),
    ("system:monitoring", &[Group("system:monitoring")]),
    ("system:discovery", &[Group("system:authenticated")]),
    ("system:basic-user", &[Group("system:authenticated")]),
    ("system:public-info-viewer", &[Group("system:authenticated"), Group("system:unauthenticated")]),
    ("system:node-proxier", &[User("system:kube-proxy")]),
    // Elsewhere the network's plugin enforces policies; here the kube-proxy does.
    ("kubelab:network-policies", &[User("system:kube-proxy")]),
    (CONTROLLER_MANAGER, &[User(CONTROLLER_MANAGER)]),
    ("system:kube-dns", &[Account("kube-dns")]),
    ("system:kube-scheduler", &[User("system:kube-scheduler")]),
    ("system:volume-scheduler", &[User("system:kube-scheduler")]),
    ("system:cluster-trust-bundle-discovery", &[Group("system:serviceaccounts")]),
    ("system:service-account-issuer-discovery", &[Group("system:serviceaccounts")]),
    // The node authorizer speaks for nodes.
    ("system:node", &[]),
];

/// Binding, cluster role, subjects: what `kubeadm init` adds, by which machines join with a bootstrap token.
/// Source: `cmd/kubeadm/app/phases/bootstraptoken/node/tlsbootstrap.go`.
pub(super) const JOINING: &[(&str, &str, &[Subject])] = &[
    (
        "kubeadm:kubelet-bootstrap",
        "system:node-bootstrapper",
        &[Group("system:bootstrappers:kubeadm:default-node-token")],
    ),
    (
        "kubeadm:node-autoapprove-bootstrap",
        "system:certificates.k8s.io:certificatesigningrequests:nodeclient",
        &[Group("system:bootstrappers:kubeadm:default-node-token")],
    ),
    (
        "kubeadm:node-autoapprove-certificate-rotation",
        "system:certificates.k8s.io:certificatesigningrequests:selfnodeclient",
        &[Group("system:nodes")],
    ),
];

/// Namespace, binding, role, subjects.
pub(super) const BINDINGS: &[(&str, &str, &str, &[Subject])] = &[
    (
        "kube-system",
        "system::extension-apiserver-authentication-reader",
        "extension-apiserver-authentication-reader",
        &[User(CONTROLLER_MANAGER), User("system:kube-scheduler")],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-controller-manager",
        "system::leader-locking-kube-controller-manager",
        &[User(CONTROLLER_MANAGER), Account("kube-controller-manager"), Account("leader-election-controller")],
    ),
    (
        "kube-system",
        "system::leader-locking-kube-scheduler",
        "system::leader-locking-kube-scheduler",
        &[User("system:kube-scheduler"), Account("kube-scheduler")],
    ),
    (
        "kube-system",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &[Account("bootstrap-signer"), User(CONTROLLER_MANAGER)],
    ),
    (
        "kube-system",
        "system:controller:cloud-provider",
        "system:controller:cloud-provider",
        &[Account("cloud-provider")],
    ),
    (
        "kube-system",
        "system:controller:token-cleaner",
        "system:controller:token-cleaner",
        &[Account("token-cleaner"), User(CONTROLLER_MANAGER)],
    ),
    (
        "kube-public",
        "system:controller:bootstrap-signer",
        "system:controller:bootstrap-signer",
        &[Account("bootstrap-signer"), User(CONTROLLER_MANAGER)],
    ),
    (
        "kube-public",
        "kubeadm:bootstrap-signer-clusterinfo",
        "kubeadm:bootstrap-signer-clusterinfo",
        &[User("system:anonymous")],
    ),
];
