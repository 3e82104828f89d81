//! How others learn to verify service accounts' tokens: the issuer's metadata and its keys, as OpenID Connect has them.
//! Source: `pkg/serviceaccount/openidmetadata.go`.

use serde_json::{Value, json};

use super::token::Keys;

/// Where the metadata is.
pub const CONFIGURATION: &str = "/.well-known/openid-configuration";
/// Where the keys are.
pub const JWKS: &str = "/openid/v1/jwks";

/// The issuer's metadata; `address` is how clients reach this apiserver.
pub fn configuration(keys: &Keys, address: &str) -> Value {
    json!({
        "issuer": keys.issuer(),
        "jwks_uri": format!("https://{address}{JWKS}"),
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    })
}

/// The keys.
pub fn jwks(keys: &Keys) -> Value {
    json!({"keys": keys.public()})
}
