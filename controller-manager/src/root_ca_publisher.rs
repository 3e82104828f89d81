//! Puts the certificate authority of the apiservers into every namespace, where pods find it.
//!
//! Watches namespaces and the ConfigMaps `kube-root-ca.crt`. Writes those.
//! Source: `pkg/controller/certificates/rootcacertpublisher` in Kubernetes.

use std::{collections::BTreeMap, fs, sync::Arc};

use k8s_openapi::{
    api::core::v1::{ConfigMap, Namespace},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{
    Error, Reason,
    meta::{annotation, is_deleting},
};
use kubelab_client::{Action, Cache, Change, Client, Controller, Scope, controller::Key, queue::Queue};

use crate::{Context, pods::namespace_is_terminating};

const NAME: &str = "root-ca-certificate-publisher-controller";
/// The name that pods' projected volumes refer to.
const CONFIG_MAP: &str = "kube-root-ca.crt";
const DATA_KEY: &str = "ca.crt";
const DESCRIPTION_KEY: &str = "kubernetes.io/description";
const DESCRIPTION: &str = "Contains a CA bundle that can be used to verify the kube-apiserver when using internal \
                           endpoints such as the internal service IP or kubernetes.default.svc. No other usage is \
                           guaranteed across distributions of Kubernetes clusters.";
const WORKERS: usize = 1;

/// Runs the loop.
pub async fn run(context: Context) {
    let path = context.options.root_ca_file();
    let certificate = match fs::read_to_string(path) {
        Ok(certificate) => certificate,
        Err(error) => {
            tracing::error!(path = %path.display(), %error, "cannot read the root certificate, so none is published; check --root-ca-file");
            return std::future::pending().await;
        }
    };
    // Only these: mirroring all ConfigMaps would hold users' data for nothing.
    let scope = Scope { fields: format!("metadata.name={CONFIG_MAP}"), ..Scope::default() };
    let this = Arc::new(Loop {
        config_maps: Cache::start(&context.client, scope),
        client: context.client,
        namespaces: context.caches.of(),
        certificate,
        queue: Queue::new("root_ca_cert_publisher"),
    });
    tokio::join!(this.namespaces.synced(), this.config_maps.synced());
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    namespaces: Cache<Namespace>,
    config_maps: Cache<ConfigMap>,
    certificate: String,
    /// Namespaces.
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let queue = self.queue.clone();
        self.namespaces.on_change(move |change| {
            if matches!(change, Change::Added(_)) {
                queue.add(Key::of(&**change.object()));
            }
        });
        let queue = self.queue.clone();
        self.config_maps.on_change(move |change| {
            if !matches!(change, Change::Added(_)) {
                let name = change.object().metadata.namespace.clone().unwrap_or_default();
                queue.add(Key { namespace: String::new(), name });
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        if self.namespaces.get("", &key.name).is_none_or(|namespace| is_deleting(&namespace.metadata)) {
            return Ok(Action::Done);
        }
        let current = self.config_maps.get(&key.name, CONFIG_MAP);
        let wanted = self.wanted(&key.name, current.as_deref());
        let result = match current {
            Some(current) if *current == wanted => return Ok(Action::Done),
            Some(_) => self.client.update(&wanted).await,
            None => self.client.create(&wanted).await,
        };
        match result {
            Err(error) if error.reason != Reason::AlreadyExists && !namespace_is_terminating(&error) => Err(error),
            _ => Ok(Action::Done),
        }
    }

    fn wanted(&self, namespace: &str, current: Option<&ConfigMap>) -> ConfigMap {
        let mut wanted = current.cloned().unwrap_or_else(|| ConfigMap {
            metadata: ObjectMeta {
                name: Some(CONFIG_MAP.to_owned()),
                namespace: Some(namespace.to_owned()),
                ..Default::default()
            },
            ..Default::default()
        });
        wanted.data = Some(BTreeMap::from([(DATA_KEY.to_owned(), self.certificate.clone())]));
        if annotation(&wanted.metadata, DESCRIPTION_KEY).is_none() {
            let annotations = wanted.metadata.annotations.get_or_insert_default();
            annotations.insert(DESCRIPTION_KEY.to_owned(), DESCRIPTION.to_owned());
        }
        wanted
    }
}
