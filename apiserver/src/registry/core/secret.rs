//! Secret. Source: `pkg/apis/core/validation/validation.go`, `pkg/registry/core/secret/strategy.go`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::{ByteString, api::core::v1::Secret};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, text},
    core::config_map::{MAX_SIZE, SEALED},
    defaults,
    kind::{Column, Kind, age, column},
    syntax,
    validation::{form, immutable},
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

    fn validate(secret: &Secret, errors: &mut Errors) {
        let path = Path::new("data");
        let none = BTreeMap::new();
        let data = secret.data.as_ref().unwrap_or(&none);
        data.keys().for_each(|key| form(key, name::config_map_key, &path.key(key), errors));
        if data.values().map(|value| value.0.len()).sum::<usize>() > MAX_SIZE {
            errors.too_long(&path, MAX_SIZE);
        }
        let has = |key: &str| data.contains_key(key);
        let needs = |key: &str, errors: &mut Errors| {
            if !has(key) {
                errors.required(&path.key(key), "");
            }
        };
        let docker_config = |key: &str, errors: &mut Errors| match data.get(key) {
            None => errors.required(&path.key(key), ""),
            Some(text) => {
                if let Err(error) = serde_json::from_slice::<Value>(&text.0) {
                    let detail = syntax::wording(&text.0, &error);
                    errors.invalid(&path.key(key), "<secret contents redacted>", &detail);
                }
            }
        };
        match text(&secret.type_) {
            "kubernetes.io/service-account-token" => {
                let key = "kubernetes.io/service-account.name";
                if kubelab_api::meta::annotation(&secret.metadata, key).is_none_or(str::is_empty) {
                    errors.required(&Path::new("metadata").child("annotations").key(key), "");
                }
            }
            "kubernetes.io/dockercfg" => docker_config(".dockercfg", errors),
            "kubernetes.io/dockerconfigjson" => docker_config(".dockerconfigjson", errors),
            "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
                needs("username", errors);
                needs("password", errors);
            }
            "kubernetes.io/ssh-auth" if data.get("ssh-privatekey").is_none_or(|key| key.0.is_empty()) => {
                errors.required(&path.key("ssh-privatekey"), "");
            }
            "kubernetes.io/tls" => {
                needs("tls.crt", errors);
                needs("tls.key", errors);
            }
            _ => {}
        }
    }

    fn validate_update(new: &Secret, old: &Secret, errors: &mut Errors) {
        immutable(&new.type_, &old.type_, &Path::new("type"), errors);
        if old.immutable != Some(true) {
            return;
        }
        if new.immutable != Some(true) {
            errors.forbidden(&Path::new("immutable"), SEALED);
        }
        if new.data != old.data {
            errors.forbidden(&Path::new("data"), SEALED);
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Type", "string"), column("Data", "string"), AGE];

    fn cells(secret: &Secret, now: Timestamp) -> Vec<Value> {
        let entries = secret.data.as_ref().map_or(0, |data| data.len());
        cells![cells::name(&secret.metadata), text(&secret.type_), entries, age(&secret.metadata, now)]
    }

    fn fields(secret: &Secret) -> Vec<(&'static str, String)> {
        vec![("type", text(&secret.type_).to_owned())]
    }
}
