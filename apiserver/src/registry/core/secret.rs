//! Secret. Source: `pkg/apis/core/validation/validation.go`, `pkg/registry/core/secret/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use serde_json::Value;

use crate::registry::{
    cells::{AGE, NAME, cells, name, text},
    defaults,
    kind::{Column, Kind, age, column},
};

/// Secret.
pub struct SecretKind;

impl Kind for SecretKind {
    type Object = Secret;

    fn default(secret: &mut Secret) {
        defaults::text(&mut secret.type_, "Opaque");
        // Plain text is for writing only: it is stored among the data.
        if let Some(plain) = secret.string_data.take() {
            let data = secret.data.get_or_insert_default();
            data.extend(plain.into_iter().map(|(key, value)| (key, ByteString(value.into_bytes()))));
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Type", "string"), column("Data", "string"), AGE];

    fn cells(secret: &Secret, now: Timestamp) -> Vec<Value> {
        let entries = secret.data.as_ref().map_or(0, |data| data.len());
        cells![name(&secret.metadata), text(&secret.type_), entries, age(&secret.metadata, now)]
    }

    fn fields(secret: &Secret) -> Vec<(&'static str, String)> {
        vec![("type", text(&secret.type_).to_owned())]
    }
}
