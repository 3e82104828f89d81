//! What the labels of a namespace ask for. Source: `k8s.io/pod-security-admission/api/{helpers,constants}.go`.

use std::collections::BTreeMap;

use super::{Level, Standard, Version};
use crate::field::{Errors, Path};

const PREFIX: &str = "pod-security.kubernetes.io/";

/// What becomes of pods that violate a standard.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Pods that violate this are refused.
    pub enforce: Standard,
    /// These are noted in the audit log.
    pub audit: Standard,
    /// Of these the caller is warned.
    pub warn: Standard,
}

impl Policy {
    /// The policy of a namespace, and what is wrong with its labels. A wrong level enforces the strictest one, and
    /// neither audits nor warns.
    pub fn of(labels: Option<&BTreeMap<String, String>>) -> (Self, Errors) {
        let mut policy = Self::default();
        let mut errors = Errors::default();
        let path = Path::new("metadata").child("labels");
        let modes = [
            ("enforce", &mut policy.enforce, Level::Restricted),
            ("audit", &mut policy.audit, Level::Privileged),
            ("warn", &mut policy.warn, Level::Privileged),
        ];
        for (mode, standard, fallback) in modes {
            let key = format!("{PREFIX}{mode}");
            if let Some(text) = labels.and_then(|labels| labels.get(&key)) {
                standard.level = Level::TABLE.iter().find(|row| row.0 == text).map_or(fallback, |row| row.1);
                if standard.level.name() != text {
                    errors.invalid(&path.key(&key), text.as_str(), "must be one of privileged, baseline, restricted");
                }
            }
            let key = format!("{PREFIX}{mode}-version");
            if let Some(text) = labels.and_then(|labels| labels.get(&key)) {
                match version(text) {
                    Some(version) => standard.version = version,
                    None => {
                        standard.version = Version::Latest;
                        errors.invalid(&path.key(&key), text.as_str(), "must be \"latest\" or \"v1.x\"");
                    }
                }
            }
        }
        (policy, errors)
    }
}

fn version(text: &str) -> Option<Version> {
    if text == "latest" {
        return Some(Version::Latest);
    }
    let minor = text.strip_prefix("v1.")?;
    let plain = minor.bytes().all(|byte| byte.is_ascii_digit()) && (minor == "0" || !minor.starts_with('0'));
    minor.parse().ok().filter(|_| plain).map(Version::Minor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_become_a_policy() {
        let of = |labels: &[(&str, &str)]| {
            let labels = labels.iter().map(|(key, value)| (format!("{PREFIX}{key}"), (*value).to_owned())).collect();
            let (policy, errors) = Policy::of(Some(&labels));
            ([policy.enforce, policy.audit, policy.warn].map(|standard| standard.to_string()), errors.to_string())
        };
        let cases: [(&[(&str, &str)], [&str; 3], &str); 5] = [
            (&[], ["privileged:latest"; 3], "[]"),
            (
                &[("enforce", "baseline"), ("enforce-version", "v1.25"), ("warn", "restricted")],
                ["baseline:v1.25", "privileged:latest", "restricted:latest"],
                "[]",
            ),
            (
                &[("enforce", "strict")],
                ["restricted:latest", "privileged:latest", "privileged:latest"],
                "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, \
                 baseline, restricted",
            ),
            (
                &[("warn", "strict")],
                ["privileged:latest"; 3],
                "metadata.labels[pod-security.kubernetes.io/warn]: Invalid value: \"strict\": must be one of privileged, \
                 baseline, restricted",
            ),
            (
                &[("audit", "baseline"), ("audit-version", "v1.07")],
                ["privileged:latest", "baseline:latest", "privileged:latest"],
                "metadata.labels[pod-security.kubernetes.io/audit-version]: Invalid value: \"v1.07\": must be \"latest\" or \
                 \"v1.x\"",
            ),
        ];
        for (labels, standards, wrong) in cases {
            let (found, errors) = of(labels);
            assert_eq!((found.each_ref().map(String::as_str), errors.as_str()), (standards, wrong));
        }
        assert_eq!(Policy::of(None).0, Policy::default());
    }
}
