//! The node's heartbeat: a Lease in `kube-node-lease`. Source of protocol and timing: `component-helpers/apimachinery/lease`
//! and the kubelet's defaults (lease 40 s, renewed after a quarter of it).

use std::time::Duration;

use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference},
};
use kubelab_api::{error::Reason, well_known::namespace};
use kubelab_client::{Error, clock};

use super::Node;

const LEASE_SECONDS: i32 = 40;
const RENEW: Duration = Duration::from_secs(10);
/// Waits between tries that fail: 200 ms, doubling to 7 s, as upstream's.
const FIRST_RETRY: Duration = Duration::from_millis(200);
const LAST_RETRY: Duration = Duration::from_secs(7);

impl Node {
    /// Renews the Lease for as long as the node runs.
    pub(super) async fn keep_lease(&self) {
        let mut known: Option<Lease> = None;
        let mut retry = FIRST_RETRY;
        loop {
            match self.renew(known.take()).await {
                Ok(lease) => {
                    known = Some(lease);
                    retry = FIRST_RETRY;
                    clock::sleep(RENEW).await;
                }
                Err(error) => {
                    tracing::warn!(node = self.config.name, %error, "cannot renew the node's Lease; will try again");
                    clock::sleep(retry).await;
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
        }
    }

    /// Renews a Lease whose last version is known, or else finds or makes it.
    async fn renew(&self, known: Option<Lease>) -> Result<Lease, Error> {
        let lease = match known {
            Some(lease) => lease,
            None => match self.client.get(namespace::NODE_LEASE, &self.config.name).await {
                Ok(lease) => lease,
                Err(error) if error.reason == Reason::NotFound => {
                    return self.client.create(&self.renewed(Lease::default())).await;
                }
                Err(error) => return Err(error),
            },
        };
        self.client.update(&self.renewed(lease)).await
    }

    fn renewed(&self, mut lease: Lease) -> Lease {
        let name = &self.config.name;
        lease.metadata.name = Some(name.clone());
        lease.metadata.namespace = Some(namespace::NODE_LEASE.to_owned());
        self.own(&mut lease.metadata);
        let old = lease.spec.take().unwrap_or_default();
        lease.spec = Some(LeaseSpec {
            holder_identity: Some(name.clone()),
            lease_duration_seconds: Some(LEASE_SECONDS),
            renew_time: Some(clock::now_micro()),
            ..old
        });
        lease
    }

    /// The Lease goes with its Node.
    fn own(&self, lease: &mut ObjectMeta) {
        let Some(uid) = self.object.get("", &self.config.name).and_then(|node| node.metadata.uid.clone()) else {
            return;
        };
        lease.owner_references = Some(vec![OwnerReference {
            api_version: "v1".to_owned(),
            kind: "Node".to_owned(),
            name: self.config.name.clone(),
            uid,
            ..Default::default()
        }]);
    }
}
