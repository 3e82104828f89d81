//! What a signer must have put into the status of a request that it says is issued.
//! Source: `ValidatePodCertificateRequestStatusUpdate`.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::{
    api::certificates::v1::{PodCertificateRequestSpec, PodCertificateRequestStatus},
    apimachinery::pkg::apis::meta::v1::Time,
};
use kubelab_api::field::{Errors, Path};
use x509_parser::{
    certification_request::X509CertificationRequest,
    prelude::{FromDer, Pem, X509Certificate},
    time::ASN1Time,
};

use crate::registry::{cells::text, validation::json};

/// A chain may be so large. Source: `MaxCertificateChainSize`.
const CHAIN_BYTES: usize = 100 * 1024;
/// A certificate lasts no shorter.
const LEAST: SignedDuration = SignedDuration::from_hours(1);
/// Between a certificate's ends and its refresh lies so much time.
const MARGIN: SignedDuration = SignedDuration::from_mins(10);

fn moment(time: &ASN1Time) -> Timestamp {
    Timestamp::from_second(time.timestamp()).unwrap_or_default()
}

/// Checks the chain and the times; the first fault is told.
pub(super) fn validate(status: &PodCertificateRequestStatus, spec: &PodCertificateRequestSpec, errors: &mut Errors) {
    let (path, chain) = (Path::new("status"), text(&status.certificate_chain));
    let at = path.child("certificateChain");
    if chain.len() > CHAIN_BYTES {
        return errors.too_long(&at, CHAIN_BYTES);
    }
    let blocks: Vec<Pem> = Pem::iter_from_buffer(chain.as_bytes()).map_while(Result::ok).collect();
    let Some(leaf) = blocks.first() else {
        return errors.invalid(&at, chain, "issued certificate chain must contain at least one certificate");
    };
    if leaf.label != "CERTIFICATE" {
        let detail = "issued certificate chain must consist entirely of CERTIFICATE PEM blocks";
        return errors.invalid(&at, chain, detail);
    }
    let Ok((_, leaf)) = X509Certificate::from_der(&leaf.contents) else {
        return errors.invalid(&at, chain, "leaf certificate does not parse as valid X.509");
    };
    let request = X509CertificationRequest::from_der(&spec.stub_pkc_s10_request.0).ok();
    let wanted = request.as_ref().map(|(_, request)| request.certification_request_info.subject_pki.raw);
    if wanted != Some(leaf.public_key().raw) {
        return errors.invalid(&at, chain, "leaf certificate was not issued to the requested public key");
    }
    if times(status, &leaf, spec, errors) {
        for block in &blocks[1..] {
            if block.label != "CERTIFICATE" {
                let detail = "issued certificate chain must consist entirely of CERTFICATE PEM blocks";
                return errors.invalid(&at, chain, detail);
            }
            if X509Certificate::from_der(&block.contents).is_err() {
                return errors.invalid(&at, chain, "intermediate certificate does not parse as valid X.509");
            }
        }
    }
}

/// Whether the times are as the certificate's, and far enough from each other. (Upstream also wants `notBefore` within five
/// minutes of its clock, which is not for a pure rule to know.)
fn times(
    status: &PodCertificateRequestStatus,
    leaf: &X509Certificate,
    spec: &PodCertificateRequestSpec,
    errors: &mut Errors,
) -> bool {
    let path = Path::new("status");
    let consistent = "must be present and consistent with the issued certificate";
    let (before, after, refresh) = match (&status.not_before, &status.not_after, &status.begin_refresh_at) {
        (Some(Time(before)), Some(Time(after)), Some(Time(refresh))) => (*before, *after, *refresh),
        (before, after, refresh) => {
            if before.is_none() {
                errors.required(&path.child("notBefore"), consistent);
            }
            if after.is_none() {
                errors.required(&path.child("notAfter"), consistent);
            }
            if refresh.is_none() {
                let detail = "must be present and in the range [notbefore+10min, notafter-10min]";
                errors.required(&path.child("beginRefreshAt"), detail);
            }
            return false;
        }
    };
    let most = spec.max_expiration_seconds.unwrap_or_default();
    let lifetime = after.duration_since(before);
    if before != moment(&leaf.validity().not_before) {
        let detail = "must be set to the NotBefore time encoded in the leaf certificate";
        errors.invalid(&path.child("notBefore"), json(&status.not_before), detail);
    } else if after != moment(&leaf.validity().not_after) {
        let detail = "must be set to the NotAfter time encoded in the leaf certificate";
        errors.invalid(&path.child("notAfter"), json(&status.not_after), detail);
    } else if lifetime < LEAST {
        let detail = "leaf certificate lifetime must be >= 1 hour";
        errors.invalid(&path.child("certificateChain"), lifetime.as_secs(), detail);
    } else if lifetime.as_secs() > most.into() {
        let detail = format!("leaf certificate lifetime must be <= spec.maxExpirationSeconds ({most})");
        errors.invalid(&path.child("certificateChain"), lifetime.as_secs(), &detail);
    } else if refresh < before + MARGIN {
        let detail = "must be at least 10 minutes after status.notBefore";
        errors.invalid(&path.child("beginRefreshAt"), json(&status.begin_refresh_at), detail);
    } else if refresh > after - MARGIN {
        let detail = "must be at least 10 minutes before status.notAfter";
        errors.invalid(&path.child("beginRefreshAt"), json(&status.begin_refresh_at), detail);
    } else {
        return true;
    }
    false
}
