//! The file that tells kubectl how to reach the lab.

use std::fs;

use anyhow::Context;
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use super::{pki::Pki, write};

/// Writes a kubeconfig for the cluster's administrator. JSON is YAML, and every client reads it; it is laid out as YAML
/// all the same, since people read it too.
pub fn save(path: &std::path::Path, cluster: &str, server: &str, pki: &Pki) -> anyhow::Result<()> {
    let data = |path: std::path::PathBuf| -> anyhow::Result<Value> {
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok(BASE64_STANDARD.encode(content).into())
    };
    let context = format!("kubelab-{cluster}");
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{
            "name": context,
            "cluster": {"server": server, "certificate-authority-data": data(pki.authority())?},
        }],
        "users": [{
            "name": format!("{context}-admin"),
            "user": {
                "client-certificate-data": data(pki.certificate("admin"))?,
                "client-key-data": data(pki.key("admin"))?,
            },
        }],
        "contexts": [{"name": context, "context": {"cluster": context, "user": format!("{context}-admin")}}],
        "current-context": context,
    });
    write(path, serde_saphyr::to_string(&config)?.as_bytes(), 0o600)
}
