//! MutatingWebhookConfiguration. Source: `pkg/registry/admissionregistration/mutatingwebhookconfiguration/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::MutatingWebhookConfiguration;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::webhook::{self, Defaults};
use crate::registry::{
    cells::{self, AGE, NAME, cells, count, list, text},
    defaults::{each, missing},
    kind::{Column, Kind, age, column},
    validation::choice,
};

/// MutatingWebhookConfiguration.
pub struct MutatingWebhookConfigurationKind;

impl Kind for MutatingWebhookConfigurationKind {
    type Object = MutatingWebhookConfiguration;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(configuration: &mut MutatingWebhookConfiguration) {
        for webhook in each(&mut configuration.webhooks) {
            Defaults::default(webhook);
            missing(&mut webhook.reinvocation_policy, "Never".into());
        }
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &MutatingWebhookConfiguration, old: &MutatingWebhookConfiguration) -> bool {
        new.webhooks != old.webhooks
    }

    fn validate(configuration: &MutatingWebhookConfiguration, errors: &mut Errors) {
        webhook::validate(list(&configuration.webhooks).iter().map(Into::into), errors);
        for (i, webhook) in list(&configuration.webhooks).iter().enumerate() {
            let path = Path::new("webhooks").index(i).child("reinvocationPolicy");
            choice(text(&webhook.reinvocation_policy), &["IfNeeded", "Never"], &path, errors);
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Webhooks", "integer"), AGE];

    fn cells(configuration: &MutatingWebhookConfiguration, now: Timestamp) -> Vec<Value> {
        let meta = &configuration.metadata;
        cells![cells::name(meta), count(&configuration.webhooks), age(meta, now)]
    }
}
