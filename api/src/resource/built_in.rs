//! The table of built-in resources.

use std::{borrow::Cow, sync::LazyLock};

use super::{Resource, Text, Verbs};

fn texts(names: &[&'static str]) -> Vec<Text> {
    names.iter().map(|name| Cow::Borrowed(*name)).collect()
}

fn row(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    singular: &'static str,
    namespaced: bool,
) -> Resource {
    Resource {
        group: Cow::Borrowed(group),
        version: Cow::Borrowed(version),
        kind: Cow::Borrowed(kind),
        plural: Cow::Borrowed(plural),
        singular: Cow::Borrowed(singular),
        list_kind: Cow::Borrowed(""),
        short_names: Vec::new(),
        categories: Vec::new(),
        namespaced,
        verbs: Verbs::All,
        subresources: Vec::new(),
    }
}

impl Resource {
    fn short(mut self, names: &'static [&'static str]) -> Self {
        self.short_names = texts(names);
        self
    }
    fn all(mut self) -> Self {
        self.categories = texts(&["all"]);
        self
    }
    fn category(mut self, names: &'static [&'static str]) -> Self {
        self.categories = texts(names);
        self
    }
    fn sub(mut self, names: &'static [&'static str]) -> Self {
        self.subresources = texts(names);
        self
    }
    fn create_only(mut self) -> Self {
        self.verbs = Verbs::Create;
        self
    }
    fn read_only(mut self) -> Self {
        self.verbs = Verbs::Read;
        self
    }
}

const CLUSTER: bool = false;
const NAMESPACED: bool = true;
const STATUS: &[&str] = &["status"];
const SCALED: &[&str] = &["scale", "status"];
const EXTENSIONS: &[&str] = &["api-extensions"];

const ADMISSION: &str = "admissionregistration.k8s.io";
const AUTHENTICATION: &str = "authentication.k8s.io";
const AUTHORIZATION: &str = "authorization.k8s.io";
const NETWORKING: &str = "networking.k8s.io";
const RBAC: &str = "rbac.authorization.k8s.io";
const STORAGE: &str = "storage.k8s.io";

/// Every built-in resource that kubelab serves, in the order in which discovery lists it. Within a group, the preferred
/// version comes first. Names, scopes and categories: the discovery documents of Kubernetes v1.37.
pub static BUILT_IN: LazyLock<Vec<Resource>> = LazyLock::new(|| {
    vec![
        row("", "v1", "Binding", "bindings", "binding", NAMESPACED).create_only(),
        row("", "v1", "ComponentStatus", "componentstatuses", "componentstatus", CLUSTER).short(&["cs"]).read_only(),
        row("", "v1", "ConfigMap", "configmaps", "configmap", NAMESPACED).short(&["cm"]),
        row("", "v1", "Endpoints", "endpoints", "endpoints", NAMESPACED).short(&["ep"]),
        row("", "v1", "Event", "events", "event", NAMESPACED).short(&["ev"]),
        row("", "v1", "LimitRange", "limitranges", "limitrange", NAMESPACED).short(&["limits"]),
        row("", "v1", "Namespace", "namespaces", "namespace", CLUSTER).short(&["ns"]).sub(&["finalize", "status"]),
        row("", "v1", "Node", "nodes", "node", CLUSTER).short(&["no"]).sub(&["proxy", "status"]),
        row("", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", "persistentvolumeclaim", NAMESPACED)
            .short(&["pvc"])
            .sub(STATUS),
        row("", "v1", "PersistentVolume", "persistentvolumes", "persistentvolume", CLUSTER).short(&["pv"]).sub(STATUS),
        row("", "v1", "Pod", "pods", "pod", NAMESPACED).short(&["po"]).all().sub(&[
            "attach",
            "binding",
            "ephemeralcontainers",
            "eviction",
            "exec",
            "log",
            "portforward",
            "proxy",
            "resize",
            "status",
        ]),
        row("", "v1", "PodTemplate", "podtemplates", "podtemplate", NAMESPACED),
        row("", "v1", "ReplicationController", "replicationcontrollers", "replicationcontroller", NAMESPACED)
            .short(&["rc"])
            .all()
            .sub(SCALED),
        row("", "v1", "ResourceQuota", "resourcequotas", "resourcequota", NAMESPACED).short(&["quota"]).sub(STATUS),
        row("", "v1", "Secret", "secrets", "secret", NAMESPACED),
        row("", "v1", "ServiceAccount", "serviceaccounts", "serviceaccount", NAMESPACED).short(&["sa"]).sub(&["token"]),
        row("", "v1", "Service", "services", "service", NAMESPACED).short(&["svc"]).all().sub(&["proxy", "status"]),
        row("apiregistration.k8s.io", "v1", "APIService", "apiservices", "apiservice", CLUSTER)
            .category(EXTENSIONS)
            .sub(STATUS),
        row("apps", "v1", "ControllerRevision", "controllerrevisions", "controllerrevision", NAMESPACED),
        row("apps", "v1", "DaemonSet", "daemonsets", "daemonset", NAMESPACED).short(&["ds"]).all().sub(STATUS),
        row("apps", "v1", "Deployment", "deployments", "deployment", NAMESPACED).short(&["deploy"]).all().sub(SCALED),
        row("apps", "v1", "ReplicaSet", "replicasets", "replicaset", NAMESPACED).short(&["rs"]).all().sub(SCALED),
        row("apps", "v1", "StatefulSet", "statefulsets", "statefulset", NAMESPACED).short(&["sts"]).all().sub(SCALED),
        row("events.k8s.io", "v1", "Event", "events", "event", NAMESPACED).short(&["ev"]),
        row(AUTHENTICATION, "v1", "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview", CLUSTER)
            .create_only(),
        // Gone upstream; the oldest kubectl that is supported asks for it.
        row(AUTHENTICATION, "v1beta1", "SelfSubjectReview", "selfsubjectreviews", "selfsubjectreview", CLUSTER)
            .create_only(),
        row(AUTHENTICATION, "v1", "TokenReview", "tokenreviews", "tokenreview", CLUSTER).create_only(),
        row(
            AUTHORIZATION,
            "v1",
            "LocalSubjectAccessReview",
            "localsubjectaccessreviews",
            "localsubjectaccessreview",
            NAMESPACED,
        )
        .create_only(),
        row(
            AUTHORIZATION,
            "v1",
            "SelfSubjectAccessReview",
            "selfsubjectaccessreviews",
            "selfsubjectaccessreview",
            CLUSTER,
        )
        .create_only(),
        row(
            AUTHORIZATION,
            "v1",
            "SelfSubjectRulesReview",
            "selfsubjectrulesreviews",
            "selfsubjectrulesreview",
            CLUSTER,
        )
        .create_only(),
        row(AUTHORIZATION, "v1", "SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview", CLUSTER)
            .create_only(),
        row(
            "autoscaling",
            "v2",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            "horizontalpodautoscaler",
            NAMESPACED,
        )
        .short(&["hpa"])
        .all()
        .sub(STATUS),
        row(
            "autoscaling",
            "v1",
            "HorizontalPodAutoscaler",
            "horizontalpodautoscalers",
            "horizontalpodautoscaler",
            NAMESPACED,
        )
        .short(&["hpa"])
        .all()
        .sub(STATUS),
        row("batch", "v1", "CronJob", "cronjobs", "cronjob", NAMESPACED).short(&["cj"]).all().sub(STATUS),
        row("batch", "v1", "Job", "jobs", "job", NAMESPACED).all().sub(STATUS),
        row(
            "certificates.k8s.io",
            "v1",
            "CertificateSigningRequest",
            "certificatesigningrequests",
            "certificatesigningrequest",
            CLUSTER,
        )
        .short(&["csr"])
        .sub(&["approval", "status"]),
        row("certificates.k8s.io", "v1", "ClusterTrustBundle", "clustertrustbundles", "clustertrustbundle", CLUSTER),
        row(
            "certificates.k8s.io",
            "v1",
            "PodCertificateRequest",
            "podcertificaterequests",
            "podcertificaterequest",
            NAMESPACED,
        )
        .sub(STATUS),
        row(NETWORKING, "v1", "IngressClass", "ingressclasses", "ingressclass", CLUSTER),
        row(NETWORKING, "v1", "Ingress", "ingresses", "ingress", NAMESPACED).short(&["ing"]).sub(STATUS),
        row(NETWORKING, "v1", "IPAddress", "ipaddresses", "ipaddress", CLUSTER).short(&["ip"]),
        row(NETWORKING, "v1", "NetworkPolicy", "networkpolicies", "networkpolicy", NAMESPACED).short(&["netpol"]),
        row(NETWORKING, "v1", "ServiceCIDR", "servicecidrs", "servicecidr", CLUSTER).sub(STATUS),
        row("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets", "poddisruptionbudget", NAMESPACED)
            .short(&["pdb"])
            .sub(STATUS),
        row(RBAC, "v1", "ClusterRoleBinding", "clusterrolebindings", "clusterrolebinding", CLUSTER),
        row(RBAC, "v1", "ClusterRole", "clusterroles", "clusterrole", CLUSTER),
        row(RBAC, "v1", "RoleBinding", "rolebindings", "rolebinding", NAMESPACED),
        row(RBAC, "v1", "Role", "roles", "role", NAMESPACED),
        row("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", "deviceclass", CLUSTER),
        row("resource.k8s.io", "v1", "DeviceTaintRule", "devicetaintrules", "devicetaintrule", CLUSTER).sub(STATUS),
        row("resource.k8s.io", "v1", "ResourceClaim", "resourceclaims", "resourceclaim", NAMESPACED).sub(STATUS),
        row(
            "resource.k8s.io",
            "v1",
            "ResourceClaimTemplate",
            "resourceclaimtemplates",
            "resourceclaimtemplate",
            NAMESPACED,
        ),
        row("resource.k8s.io", "v1", "ResourceSlice", "resourceslices", "resourceslice", CLUSTER),
        row(STORAGE, "v1", "CSIDriver", "csidrivers", "csidriver", CLUSTER),
        row(STORAGE, "v1", "CSINode", "csinodes", "csinode", CLUSTER),
        row(STORAGE, "v1", "CSIStorageCapacity", "csistoragecapacities", "csistoragecapacity", NAMESPACED),
        row(STORAGE, "v1", "StorageClass", "storageclasses", "storageclass", CLUSTER).short(&["sc"]),
        row(STORAGE, "v1", "VolumeAttachment", "volumeattachments", "volumeattachment", CLUSTER).sub(STATUS),
        row(STORAGE, "v1", "VolumeAttributesClass", "volumeattributesclasses", "volumeattributesclass", CLUSTER)
            .short(&["vac"]),
        row(
            "storagemigration.k8s.io",
            "v1",
            "StorageVersionMigration",
            "storageversionmigrations",
            "storageversionmigration",
            CLUSTER,
        )
        .sub(STATUS),
        row(
            ADMISSION,
            "v1",
            "MutatingAdmissionPolicy",
            "mutatingadmissionpolicies",
            "mutatingadmissionpolicy",
            CLUSTER,
        )
        .category(EXTENSIONS),
        row(
            ADMISSION,
            "v1",
            "MutatingAdmissionPolicyBinding",
            "mutatingadmissionpolicybindings",
            "mutatingadmissionpolicybinding",
            CLUSTER,
        )
        .category(EXTENSIONS),
        row(
            ADMISSION,
            "v1",
            "MutatingWebhookConfiguration",
            "mutatingwebhookconfigurations",
            "mutatingwebhookconfiguration",
            CLUSTER,
        )
        .category(EXTENSIONS),
        row(
            ADMISSION,
            "v1",
            "ValidatingAdmissionPolicy",
            "validatingadmissionpolicies",
            "validatingadmissionpolicy",
            CLUSTER,
        )
        .category(EXTENSIONS)
        .sub(STATUS),
        row(
            ADMISSION,
            "v1",
            "ValidatingAdmissionPolicyBinding",
            "validatingadmissionpolicybindings",
            "validatingadmissionpolicybinding",
            CLUSTER,
        )
        .category(EXTENSIONS),
        row(
            ADMISSION,
            "v1",
            "ValidatingWebhookConfiguration",
            "validatingwebhookconfigurations",
            "validatingwebhookconfiguration",
            CLUSTER,
        )
        .category(EXTENSIONS),
        row(
            "apiextensions.k8s.io",
            "v1",
            "CustomResourceDefinition",
            "customresourcedefinitions",
            "customresourcedefinition",
            CLUSTER,
        )
        .short(&["crd", "crds"])
        .category(EXTENSIONS)
        .sub(STATUS),
        row("scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", "priorityclass", CLUSTER).short(&["pc"]),
        row("coordination.k8s.io", "v1", "Lease", "leases", "lease", NAMESPACED),
        row("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", "runtimeclass", CLUSTER),
        row("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", "endpointslice", NAMESPACED),
        row("flowcontrol.apiserver.k8s.io", "v1", "FlowSchema", "flowschemas", "flowschema", CLUSTER).sub(STATUS),
        row(
            "flowcontrol.apiserver.k8s.io",
            "v1",
            "PriorityLevelConfiguration",
            "prioritylevelconfigurations",
            "prioritylevelconfiguration",
            CLUSTER,
        )
        .sub(STATUS),
    ]
});
