//! What every `metav1.Condition` must be. Source: `k8s.io/apimachinery/pkg/apis/meta/v1/validation`, `ValidateConditions`.

use std::collections::BTreeSet;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use super::validation::{form, required_choice};

/// A reason may be so long.
const REASON_BYTES: usize = 1024;
/// A message may be so long.
const MESSAGE_BYTES: usize = 32 * 1024;

/// What is wrong with a status' conditions.
pub fn validate(conditions: &[Condition], path: &Path, errors: &mut Errors) {
    let mut seen = BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let path = path.index(i);
        if !seen.insert(&condition.type_) {
            errors.duplicate(&path.child("type"), condition.type_.as_str());
        }
        one(condition, &path, errors);
    }
}

fn one(condition: &Condition, path: &Path, errors: &mut Errors) {
    match condition.type_.as_str() {
        "" => errors.required(&path.child("type"), "must be set"),
        given => form(given, name::label_key, &path.child("type"), errors),
    }
    required_choice(&condition.status, &["False", "True", "Unknown"], &path.child("status"), errors);
    if let Some(generation) = condition.observed_generation.filter(|generation| *generation < 0) {
        errors.invalid(&path.child("observedGeneration"), generation, "must be greater than or equal to zero");
    }
    let reason = condition.reason.as_str();
    if reason.is_empty() {
        errors.required(&path.child("reason"), "must be set");
    } else if !is_reason(reason) {
        errors.invalid(&path.child("reason"), reason, &not_a_reason());
    }
    if reason.len() > REASON_BYTES {
        errors.too_long(&path.child("reason"), REASON_BYTES);
    }
    if condition.message.len() > MESSAGE_BYTES {
        errors.too_long(&path.child("message"), MESSAGE_BYTES);
    }
}

/// A word for programs: begins with a letter, ends with a letter, a digit or `_`, and holds `,` and `:` too.
fn is_reason(reason: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    reason.starts_with(|c: char| c.is_ascii_alphabetic())
        && reason.ends_with(word)
        && reason.chars().all(|c| word(c) || matches!(c, ',' | ':'))
}

fn not_a_reason() -> String {
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters \
     or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or \
     'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')"
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_words() {
        for reason in ["A", "MyName", "ReasonA,ReasonB", "a:b_"] {
            assert!(is_reason(reason), "{reason}");
        }
        for text in ["1", "_a", "a,", "two words", "Ä"] {
            assert!(!is_reason(text), "{text}");
        }
    }
}
