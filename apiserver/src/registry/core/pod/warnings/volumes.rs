//! Warnings about volumes.

use std::collections::BTreeSet;

use k8s_openapi::api::core::v1::Volume;
use kubelab_api::field::Path;

use crate::registry::{cells::list, core::persistent_volume_claim::spec_warnings, validation::json};

/// Sources that are or were going to be removed.
pub const OLD_SOURCES: &[(&str, &str)] = &[
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

pub(super) fn warnings(volumes: &[Volume], path: &Path, warnings: &mut Vec<String>) {
    for (i, volume) in volumes.iter().enumerate() {
        let path = path.index(i);
        let said = json(volume);
        for (source, words) in OLD_SOURCES.iter().filter(|(source, _)| said.get(*source).is_some()) {
            let source = if *source == "storageos" { "storageOS" } else { source };
            warnings.push(format!("{}: {words}", path.child(source)));
        }
        if let Some(template) = volume.ephemeral.as_ref().and_then(|source| source.volume_claim_template.as_ref()) {
            let path = path.child("ephemeral").child("volumeClaimTemplate").child("spec");
            spec_warnings(&template.spec, &path, warnings);
        }
    }
    hidden_by_tokens(volumes, path, warnings);
}

/// A file of a projected volume that stands where a token stands.
fn hidden_by_tokens(volumes: &[Volume], path: &Path, warnings: &mut Vec<String>) {
    let projected = |volume: &Volume| volume.projected.as_ref().map(|source| list(&source.sources).to_vec());
    let all: Vec<_> = volumes.iter().map(|volume| projected(volume).unwrap_or_default()).collect();
    let tokens: BTreeSet<_> =
        all.iter().flatten().filter_map(|source| Some(source.service_account_token.as_ref()?.path.as_str())).collect();
    for (i, sources) in all.iter().enumerate() {
        let path = path.index(i).child("projected").child("sources");
        for source in sources {
            let items = [
                ("configMap", source.config_map.as_ref().map_or(&[][..], |map| list(&map.items))),
                ("secrets", source.secret.as_ref().map_or(&[][..], |secret| list(&secret.items))),
            ];
            let mut files: Vec<_> = Vec::new();
            for (field, items) in items {
                files
                    .extend(items.iter().enumerate().map(|(j, item)| (path.child(field).index(j), item.path.as_str())));
            }
            if let Some(downward) = &source.downward_api {
                let items = list(&downward.items).iter().enumerate();
                files.extend(items.map(|(j, item)| (path.child("downwardAPI").index(j), item.path.as_str())));
            }
            if let Some(bundle) = &source.cluster_trust_bundle {
                files.push((path.child("ClusterTrustBundle"), bundle.path.as_str()));
            }
            for (path, file) in files.into_iter().filter(|(_, file)| tokens.contains(file)) {
                warnings.push(format!("{path}: has duplicated path with ServiceAccountToken {file:?}"));
            }
        }
    }
}
