//! Which resource a reference by kind means, and how many replicas the object has. Disruption budgets ask for it, and
//! autoscalers change it.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kubelab_api::{Resource, custom, resource::BUILT_IN};
use kubelab_client::Cache;

/// The kinds that are served: built in, or by definition.
#[derive(Clone)]
pub struct Kinds {
    definitions: Cache<CustomResourceDefinition>,
}

impl Kinds {
    /// The kinds that this mirror of the definitions adds to the built-in ones.
    pub fn of(definitions: Cache<CustomResourceDefinition>) -> Self {
        Self { definitions }
    }

    /// Waits until the definitions are known.
    pub async fn synced(&self) {
        self.definitions.synced().await;
    }

    /// The resource of a kind, in the version that is named if that is served, else in the preferred one.
    pub fn find(&self, api_version: &str, kind: &str) -> Option<Resource> {
        let (group, version) = group_and_version(api_version);
        let is_meant = |resource: &&Resource| resource.group == group && resource.kind == kind;
        let mut found: Vec<Resource> = BUILT_IN.iter().filter(is_meant).cloned().collect();
        if found.is_empty() {
            let definitions = self.definitions.list();
            let of_group = definitions.iter().filter(|definition| definition.spec.group == group);
            found = of_group.flat_map(|definition| custom::resources(definition)).collect();
            found.retain(|resource| is_meant(&resource));
        }
        let named = found.iter().position(|resource| resource.version == version).unwrap_or(0);
        (!found.is_empty()).then(|| found.swap_remove(named))
    }
}

/// The group (empty for the core group) and the version of an apiVersion.
pub fn group_and_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}
