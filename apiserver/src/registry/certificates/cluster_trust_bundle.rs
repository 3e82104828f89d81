//! ClusterTrustBundle. Source: `pkg/apis/certificates/validation/validation.go`, `printClusterTrustBundle`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::certificates::v1::ClusterTrustBundle;
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;
use x509_parser::prelude::{FromDer, Pem, X509Certificate};

use super::signer;
use crate::registry::{
    cells::{self, NAME, NONE, cells, text},
    kind::{Column, Kind, NameRule, column},
    validation::immutable,
};

/// A bundle may be so large. Source: `MaxTrustBundleSize`.
const BUNDLE_BYTES: usize = 1024 * 1024;
/// What is shown in the place of a bundle.
const OMITTED: &str = "<value omitted>";

/// ClusterTrustBundle.
pub struct ClusterTrustBundleKind;

/// A bundle of a signer is called after it. Source: `ValidateClusterTrustBundleName`.
fn wrong_name(name: &str, signer: &str) -> Vec<String> {
    if signer.is_empty() {
        return match name.contains(':') {
            true => vec![r#"ClusterTrustBundle without signer name must not have ":" in its name"#.into()],
            false => name::dns1123_subdomain(name),
        };
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    match name.strip_prefix(&prefix) {
        Some(rest) => name::dns1123_subdomain(rest),
        None => vec![format!("ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}")],
    }
}

/// Refuses an entry of a bundle that is no certificate of an authority.
fn trust_anchor(block: &Pem) -> Result<(), String> {
    if block.label != "CERTIFICATE" {
        return Err(format!("has bad block type: {}", block.label));
    }
    let (_, certificate) =
        X509Certificate::from_der(&block.contents).map_err(|_| "does not parse as X.509".to_owned())?;
    if certificate.is_ca() { Ok(()) } else { Err("does not have the CA bit set".into()) }
}

fn bundle(pem: &str, path: &Path, errors: &mut Errors) {
    if pem.len() > BUNDLE_BYTES {
        return errors.too_long(path, BUNDLE_BYTES);
    }
    // What is no PEM ends the bundle, as for upstream.
    let blocks = Pem::iter_from_buffer(pem.as_bytes()).map_while(Result::ok);
    let mut entries: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
    let mut sound = true;
    for (i, block) in blocks.enumerate() {
        match trust_anchor(&block) {
            Ok(()) => entries.entry(block.contents).or_default().push(i),
            Err(wrong) => {
                sound = false;
                errors.invalid(path, OMITTED, &format!("entry {i} {wrong}"));
            }
        }
    }
    if !sound {
        return;
    }
    if entries.is_empty() {
        errors.invalid(path, OMITTED, "at least one trust anchor must be provided");
    }
    for places in entries.values().filter(|places| places.len() > 1) {
        let places = places.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        errors.invalid(path, OMITTED, &format!("duplicate trust anchor (indices [{places}])"));
    }
}

impl Kind for ClusterTrustBundleKind {
    type Object = ClusterTrustBundle;

    /// Names hold colons; [`wrong_name`] knows.
    const NAME: NameRule = NameRule::PathSegment;
    const UNCONDITIONAL_UPDATE: bool = false;

    fn validate(object: &ClusterTrustBundle, errors: &mut Errors) {
        let signer = text(&object.spec.signer_name);
        if let Some(name) = &object.metadata.name {
            for wrong in wrong_name(name, signer) {
                errors.invalid(&Path::new("metadata").child("name"), name.as_str(), &wrong);
            }
        }
        if !signer.is_empty() {
            signer::validate(signer, &Path::new("spec").child("signerName"), errors);
        }
    }

    fn validate_create(object: &ClusterTrustBundle, errors: &mut Errors) {
        bundle(&object.spec.trust_bundle, &Path::new("spec").child("trustBundle"), errors);
    }

    fn validate_update(new: &ClusterTrustBundle, old: &ClusterTrustBundle, errors: &mut Errors) {
        if new.spec.trust_bundle != old.spec.trust_bundle {
            bundle(&new.spec.trust_bundle, &Path::new("spec").child("trustBundle"), errors);
        }
        let signer = |object: &ClusterTrustBundle| text(&object.spec.signer_name).to_owned();
        immutable(&signer(new), &signer(old), &Path::new("spec").child("signerName"), errors);
    }

    const COLUMNS: &'static [Column] = &[NAME, column("SignerName", "string")];

    fn cells(object: &ClusterTrustBundle, _now: Timestamp) -> Vec<Value> {
        let signer = object.spec.signer_name.as_deref().filter(|signer| !signer.is_empty());
        cells![cells::name(&object.metadata), signer.unwrap_or(NONE)]
    }

    fn fields(object: &ClusterTrustBundle) -> Vec<(&'static str, String)> {
        vec![("spec.signerName", text(&object.spec.signer_name).to_owned())]
    }
}
