//! The names of signers: `example.com/web`. Source: `ValidateSignerName` in `pkg/apis/core/validation`.

use kubelab_api::{
    field::{Errors, Path},
    name,
};

/// A domain may be so long.
const DOMAIN: usize = 253;
/// A name may be so long: a domain, a slash, a label and a domain with a dot between them.
const NAME: usize = DOMAIN + 1 + 63 + 1 + DOMAIN;

/// What is wrong with a signer's name.
pub(super) fn validate(signer: &str, path: &Path, errors: &mut Errors) {
    if signer.is_empty() {
        errors.required(path, "");
    }
    let parts: Vec<_> = signer.split('/').collect();
    let [domain, rest] = parts[..] else {
        let detail = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
        return errors.invalid(path, signer, detail);
    };
    if domain.len() > DOMAIN {
        errors.too_long(path, DOMAIN);
    }
    labels(domain, name::dns1123_label, path, errors);
    if !domain.contains('.') {
        errors.invalid(path, domain, "should be a domain with at least two segments separated by dots");
    }
    labels(rest, name::dns1123_subdomain, path, errors);
    if signer.len() > NAME {
        errors.too_long(path, NAME);
    }
}

/// The first label that is wrong.
fn labels(part: &str, rule: fn(&str) -> Vec<String>, path: &Path, errors: &mut Errors) {
    let wrong = part.split('.').map(|label| (label, rule(label))).find(|(_, wrong)| !wrong.is_empty());
    for (label, wrong) in wrong.iter().flat_map(|(label, wrong)| wrong.iter().map(move |wrong| (label, wrong))) {
        errors.invalid(path, part, &format!("validating label {label:?}: {wrong}"));
    }
}

/// The project's own signers.
pub(super) fn is_kubernetes(signer: &str) -> bool {
    signer.split_once('/').is_some_and(|(domain, _)| domain == "kubernetes.io" || domain.ends_with(".kubernetes.io"))
}
