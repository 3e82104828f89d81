//! Signs approved requests, for the four signers of `kubernetes.io`, with the authority that the apiserver trusts.
//!
//! Watches CertificateSigningRequests. Writes their status: the certificate, or why there is none.
//! Source: `pkg/controller/certificates/signer/signer.go` in Kubernetes.

use std::{fs, sync::Arc};

use jiff::SignedDuration;
use k8s_openapi::{ByteString, api::certificates::v1::CertificateSigningRequest};
use kubelab_api::{Error, Reason};
use kubelab_client::{Action, Cache, Change, Client, Controller, clock, controller::Key, queue::Queue};

use super::{
    authority::Authority,
    has, is_approved, is_issued,
    request::{Request, check_client_usages},
    signer_name, usages, with_condition,
};
use crate::{Context, Options};

const NAME: &str = "certificatesigningrequest-signing-controller";
/// Source: the number that upstream starts it with.
const WORKERS: usize = 5;
/// The shortest time that is granted, whatever was asked for.
const LEAST: SignedDuration = SignedDuration::from_mins(10);

/// Runs the loop; without an authority it signs nothing.
pub async fn run(context: Context) {
    let authority = match authority(&context.options) {
        Ok(authority) => authority,
        Err(why) => {
            tracing::warn!(why, "certificate requests are not signed");
            return std::future::pending().await;
        }
    };
    let this = Arc::new(Loop {
        lasts: SignedDuration::try_from(context.options.cluster_signing_duration).unwrap_or(SignedDuration::MAX),
        client: context.client.clone(),
        requests: context.caches.of(),
        authority,
        queue: Queue::new("certificate"),
    });
    this.requests.synced().await;
    let queue = this.queue.clone();
    this.requests.on_change(move |change| {
        if !matches!(change, Change::Deleted(..)) {
            queue.add(Key::of(&**change.object()));
        }
    });
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

fn authority(options: &Options) -> Result<Authority, String> {
    let (Some(certificate), Some(key)) = (&options.cluster_signing_cert_file, &options.cluster_signing_key_file) else {
        return Err("neither --cluster-signing-cert-file nor --cluster-signing-key-file are given".to_owned());
    };
    let read = |path| fs::read(path).map_err(|error| format!("cannot read {path:?}: {error}"));
    Authority::from_pem(&read(certificate)?, &read(key)?).map_err(|why| format!("{certificate:?} cannot sign: {why}"))
}

struct Loop {
    client: Client,
    requests: Cache<CertificateSigningRequest>,
    authority: Authority,
    lasts: SignedDuration,
    queue: Queue<Key>,
}

impl Loop {
    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let Some(csr) = self.requests.get("", &key.name) else { return Ok(Action::Done) };
        if is_issued(&csr) || !is_approved(&csr) || has(&csr, "Failed") || !is_ours(&csr.spec.signer_name) {
            return Ok(Action::Done);
        }
        let unreadable = |why| Error::internal(format!("unable to parse csr {:?}: {why}", key.name));
        let request = Request::parse(&csr.spec.request.0).map_err(unreadable)?;
        let signed = match check(&request, usages(&csr), &csr.spec.signer_name) {
            Err(why) => with_condition(&csr, "Failed", "SignerValidationFailure", &why, clock::now()),
            Ok(()) => {
                let lasts = duration(csr.spec.expiration_seconds, self.lasts);
                let pem = self.authority.sign(&request, usages(&csr), lasts, clock::now().0);
                let pem = pem.map_err(|why| Error::internal(format!("error auto signing csr: {why}")))?;
                let mut signed = CertificateSigningRequest::clone(&csr);
                signed.status.get_or_insert_default().certificate = Some(ByteString(pem.into_bytes()));
                signed
            }
        };
        match self.client.update_status(&signed).await {
            Err(error) if error.reason != Reason::NotFound => Err(error),
            _ => Ok(Action::Done),
        }
    }
}

fn is_ours(signer: &str) -> bool {
    use signer_name::{CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY};
    [CLIENT, KUBELET_CLIENT, KUBELET_SERVING, LEGACY].contains(&signer)
}

/// What this signer does not sign.
fn check(request: &Request, usages: &[String], signer: &str) -> Result<(), String> {
    match signer {
        signer_name::KUBELET_SERVING => request.check_kubelet_serving(usages),
        signer_name::KUBELET_CLIENT => request.check_kubelet_client(usages),
        signer_name::CLIENT => check_client_usages(usages),
        _ => Ok(()),
    }
}

/// What was asked for, within what is granted.
fn duration(asked: Option<i32>, most: SignedDuration) -> SignedDuration {
    match asked.map(|seconds| SignedDuration::from_secs(seconds.into())) {
        None => most,
        Some(asked) if asked > most => most,
        Some(asked) => asked.max(LEAST),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::{super::request::tests::pem, *};

    #[test]
    fn what_is_asked_for_is_granted_within_bounds() {
        let year = SignedDuration::from_hours(8760);
        for (asked, granted) in [(None, 8760 * 3600), (Some(3600), 3600), (Some(1), 600), (Some(i32::MAX), 8760 * 3600)]
        {
            assert_eq!(duration(asked, year).as_secs(), granted, "{asked:?}");
        }
    }

    #[test]
    fn each_signer_has_its_rules() {
        let request = Request::parse(pem("jane", "dev", &[]).as_bytes()).unwrap();
        let usages = ["client auth"].map(str::to_owned);
        for (signer, expected) in [
            (signer_name::CLIENT, Ok(())),
            (signer_name::LEGACY, Ok(())),
            (signer_name::KUBELET_CLIENT, Err("subject organization is not system:nodes")),
            (signer_name::KUBELET_SERVING, Err("subject organization is not system:nodes")),
        ] {
            assert_eq!(check(&request, &usages, signer), expected.map_err(str::to_owned), "{signer}");
        }
        assert!(!is_ours("example.com/mine"));
    }
}
