//! The table of kinds: one row for each kind in each version.

use super::{
    admissionregistration, apiextensions, apiregistration, apps, authentication, authorization, autoscaling, batch,
    certificates, coordination, core, discovery, events, flowcontrol, kind::Kind, networking, node, policy, rbac,
    resource, scheduling, storage, storagemigration, version::Conversion,
};

/// Something that does with each kind what its trait lets it: build a handler, collect a schema, ….
pub trait Visitor {
    /// One row: the kind that answers for this resource of [`kubelab_api::resource::BUILT_IN`].
    fn row<K: Kind>(&mut self, group: &'static str, version: &'static str, plural: &'static str);

    /// A row for a version of a kind that is stored in another version, or in another group.
    fn converted<K: Kind, C: Conversion<Stored = K::Object>>(
        &mut self,
        group: &'static str,
        version: &'static str,
        plural: &'static str,
    );
}

/// Shows every row of the table of stored kinds to the visitor.
pub fn rows<V: Visitor>(v: &mut V) {
    v.row::<core::component_status::ComponentStatusKind>("", "v1", "componentstatuses");
    v.row::<core::config_map::ConfigMapKind>("", "v1", "configmaps");
    v.row::<core::endpoints::EndpointsKind>("", "v1", "endpoints");
    v.row::<core::event::EventKind>("", "v1", "events");
    v.row::<core::limit_range::LimitRangeKind>("", "v1", "limitranges");
    v.row::<core::namespace::NamespaceKind>("", "v1", "namespaces");
    v.row::<core::node::NodeKind>("", "v1", "nodes");
    v.row::<core::persistent_volume_claim::PersistentVolumeClaimKind>("", "v1", "persistentvolumeclaims");
    v.row::<core::persistent_volume::PersistentVolumeKind>("", "v1", "persistentvolumes");
    v.row::<core::pod::PodKind>("", "v1", "pods");
    v.row::<core::pod_template::PodTemplateKind>("", "v1", "podtemplates");
    v.row::<core::replication_controller::ReplicationControllerKind>("", "v1", "replicationcontrollers");
    v.row::<core::resource_quota::ResourceQuotaKind>("", "v1", "resourcequotas");
    v.row::<core::secret::SecretKind>("", "v1", "secrets");
    v.row::<core::service_account::ServiceAccountKind>("", "v1", "serviceaccounts");
    v.row::<core::service::ServiceKind>("", "v1", "services");

    v.row::<apiregistration::api_service::APIServiceKind>("apiregistration.k8s.io", "v1", "apiservices");

    v.row::<apps::controller_revision::ControllerRevisionKind>("apps", "v1", "controllerrevisions");
    v.row::<apps::daemon_set::DaemonSetKind>("apps", "v1", "daemonsets");
    v.row::<apps::deployment::DeploymentKind>("apps", "v1", "deployments");
    v.row::<apps::replica_set::ReplicaSetKind>("apps", "v1", "replicasets");
    v.row::<apps::stateful_set::StatefulSetKind>("apps", "v1", "statefulsets");

    v.converted::<core::event::EventKind, events::event::EventsV1>("events.k8s.io", "v1", "events");

    let hpa = "horizontalpodautoscalers";
    v.row::<autoscaling::horizontal_pod_autoscaler::HorizontalPodAutoscalerKind>("autoscaling", "v2", hpa);
    v.converted::<autoscaling::horizontal_pod_autoscaler::HorizontalPodAutoscalerKind, autoscaling::v1::Version1>(
        "autoscaling",
        "v1",
        hpa,
    );

    v.row::<batch::cron_job::CronJobKind>("batch", "v1", "cronjobs");
    v.row::<batch::job::JobKind>("batch", "v1", "jobs");

    let group = "certificates.k8s.io";
    v.row::<certificates::certificate_signing_request::CertificateSigningRequestKind>(
        group,
        "v1",
        "certificatesigningrequests",
    );
    v.row::<certificates::cluster_trust_bundle::ClusterTrustBundleKind>(group, "v1", "clustertrustbundles");
    v.row::<certificates::pod_certificate_request::PodCertificateRequestKind>(group, "v1", "podcertificaterequests");

    v.row::<networking::ingress_class::IngressClassKind>("networking.k8s.io", "v1", "ingressclasses");
    v.row::<networking::ingress::IngressKind>("networking.k8s.io", "v1", "ingresses");
    v.row::<networking::ip_address::IPAddressKind>("networking.k8s.io", "v1", "ipaddresses");
    v.row::<networking::network_policy::NetworkPolicyKind>("networking.k8s.io", "v1", "networkpolicies");
    v.row::<networking::service_cidr::ServiceCIDRKind>("networking.k8s.io", "v1", "servicecidrs");

    v.row::<policy::pod_disruption_budget::PodDisruptionBudgetKind>("policy", "v1", "poddisruptionbudgets");

    v.row::<rbac::cluster_role_binding::ClusterRoleBindingKind>(rbac::GROUP, "v1", "clusterrolebindings");
    v.row::<rbac::cluster_role::ClusterRoleKind>(rbac::GROUP, "v1", "clusterroles");
    v.row::<rbac::role_binding::RoleBindingKind>(rbac::GROUP, "v1", "rolebindings");
    v.row::<rbac::role::RoleKind>(rbac::GROUP, "v1", "roles");

    let devices = "resource.k8s.io";
    v.row::<resource::device_class::DeviceClassKind>(devices, "v1", "deviceclasses");
    v.row::<resource::device_taint_rule::DeviceTaintRuleKind>(devices, "v1", "devicetaintrules");
    v.row::<resource::resource_claim::ResourceClaimKind>(devices, "v1", "resourceclaims");
    v.row::<resource::resource_claim_template::ResourceClaimTemplateKind>(devices, "v1", "resourceclaimtemplates");
    v.row::<resource::resource_slice::ResourceSliceKind>(devices, "v1", "resourceslices");

    v.row::<storage::csi_driver::CSIDriverKind>("storage.k8s.io", "v1", "csidrivers");
    v.row::<storage::csi_node::CSINodeKind>("storage.k8s.io", "v1", "csinodes");
    v.row::<storage::csi_storage_capacity::CSIStorageCapacityKind>("storage.k8s.io", "v1", "csistoragecapacities");
    v.row::<storage::storage_class::StorageClassKind>("storage.k8s.io", "v1", "storageclasses");
    v.row::<storage::volume_attachment::VolumeAttachmentKind>("storage.k8s.io", "v1", "volumeattachments");
    v.row::<storage::volume_attributes_class::VolumeAttributesClassKind>(
        "storage.k8s.io",
        "v1",
        "volumeattributesclasses",
    );

    v.row::<storagemigration::storage_version_migration::StorageVersionMigrationKind>(
        "storagemigration.k8s.io",
        "v1",
        "storageversionmigrations",
    );

    let admission = "admissionregistration.k8s.io";
    v.row::<admissionregistration::mutating_admission_policy::MutatingAdmissionPolicyKind>(
        admission,
        "v1",
        "mutatingadmissionpolicies",
    );
    v.row::<admissionregistration::mutating_admission_policy_binding::MutatingAdmissionPolicyBindingKind>(
        admission,
        "v1",
        "mutatingadmissionpolicybindings",
    );
    v.row::<admissionregistration::mutating_webhook_configuration::MutatingWebhookConfigurationKind>(
        admission,
        "v1",
        "mutatingwebhookconfigurations",
    );
    v.row::<admissionregistration::validating_admission_policy::ValidatingAdmissionPolicyKind>(
        admission,
        "v1",
        "validatingadmissionpolicies",
    );
    v.row::<admissionregistration::validating_admission_policy_binding::ValidatingAdmissionPolicyBindingKind>(
        admission,
        "v1",
        "validatingadmissionpolicybindings",
    );
    v.row::<admissionregistration::validating_webhook_configuration::ValidatingWebhookConfigurationKind>(
        admission,
        "v1",
        "validatingwebhookconfigurations",
    );

    v.row::<apiextensions::custom_resource_definition::CustomResourceDefinitionKind>(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
    );

    v.row::<scheduling::priority_class::PriorityClassKind>("scheduling.k8s.io", "v1", "priorityclasses");
    v.row::<coordination::lease::LeaseKind>("coordination.k8s.io", "v1", "leases");
    v.row::<node::runtime_class::RuntimeClassKind>("node.k8s.io", "v1", "runtimeclasses");
    v.row::<discovery::endpoint_slice::EndpointSliceKind>("discovery.k8s.io", "v1", "endpointslices");

    let flow = "flowcontrol.apiserver.k8s.io";
    v.row::<flowcontrol::flow_schema::FlowSchemaKind>(flow, "v1", "flowschemas");
    v.row::<flowcontrol::priority_level_configuration::PriorityLevelConfigurationKind>(
        flow,
        "v1",
        "prioritylevelconfigurations",
    );
}

/// Shows every row of the table of kinds that are answered and never stored: reviews and bindings.
pub fn questions<V: Visitor>(v: &mut V) {
    v.row::<core::binding::BindingKind>("", "v1", "bindings");
    let group = "authentication.k8s.io";
    v.row::<authentication::SelfSubjectReviewKind>(group, "v1", "selfsubjectreviews");
    v.row::<authentication::SelfSubjectReviewKind>(group, "v1beta1", "selfsubjectreviews");
    v.row::<authentication::TokenReviewKind>(group, "v1", "tokenreviews");
    let group = "authorization.k8s.io";
    v.row::<authorization::LocalSubjectAccessReviewKind>(group, "v1", "localsubjectaccessreviews");
    v.row::<authorization::SelfSubjectAccessReviewKind>(group, "v1", "selfsubjectaccessreviews");
    v.row::<authorization::SelfSubjectRulesReviewKind>(group, "v1", "selfsubjectrulesreviews");
    v.row::<authorization::SubjectAccessReviewKind>(group, "v1", "subjectaccessreviews");
}

#[cfg(test)]
pub(crate) mod cases;
#[cfg(test)]
pub(crate) mod round_trip;
#[cfg(test)]
mod rules;
#[cfg(test)]
mod small;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use k8s_openapi::Resource as _;
    use kubelab_api::resource::{self, BUILT_IN, Verbs};

    use super::*;

    /// Notes what it sees, and looks at each row.
    #[derive(Default)]
    struct Seen(BTreeSet<(String, String, String)>);

    impl Seen {
        fn note<T: k8s_openapi::Resource>(&mut self, group: &str, version: &str, plural: &str) {
            let resource = resource::find(group, version, plural).unwrap();
            // Of this question only the name of its version ever changed; k8s-openapi has but the newest.
            let renamed = (plural, version) == ("selfsubjectreviews", "v1beta1");
            let expected = if renamed { "authentication.k8s.io/v1beta1" } else { T::API_VERSION };
            assert_eq!((resource.api_version().as_str(), &*resource.kind), (expected, T::KIND), "{plural}");
            assert!(self.0.insert((group.into(), version.into(), plural.into())), "{plural} stands twice");
        }
    }

    impl Visitor for Seen {
        fn row<K: Kind>(&mut self, group: &'static str, version: &'static str, plural: &'static str) {
            self.note::<K::Object>(group, version, plural);
            let kind = K::Object::KIND;
            let mut object = K::Object::default();
            K::default(&mut object);
            let once = object.clone();
            K::default(&mut object);
            assert!(object == once, "{kind}: defaults must be idempotent");
            let cells = K::cells(&object, jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(cells.len(), K::COLUMNS.len(), "{kind}: a cell for each column");
            // A kind that is all empty is judged without a panic, whatever the verdict.
            let mut errors = Default::default();
            K::prepare_create(&mut object);
            K::validate(&object, &mut errors);
            K::validate_create(&object, &mut errors);
            K::validate_update(&object, &once, &mut errors);
            K::validate_status_update(&object, &once, &mut errors);
        }

        fn converted<K: Kind, C: Conversion<Stored = K::Object>>(
            &mut self,
            group: &'static str,
            version: &'static str,
            plural: &'static str,
        ) {
            self.note::<C::Served>(group, version, plural);
        }
    }

    #[test]
    fn every_resource_has_its_row() {
        let mut seen = Seen::default();
        rows(&mut seen);
        let stored = BUILT_IN.iter().filter(|resource| resource.verbs != Verbs::Create);
        let expected: BTreeSet<_> =
            stored.map(|r| (r.group.to_string(), r.version.to_string(), r.plural.to_string())).collect();
        assert_eq!(seen.0, expected);

        let mut seen = Seen::default();
        questions(&mut seen);
        let answered = BUILT_IN.iter().filter(|resource| resource.verbs == Verbs::Create).count();
        assert_eq!(seen.0.len(), answered);
    }
}
