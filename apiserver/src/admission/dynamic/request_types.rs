//! The types of what every expression about a request can name. Source: `k8s.io/apiserver/pkg/admission/plugin/cel/compile.go`.

use std::sync::LazyLock;

use crate::cel::{ObjectType, Type};

/// The type of `namespaceObject`. Source: `BuildNamespaceType`.
pub static NAMESPACE: LazyLock<Type> = LazyLock::new(|| {
    let strings = || Type::map(Type::String, Type::String);
    let list = || Type::list(Type::String);
    let metadata = ObjectType::new(
        "kubernetes.NamespaceMetadata",
        [
            ("name", Type::String),
            ("generateName", Type::String),
            ("namespace", Type::String),
            ("labels", strings()),
            ("annotations", strings()),
            ("UID", Type::String),
            ("creationTimestamp", Type::Timestamp),
            ("deletionGracePeriodSeconds", Type::Int),
            ("deletionTimestamp", Type::Timestamp),
            ("generation", Type::Int),
            ("resourceVersion", Type::String),
            ("finalizers", list()),
        ],
    );
    let condition = ObjectType::new(
        "kubernetes.NamespaceCondition",
        [
            ("status", Type::String),
            ("type", Type::String),
            ("lastTransitionTime", Type::Timestamp),
            ("message", Type::String),
            ("reason", Type::String),
        ],
    );
    let status = [("conditions", Type::list(Type::object(condition))), ("phase", Type::String)];
    let fields = [
        ("metadata", Type::object(metadata)),
        ("spec", Type::object(ObjectType::new("kubernetes.NamespaceSpec", [("finalizers", list())]))),
        ("status", Type::object(ObjectType::new("kubernetes.NamespaceStatus", status))),
    ];
    Type::object(ObjectType::new("kubernetes.Namespace", fields))
});

/// The type of `request`. Source: `BuildRequestType`.
pub static REQUEST: LazyLock<Type> = LazyLock::new(|| {
    let three = |name: &str, third: &'static str| {
        let fields = [("group", Type::String), ("version", Type::String), (third, Type::String)];
        Type::object(ObjectType::new(name, fields))
    };
    let kind = || three("kubernetes.GroupVersionKind", "kind");
    let resource = || three("kubernetes.GroupVersionResource", "resource");
    let user = ObjectType::new(
        "kubernetes.UserInfo",
        [
            ("username", Type::String),
            ("uid", Type::String),
            ("groups", Type::list(Type::String)),
            ("extra", Type::map(Type::String, Type::list(Type::String))),
        ],
    );
    let fields = [
        ("kind", kind()),
        ("resource", resource()),
        ("subResource", Type::String),
        ("requestKind", kind()),
        ("requestResource", resource()),
        ("requestSubResource", Type::String),
        ("name", Type::String),
        ("namespace", Type::String),
        ("operation", Type::String),
        ("userInfo", Type::object(user)),
        ("dryRun", Type::Bool),
        ("options", Type::Dyn),
    ];
    Type::object(ObjectType::new("kubernetes.AdmissionRequest", fields))
});
