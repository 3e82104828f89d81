//! The table of kinds: one row for each kind in each version.

use super::{apps, coordination, core, discovery, handler::Conversion, kind::Kind};

/// Something that does with each kind what its trait lets it: build a handler, collect a schema, ….
pub trait Visitor {
    /// One row: the kind that answers for this resource of [`kubelab_api::resource::BUILT_IN`].
    fn row<K: Kind>(&mut self, group: &'static str, version: &'static str, plural: &'static str);

    /// One row for another version of a kind than the one in which it is stored.
    fn converted<K: Kind, C: Conversion<Stored = K::Object>>(
        &mut self,
        group: &'static str,
        version: &'static str,
        plural: &'static str,
    );
}

/// Shows every row of the table to the visitor.
pub fn rows<V: Visitor>(v: &mut V) {
    v.row::<core::config_map::ConfigMapKind>("", "v1", "configmaps");
    v.row::<core::endpoints::EndpointsKind>("", "v1", "endpoints");
    v.row::<core::event::EventKind>("", "v1", "events");
    v.row::<core::namespace::NamespaceKind>("", "v1", "namespaces");
    v.row::<core::node::NodeKind>("", "v1", "nodes");
    v.row::<core::pod::PodKind>("", "v1", "pods");
    v.row::<core::secret::SecretKind>("", "v1", "secrets");
    v.row::<core::service_account::ServiceAccountKind>("", "v1", "serviceaccounts");
    v.row::<core::service::ServiceKind>("", "v1", "services");
    v.row::<apps::deployment::DeploymentKind>("apps", "v1", "deployments");
    v.row::<apps::replica_set::ReplicaSetKind>("apps", "v1", "replicasets");
    v.row::<coordination::lease::LeaseKind>("coordination.k8s.io", "v1", "leases");
    v.row::<discovery::endpoint_slice::EndpointSliceKind>("discovery.k8s.io", "v1", "endpointslices");
}
