//! Who may ask, by address.

use std::net::IpAddr;

use ipnet::IpNet;

use super::annotations::Annotations;

/// Who may ask.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    allowed: Vec<IpNet>,
    denied: Vec<IpNet>,
}

impl Access {
    /// What these annotations say.
    pub fn of(annotations: Annotations<'_>) -> Self {
        let mut allowed = annotations.networks("allowlist-source-range");
        allowed.extend(annotations.networks("whitelist-source-range"));
        Self { allowed, denied: annotations.networks("denylist-source-range") }
    }

    /// Whether a client may ask. Who is not known is nobody that a list names.
    pub fn admits(&self, client: Option<IpAddr>) -> bool {
        let has = |networks: &[IpNet]| client.is_some_and(|ip| networks.iter().any(|network| network.contains(&ip)));
        !has(&self.denied) && (self.allowed.is_empty() || has(&self.allowed))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_decide() {
        for (annotations, client, expected) in [
            (json!({}), Some("10.0.0.1"), true),
            (json!({}), None, true),
            (json!({"whitelist-source-range": "10.0.0.0/24, 172.10.0.1"}), Some("10.0.0.1"), true),
            (json!({"whitelist-source-range": "10.0.0.0/24, 172.10.0.1"}), Some("172.10.0.1"), true),
            (json!({"whitelist-source-range": "10.0.0.0/24, 172.10.0.1"}), Some("10.0.1.1"), false),
            (json!({"whitelist-source-range": "10.0.0.0/24"}), None, false),
            (
                json!({"allowlist-source-range": "10.0.0.0/24", "denylist-source-range": "10.0.0.1"}),
                Some("10.0.0.1"),
                false,
            ),
            (json!({"denylist-source-range": "10.0.0.1"}), Some("10.0.0.2"), true),
        ] {
            let named = annotations.as_object().unwrap().iter();
            let named: serde_json::Map<_, _> =
                named.map(|(name, value)| (format!("nginx.ingress.kubernetes.io/{name}"), value.clone())).collect();
            let ingress = serde_json::from_value(json!({"metadata": {"annotations": named}})).unwrap();
            let access = Access::of(Annotations::of(&ingress));
            assert_eq!(access.admits(client.map(|ip| ip.parse().unwrap())), expected, "{annotations} {client:?}");
        }
    }
}
