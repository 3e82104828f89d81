//! What Ingresses are told: the address under which they are reached.

use std::sync::Arc;

use k8s_openapi::api::networking::v1::Ingress;
use kubelab_client::Patch;
use serde_json::{Value, json};

use super::Controller;

impl Controller {
    /// Writes the address of the controller's own Service into each Ingress that does not have it yet. Whether all have.
    pub(super) async fn publish(&self, ingresses: &[Arc<Ingress>]) -> bool {
        let mut done = true;
        let Some((namespace, name)) = self.container.argument("--publish-service").and_then(|own| own.split_once('/'))
        else {
            return done;
        };
        let Some(service) = self.services.get(namespace, name) else { return done };
        let status = service.status.as_ref().and_then(|status| status.load_balancer.as_ref());
        let addresses: Vec<Value> = status
            .iter()
            .flat_map(|status| status.ingress.iter().flatten())
            .map(|address| match &address.ip {
                Some(ip) => json!({ "ip": ip }),
                None => json!({ "hostname": address.hostname }),
            })
            .collect();
        for ingress in ingresses.iter().filter(|ingress| shown(ingress) != addresses) {
            let meta = &ingress.metadata;
            let (namespace, name) =
                (meta.namespace.as_deref().unwrap_or_default(), meta.name.as_deref().unwrap_or_default());
            let patch = Patch::Merge(json!({"status": {"loadBalancer": {"ingress": addresses}}}));
            if let Err(error) = self.client.patch_status::<Ingress>(namespace, name, patch).await {
                tracing::debug!(namespace, name, %error, "an ingress is told its address later");
                done = false;
            }
        }
        done
    }
}

fn shown(ingress: &Ingress) -> Vec<Value> {
    let status = ingress.status.as_ref().and_then(|status| status.load_balancer.as_ref());
    let addresses = status.iter().flat_map(|status| status.ingress.iter().flatten());
    addresses
        .map(|address| match &address.ip {
            Some(ip) => json!({ "ip": ip }),
            None => json!({ "hostname": address.hostname }),
        })
        .collect()
}
