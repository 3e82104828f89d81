//! The scheduler against a small apiserver, within this process and as processes of its own.

#![allow(clippy::disallowed_methods)] // see clippy.toml
#![allow(missing_docs, clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "../../../client/tests/client/fake.rs"]
mod fake;
mod placing;
mod processes;
mod properties;

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::api::core::v1::Pod;
use kubelab_client::Client;
use serde_json::{Value, json};
use tokio::time::timeout;

fn node(name: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "status": { "allocatable": { "cpu": "4", "memory": "8Gi", "pods": "110" } },
    })
}

fn pod(name: &str, cpu: &str) -> Value {
    let containers = json!([{ "name": "web", "resources": { "requests": { "cpu": cpu } } }]);
    json!({ "metadata": { "namespace": "shop", "name": name }, "spec": { "containers": containers } })
}

/// Waits until that many pods are bound; returns each pod's node.
async fn bound(client: &Client, count: usize) -> BTreeMap<String, String> {
    let wait = async {
        loop {
            let pods: Vec<Pod> = client.list("shop").await.unwrap();
            let nodes: BTreeMap<_, _> =
                pods.into_iter().filter_map(|pod| Some((pod.metadata.name?, pod.spec?.node_name?))).collect();
            if nodes.len() == count {
                return nodes;
            }
        }
    };
    timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{count} pods are not bound in time"))
}
