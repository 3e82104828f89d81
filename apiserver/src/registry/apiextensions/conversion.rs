//! What may be wrong with how a definition has its objects converted.
//! Source: `pkg/apis/apiextensions/validation/validation.go`.

use base64::{Engine, engine::general_purpose::STANDARD};
use k8s_openapi::{
    api::admissionregistration::v1::ServiceReference,
    apiextensions_apiserver::pkg::apis::apiextensions::v1::{CustomResourceConversion, CustomResourceDefinition},
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use crate::{
    outside::trust,
    registry::{
        admissionregistration::webhook,
        validation::{form, json, required_choice},
    },
};

/// What is wrong with how versions are made of one another. Source: `validateCustomResourceConversion`.
pub fn validate(conversion: Option<&CustomResourceConversion>, path: &Path, errors: &mut Errors) {
    let strategy = conversion.map_or("", |conversion| &conversion.strategy);
    required_choice(strategy, &["None", "Webhook"], &path.child("strategy"), errors);
    let webhook = conversion.and_then(|conversion| conversion.webhook.as_ref());
    let client = webhook.and_then(|webhook| webhook.client_config.as_ref());
    let versions = webhook.map_or(&[][..], |webhook| &webhook.conversion_review_versions);
    let (client_path, versions_path) = (path.child("webhookClientConfig"), path.child("conversionReviewVersions"));
    if strategy != "Webhook" {
        let detail = "should not be set when strategy is not set to Webhook";
        if client.is_some() {
            errors.forbidden(&client_path, detail);
        }
        if !versions.is_empty() {
            errors.forbidden(&versions_path, detail);
        }
        return;
    }
    match client {
        None => errors.required(&client_path, "required when strategy is set to Webhook"),
        Some(client) if client.url.is_some() == client.service.is_some() => {
            errors.required(&client_path, "exactly one of url or service is required");
        }
        Some(client) => {
            if let Some(url) = &client.url {
                webhook::validate_url(url, &client_path.child("url"), errors);
            }
            if let Some(service) = client.service.clone() {
                let (name, namespace) = (service.name, service.namespace);
                let service = ServiceReference { name, namespace, path: service.path, port: service.port };
                webhook::validate_service(&service, &client_path.child("service"), errors);
            }
        }
    }
    if versions.is_empty() {
        errors.required(&versions_path, "");
        return;
    }
    for (i, version) in versions.iter().enumerate() {
        if versions[..i].contains(version) {
            errors.invalid(&versions_path.index(i), version.as_str(), "duplicate version");
        } else {
            form(version, name::dns1035_label, &versions_path.index(i), errors);
        }
    }
    if !versions.iter().any(|version| ["v1", "v1beta1"].contains(&version.as_str())) {
        errors.invalid(&versions_path, json(&versions), "must include at least one of v1, v1beta1");
    }
}

/// What is wrong with the authorities that a definition's webhook is believed by; empty ones are the system's.
/// Source: `ValidateCABundle`.
fn wrong_authorities(definition: &CustomResourceDefinition) -> Option<(String, String)> {
    let conversion = definition.spec.conversion.as_ref().filter(|conversion| conversion.strategy == "Webhook")?;
    let bundle = &conversion.webhook.as_ref()?.client_config.as_ref()?.ca_bundle.as_ref()?.0;
    if bundle.is_empty() {
        return None;
    }
    let why = trust::wrong_authorities(bundle)?;
    Some((STANDARD.encode(bundle), why))
}

/// A webhook's authorities are certificates. What was wrong before may stay so.
pub fn validate_authorities(
    new: &CustomResourceDefinition,
    old: Option<&CustomResourceDefinition>,
    errors: &mut Errors,
) {
    let Some((bundle, why)) = wrong_authorities(new) else { return };
    if old.and_then(wrong_authorities).is_none() {
        let path = Path::new("spec").child("conversion").child("webhookClientConfig").child("caBundle");
        errors.invalid(&path, bundle, &why);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn told(webhook: &Value) -> String {
        let conversion = serde_json::from_value(json!({"strategy": "Webhook", "webhook": webhook})).unwrap();
        let mut errors = Errors::default();
        validate(Some(&conversion), &Path::new("c"), &mut errors);
        errors.to_string()
    }

    #[test]
    fn webhooks_are_where_they_can_be() {
        let service = |patch: Value| {
            let mut service = json!({"name": "s", "namespace": "n", "port": 443});
            json_patch::merge(&mut service, &patch);
            json!({"service": service})
        };
        for (client, wrong) in [
            (json!({"url": "https://x/c"}), "[]"),
            (service(json!({"path": "/a/b"})), "[]"),
            (json!({}), "c.webhookClientConfig: Required value: exactly one of url or service is required"),
            (
                json!({"url": "http://x"}),
                "c.webhookClientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme; desired \
                 format: https://host[/path]",
            ),
            (
                service(json!({"path": "xy"})),
                "c.webhookClientConfig.service.path: Invalid value: \"xy\": must start with a '/'",
            ),
            (service(json!({"name": ""})), "c.webhookClientConfig.service.name: Required value"),
        ] {
            assert_eq!(told(&json!({"clientConfig": client, "conversionReviewVersions": ["v1"]})), wrong);
        }
        let unknown = json!({"clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v2"]});
        assert_eq!(
            told(&unknown),
            "c.conversionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1"
        );
    }

    #[test]
    fn authorities_are_certificates_unless_they_never_were() {
        let definition = |bundle: &str| -> CustomResourceDefinition {
            let client = json!({"url": "https://x", "caBundle": bundle});
            let webhook = json!({"clientConfig": client, "conversionReviewVersions": ["v1"]});
            let mut definition = CustomResourceDefinition::default();
            definition.spec.conversion =
                Some(serde_json::from_value(json!({"strategy": "Webhook", "webhook": webhook})).unwrap());
            definition
        };
        let told = |new: &str, old: Option<&str>| {
            let mut errors = Errors::default();
            validate_authorities(&definition(new), old.map(definition).as_ref(), &mut errors);
            errors.to_string()
        };
        let wrong = "spec.conversion.webhookClientConfig.caBundle: Invalid value: \"eA==\": unable to load root \
                     certificates: unable to parse bytes as PEM block";
        assert_eq!(told("eA==", None), wrong);
        assert_eq!(told("eA==", Some("")), wrong);
        assert_eq!(told("eA==", Some("eQ==")), "[]");
        assert_eq!(told("", None), "[]");
    }
}
