//! What a definition says of the webhook that converts its objects.

use std::sync::Arc;

use k8s_openapi::{
    api::admissionregistration::v1::{ServiceReference, WebhookClientConfig},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceConversion,
};

use crate::outside::Destination;

/// The webhook that converts a kind's objects.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Webhook {
    /// The kind.
    pub kind: String,
    /// Where it is.
    pub destination: Destination,
    /// The version of ConversionReview that it is sent; `None` if it understands none of ours.
    pub review: Option<&'static str>,
}

impl Webhook {
    /// What a definition says; `None` if no webhook is needed.
    pub fn of(kind: &str, conversion: Option<&CustomResourceConversion>) -> Option<Arc<Self>> {
        let webhook = conversion.filter(|conversion| conversion.strategy == "Webhook")?.webhook.as_ref()?;
        let client = webhook.client_config.clone().unwrap_or_default();
        let service = client.service.map(|service| ServiceReference {
            name: service.name,
            namespace: service.namespace,
            path: service.path,
            port: service.port,
        });
        // A bundle of white space is none.
        let bundle = client.ca_bundle.filter(|bundle| !bundle.0.trim_ascii().is_empty());
        let client = WebhookClientConfig { ca_bundle: bundle, service, url: client.url };
        let review = webhook.conversion_review_versions.iter().find_map(|version| match version.as_str() {
            "v1" => Some("v1"),
            "v1beta1" => Some("v1beta1"),
            _ => None,
        });
        Some(Arc::new(Self { kind: kind.to_owned(), destination: Destination::of(&client), review }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn conversion(webhook: Value) -> CustomResourceConversion {
        serde_json::from_value(json!({"strategy": "Webhook", "webhook": webhook})).unwrap()
    }

    fn webhook(versions: Value) -> Arc<Webhook> {
        let conversion =
            conversion(json!({"clientConfig": {"url": "https://x"}, "conversionReviewVersions": versions}));
        Webhook::of("Widget", Some(&conversion)).unwrap()
    }

    #[test]
    fn the_first_known_version_of_the_review_is_sent() {
        for (spoken, version) in [
            (json!(["v1", "v1beta1"]), Some("v1")),
            (json!(["v2", "v1beta1", "v1"]), Some("v1beta1")),
            (json!(["v2"]), None),
        ] {
            assert_eq!(webhook(spoken).review, version);
        }
        assert!(Webhook::of("Widget", None).is_none());
        let service = json!({"namespace": "n", "name": "s", "port": 8443, "path": "/c"});
        let spec =
            json!({"clientConfig": {"service": service, "caBundle": "IAo="}, "conversionReviewVersions": ["v1"]});
        let webhook = Webhook::of("Widget", Some(&conversion(spec))).unwrap();
        assert_eq!(webhook.destination.url(), "https://s.n.svc:8443/c");
        assert!(webhook.destination.authorities.is_empty(), "white space is no authority");
    }
}
