//! ValidatingWebhookConfiguration. Source: `pkg/registry/admissionregistration/validatingwebhookconfiguration/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kubelab_api::field::Errors;
use serde_json::Value;

use super::webhook::{self, Defaults};
use crate::registry::{
    cells::{self, AGE, NAME, cells, count, list},
    defaults::each,
    kind::{Column, Kind, age, column},
};

/// ValidatingWebhookConfiguration.
pub struct ValidatingWebhookConfigurationKind;

impl Kind for ValidatingWebhookConfigurationKind {
    type Object = ValidatingWebhookConfiguration;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(configuration: &mut ValidatingWebhookConfiguration) {
        for webhook in each(&mut configuration.webhooks) {
            Defaults::default(webhook);
        }
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &ValidatingWebhookConfiguration, old: &ValidatingWebhookConfiguration) -> bool {
        new.webhooks != old.webhooks
    }

    fn validate(configuration: &ValidatingWebhookConfiguration, errors: &mut Errors) {
        webhook::validate(list(&configuration.webhooks).iter().map(Into::into), errors);
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Webhooks", "integer"), AGE];

    fn cells(configuration: &ValidatingWebhookConfiguration, now: Timestamp) -> Vec<Value> {
        let meta = &configuration.metadata;
        cells![cells::name(meta), count(&configuration.webhooks), age(meta, now)]
    }
}
