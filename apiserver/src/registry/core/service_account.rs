//! ServiceAccount. Source: `pkg/registry/core/serviceaccount/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ObjectReference, ServiceAccount};
use serde_json::Value;

use crate::registry::{
    cells::{AGE, NAME, cells, count, name},
    defaults::each,
    kind::{Column, Kind, age, column},
};

/// ServiceAccount.
pub struct ServiceAccountKind;

impl Kind for ServiceAccountKind {
    type Object = ServiceAccount;

    const RETURNS_DELETED: bool = true;

    fn prepare_create(account: &mut ServiceAccount) {
        only_names(account);
    }

    fn prepare_update(new: &mut ServiceAccount, _old: &ServiceAccount) {
        only_names(new);
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Secrets", "string"), AGE];

    fn cells(account: &ServiceAccount, now: Timestamp) -> Vec<Value> {
        cells![name(&account.metadata), count(&account.secrets), age(&account.metadata, now)]
    }
}

/// Of the secrets that an account may use, only the names count.
fn only_names(account: &mut ServiceAccount) {
    for secret in each(&mut account.secrets) {
        *secret = ObjectReference { name: secret.name.take(), ..Default::default() };
    }
}
