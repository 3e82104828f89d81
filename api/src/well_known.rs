//! Labels, taints and annotations with a meaning. Source: `k8s.io/api/core/v1` and
//! <https://kubernetes.io/docs/reference/labels-annotations-taints/>.

/// Labels.
#[allow(missing_docs)]
pub mod label {
    pub const HOSTNAME: &str = "kubernetes.io/hostname";
    pub const OS: &str = "kubernetes.io/os";
    pub const ARCH: &str = "kubernetes.io/arch";
    pub const OS_BETA: &str = "beta.kubernetes.io/os";
    pub const ARCH_BETA: &str = "beta.kubernetes.io/arch";
    pub const INSTANCE_TYPE: &str = "node.kubernetes.io/instance-type";
    pub const ZONE: &str = "topology.kubernetes.io/zone";
    pub const REGION: &str = "topology.kubernetes.io/region";
    pub const METADATA_NAME: &str = "kubernetes.io/metadata.name";
    pub const EXCLUDE_BALANCERS: &str = "node.kubernetes.io/exclude-from-external-load-balancers";
    /// Only others than the node itself may set labels below this domain.
    pub const NODE_RESTRICTION_DOMAIN: &str = "node-restriction.kubernetes.io";

    pub const POD_TEMPLATE_HASH: &str = "pod-template-hash";
    pub const CONTROLLER_REVISION_HASH: &str = "controller-revision-hash";
    pub const POD_TEMPLATE_GENERATION: &str = "pod-template-generation";
    pub const STATEFUL_SET_POD_NAME: &str = "statefulset.kubernetes.io/pod-name";
    pub const POD_INDEX: &str = "apps.kubernetes.io/pod-index";
    pub const JOB_NAME: &str = "batch.kubernetes.io/job-name";
    pub const JOB_NAME_LEGACY: &str = "job-name";
    pub const CONTROLLER_UID: &str = "batch.kubernetes.io/controller-uid";
    pub const CONTROLLER_UID_LEGACY: &str = "controller-uid";
    pub const JOB_COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";

    pub const SERVICE_NAME: &str = "kubernetes.io/service-name";
    pub const HEADLESS_SERVICE: &str = "service.kubernetes.io/headless";
    pub const SERVICE_PROXY_NAME: &str = "service.kubernetes.io/service-proxy-name";
    pub const ENDPOINT_SLICE_MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
    pub const ENDPOINT_SLICE_SKIP_MIRROR: &str = "endpointslice.kubernetes.io/skip-mirror";

    pub const BOOTSTRAPPING: &str = "kubernetes.io/bootstrapping";
    pub const AGGREGATE_TO_ADMIN: &str = "rbac.authorization.k8s.io/aggregate-to-admin";
    pub const AGGREGATE_TO_EDIT: &str = "rbac.authorization.k8s.io/aggregate-to-edit";
    pub const AGGREGATE_TO_VIEW: &str = "rbac.authorization.k8s.io/aggregate-to-view";
}

/// Taints that the node controller sets and pods tolerate.
#[allow(missing_docs)]
pub mod taint {
    pub const NOT_READY: &str = "node.kubernetes.io/not-ready";
    pub const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
    pub const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
    pub const MEMORY_PRESSURE: &str = "node.kubernetes.io/memory-pressure";
    pub const DISK_PRESSURE: &str = "node.kubernetes.io/disk-pressure";
    pub const PID_PRESSURE: &str = "node.kubernetes.io/pid-pressure";
    pub const NETWORK_UNAVAILABLE: &str = "node.kubernetes.io/network-unavailable";
    pub const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

    pub const NO_SCHEDULE: &str = "NoSchedule";
    pub const PREFER_NO_SCHEDULE: &str = "PreferNoSchedule";
    pub const NO_EXECUTE: &str = "NoExecute";
}

/// Annotations.
#[allow(missing_docs)]
pub mod annotation {
    pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
    pub const RESTARTED_AT: &str = "kubectl.kubernetes.io/restartedAt";
    pub const DEFAULT_CONTAINER: &str = "kubectl.kubernetes.io/default-container";
    pub const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
    pub const REVISION: &str = "deployment.kubernetes.io/revision";
    pub const REVISION_HISTORY: &str = "deployment.kubernetes.io/revision-history";
    pub const DESIRED_REPLICAS: &str = "deployment.kubernetes.io/desired-replicas";
    pub const MAX_REPLICAS: &str = "deployment.kubernetes.io/max-replicas";
    pub const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";
    pub const POD_DELETION_COST: &str = "controller.kubernetes.io/pod-deletion-cost";
    pub const JOB_COMPLETION_INDEX: &str = "batch.kubernetes.io/job-completion-index";
    pub const CRON_JOB_SCHEDULED_TIMESTAMP: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
    pub const LEADER: &str = "control-plane.alpha.kubernetes.io/leader";
    pub const ENDPOINTS_LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";
    pub const ENDPOINTS_OVER_CAPACITY: &str = "endpoints.kubernetes.io/over-capacity";
    pub const MIRROR_POD: &str = "kubernetes.io/config.mirror";
    pub const CONFIG_HASH: &str = "kubernetes.io/config.hash";
    pub const CONFIG_SOURCE: &str = "kubernetes.io/config.source";
    pub const NODE_TTL: &str = "node.alpha.kubernetes.io/ttl";
    pub const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
    pub const SERVICE_ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
    pub const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
    pub const DEFAULT_INGRESS_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";
    pub const DEFAULT_STORAGE_CLASS: &str = "storageclass.kubernetes.io/is-default-class";
}

/// The finalizers of propagation policies and of namespaces.
#[allow(missing_docs)]
pub mod finalizer {
    pub const ORPHAN: &str = "orphan";
    pub const FOREGROUND: &str = "foregroundDeletion";
    pub const KUBERNETES: &str = "kubernetes";
    pub const CUSTOM_RESOURCE_CLEANUP: &str = "customresourcecleanup.apiextensions.k8s.io";
    pub const PVC_PROTECTION: &str = "kubernetes.io/pvc-protection";
    pub const PV_PROTECTION: &str = "kubernetes.io/pv-protection";
}

/// Namespaces that every cluster has.
#[allow(missing_docs)]
pub mod namespace {
    pub const DEFAULT: &str = "default";
    pub const SYSTEM: &str = "kube-system";
    pub const PUBLIC: &str = "kube-public";
    pub const NODE_LEASE: &str = "kube-node-lease";
}
