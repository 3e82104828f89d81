//! What a new cluster is given besides: cluster DNS, an ingress controller and the metrics API, as manifests that are applied once. Whoever
//! deletes some of it does not see it come back.

use std::time::Duration;

use anyhow::Context;
use clap::ValueEnum;
use kubelab_api::{Reason, Resource, resource};
use kubelab_client::{Client, clock};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// How soon it is tried again while the apiservers do not answer yet.
const RETRY: Duration = Duration::from_millis(200);

/// A part of what a cluster is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum AddOn {
    /// Cluster DNS: CoreDNS
    Dns,
    /// An ingress controller: ingress-nginx
    Ingress,
    /// The metrics API, for `kubectl top` and autoscalers: metrics-server
    Metrics,
}

impl AddOn {
    fn manifest(self) -> &'static str {
        match self {
            Self::Dns => include_str!("dns.yaml"),
            Self::Ingress => include_str!("ingress.yaml"),
            Self::Metrics => include_str!("metrics.yaml"),
        }
    }

    /// Its objects, in the order in which they are made.
    fn objects(self) -> anyhow::Result<Vec<Object>> {
        let objects: Vec<Value> =
            serde_saphyr::from_multiple(self.manifest()).with_context(|| format!("the manifest of {self:?}"))?;
        objects.into_iter().map(Object::of).collect()
    }
}

/// An object of a manifest.
struct Object {
    resource: &'static Resource,
    namespace: String,
    value: Value,
}

impl Object {
    fn of(value: Value) -> anyhow::Result<Self> {
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (version, kind) = (text(&value["apiVersion"]), text(&value["kind"]));
        let (group, version) = version.rsplit_once('/').unwrap_or(("", &version));
        let found =
            resource::BUILT_IN.iter().find(|row| row.group == group && row.version == version && row.kind == kind);
        let resource = found.with_context(|| format!("there is no {kind} of {group}/{version}"))?;
        Ok(Self { resource, namespace: text(&value["metadata"]["namespace"]), value })
    }
}

/// Makes all objects of these add-ons, as soon as the API answers; those that are there already stay as they are.
pub async fn install(client: &Client, add_ons: &[AddOn]) -> anyhow::Result<()> {
    for add_on in add_ons {
        for object in add_on.objects()? {
            while let Err(error) = client.create_dynamic(object.resource, &object.namespace, &object.value).await {
                match error.reason {
                    Reason::AlreadyExists => break,
                    // Wrong today, wrong tomorrow.
                    Reason::Invalid | Reason::BadRequest => {
                        let name = &object.value["metadata"]["name"];
                        return Err(error).with_context(|| format!("{} {name} of {add_on:?}", object.resource.kind));
                    }
                    _ => clock::sleep(RETRY).await,
                }
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn manifests_are_of_known_kinds() {
        for add_on in AddOn::value_variants() {
            let objects = add_on.objects().unwrap();
            assert!(objects.iter().any(|object| object.resource.kind == "Deployment"), "{add_on:?}");
            for object in objects {
                assert_eq!(
                    object.resource.namespaced,
                    !object.namespace.is_empty(),
                    "{}",
                    object.value["metadata"]["name"]
                );
            }
        }
    }
}
