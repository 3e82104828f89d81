//! Service account tokens: JSON Web Tokens, signed with ECDSA on P-256. Pure.
//! Source: `pkg/serviceaccount/{jwt,claims,legacy}.go`.

use std::collections::HashSet;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use rustls::crypto::ring::sign::any_ecdsa_type;
use rustls_pki_types::{PrivateKeyDer, SubjectPublicKeyInfoDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use x509_parser::{prelude::FromDer, x509::SubjectPublicKeyInfo};

/// Who signs, and for whom tokens are when nothing else is said,
/// unless the apiserver is told otherwise.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
/// Who signed tokens that are kept in Secrets.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";
/// How far clocks may differ, in seconds. Source: `DefaultLeeway` in `go-jose/jwt`.
const LEEWAY: i64 = 60;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
#[error("the service account signing key is no P-256 key in PEM (PKCS #8): {0}")]
pub struct KeyError(String);

/// Why a token is no good. Clients are only told `Unauthorized`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// It is no token, or nobody known has signed it.
    #[error("invalid bearer token: {0}")]
    Malformed(String),
    /// It is too late.
    #[error("service account token has expired")]
    Expired,
    /// It is too early.
    #[error("service account token is not valid yet")]
    NotYet,
    /// It is for others.
    #[error("token audiences {0:?} is invalid for the target audiences {1:?}")]
    Audience(Vec<String>, Vec<String>),
    /// What it is bound to is gone, or is another object by now.
    #[error("service account token has been invalidated: {0}")]
    Invalidated(String),
}

/// The keys that sign and verify tokens.
pub struct Keys {
    issuer: String,
    extends: bool,
    signing: EncodingKey,
    /// The first is the signing key's.
    verifying: Vec<Verifying>,
}

/// A key that verifies.
struct Verifying {
    id: String,
    key: DecodingKey,
    /// Its point: x, y.
    point: [[u8; 32]; 2],
}

/// A key as others may see it. Source: RFC 7517, RFC 7518.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PublicKey {
    r#use: &'static str,
    kty: &'static str,
    kid: String,
    crv: &'static str,
    alg: &'static str,
    x: String,
    y: String,
}

impl Keys {
    /// Signs with this private key as this issuer, and verifies what it has signed.
    pub fn from_pem(private: &[u8], issuer: &str) -> Result<Self, KeyError> {
        let fail = |error: &dyn std::fmt::Display| KeyError(error.to_string());
        let der = PrivateKeyDer::from_pem_slice(private).map_err(|error| fail(&error))?;
        let key = any_ecdsa_type(&der).map_err(|error| fail(&error))?;
        let public = key.public_key().ok_or_else(|| KeyError("it has no public part".into()))?;
        let verifying = vec![verifying_key(&public)?];
        Ok(Self {
            issuer: issuer.to_owned(),
            extends: true,
            signing: EncodingKey::from_ec_der(der.secret_der()),
            verifying,
        })
    }

    /// Verifies what another key has signed, too: one that is being replaced.
    pub fn accept(&mut self, public: &[u8]) -> Result<(), KeyError> {
        let public = SubjectPublicKeyInfoDer::from_pem_slice(public).map_err(|error| KeyError(error.to_string()))?;
        self.verifying.push(verifying_key(&public)?);
        Ok(())
    }

    /// Whether kubelets' tokens last a year, so that clients which never read theirs again go on working.
    #[must_use]
    pub fn with_extension(mut self, extends: bool) -> Self {
        self.extends = extends;
        self
    }

    /// Whether kubelets' tokens last a year.
    pub fn extends(&self) -> bool {
        self.extends
    }

    /// Who signs: also the audience that stands for the API itself.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// A signed token.
    pub fn sign(&self, claims: &Claims) -> Result<String, jsonwebtoken::errors::Error> {
        let kid = self.verifying.first().map(|own| own.id.clone());
        jsonwebtoken::encode(&Header { kid, typ: None, ..Header::new(Algorithm::ES256) }, claims, &self.signing)
    }

    /// The keys, for others to verify tokens with.
    pub fn public(&self) -> Vec<PublicKey> {
        let all = self.verifying.iter().map(|Verifying { id, point: [x, y], .. }| PublicKey {
            r#use: "sig",
            kty: "EC",
            kid: id.clone(),
            crv: "P-256",
            alg: "ES256",
            x: URL_SAFE_NO_PAD.encode(x),
            y: URL_SAFE_NO_PAD.encode(y),
        });
        all.collect()
    }

    /// The claims of a token whose signature is good. What they say is still to be checked.
    pub fn verify(&self, token: &str) -> Result<Claims, Rejection> {
        let mut validation = Validation::new(Algorithm::ES256);
        // Time and audience are checked against the lab's clock and the asker's audiences.
        validation.validate_exp = false;
        validation.validate_aud = false;
        validation.required_spec_claims = HashSet::new();
        validation.set_issuer(&[self.issuer.as_str(), LEGACY_ISSUER]);
        let mut why = None;
        for Verifying { key, .. } in &self.verifying {
            match jsonwebtoken::decode::<Claims>(token, key, &validation) {
                Ok(token) => return Ok(token.claims),
                Err(error) => why = Some(error.to_string()),
            }
        }
        Err(Rejection::Malformed(why.unwrap_or_default()))
    }
}

fn verifying_key(public: &SubjectPublicKeyInfoDer<'_>) -> Result<Verifying, KeyError> {
    let (_, info) = SubjectPublicKeyInfo::from_der(public).map_err(|error| KeyError(error.to_string()))?;
    // Source: `keyIDFromPublicKey` in `pkg/serviceaccount/jwt.go`.
    let id = URL_SAFE_NO_PAD.encode(Sha256::digest(public));
    // An uncompressed point of P-256: 0x04, x, y.
    let point = &info.subject_public_key.data;
    match (point.get(1..33).map(TryInto::try_into), point.get(33..).map(TryInto::try_into)) {
        (Some(Ok(x)), Some(Ok(y))) => Ok(Verifying { id, key: DecodingKey::from_ec_der(point), point: [x, y] }),
        _ => Err(KeyError("it is on another curve".into())),
    }
}

/// One or several audiences.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
enum Audience {
    Many(Vec<String>),
    One(String),
}

/// An object, this one and no later one of its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// Its name.
    pub name: String,
    /// Its uid.
    #[serde(default)]
    pub uid: String,
}

/// What a token stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// Where the account is.
    pub namespace: String,
    /// As long as this node lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<Reference>,
    /// As long as this pod lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Reference>,
    /// As long as this Secret lives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret: Option<Reference>,
    /// The account.
    pub serviceaccount: Reference,
    /// When a client should have got another one, though this one lasts longer: Unix time in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// What a token in a Secret stands for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Legacy {
    #[serde(rename = "kubernetes.io/serviceaccount/namespace", default, skip_serializing_if = "String::is_empty")]
    namespace: String,
    #[serde(rename = "kubernetes.io/serviceaccount/secret.name", default, skip_serializing_if = "String::is_empty")]
    secret: String,
    #[serde(
        rename = "kubernetes.io/serviceaccount/service-account.name",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    account: String,
    #[serde(
        rename = "kubernetes.io/serviceaccount/service-account.uid",
        default,
        skip_serializing_if = "String::is_empty"
    )]
    uid: String,
}

/// What a token says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    aud: Option<Audience>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exp: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    iat: Option<i64>,
    iss: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    jti: Option<String>,
    #[serde(rename = "kubernetes.io", default, skip_serializing_if = "Option::is_none")]
    bound: Option<Bound>,
    #[serde(flatten)]
    legacy: Legacy,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    nbf: Option<i64>,
    sub: String,
}

impl Claims {
    /// A token for some audiences, from `now` on for `seconds`.
    pub fn new(issuer: &str, bound: Bound, audiences: Vec<String>, id: String, now: Timestamp, seconds: i64) -> Self {
        let now = now.as_second();
        Self {
            aud: Some(Audience::Many(audiences)),
            exp: Some(now + seconds),
            iat: Some(now),
            iss: issuer.to_owned(),
            jti: Some(id),
            sub: super::account::user_name(&bound.namespace, &bound.serviceaccount.name),
            bound: Some(bound),
            legacy: Legacy::default(),
            nbf: Some(now),
        }
    }

    /// A token to be kept in a Secret: it lasts as long as the Secret does.
    pub fn legacy(namespace: &str, account: &Reference, secret: &str) -> Self {
        Self {
            aud: None,
            exp: None,
            iat: None,
            iss: LEGACY_ISSUER.to_owned(),
            jti: None,
            bound: None,
            legacy: Legacy {
                namespace: namespace.to_owned(),
                secret: secret.to_owned(),
                account: account.name.clone(),
                uid: account.uid.clone(),
            },
            nbf: None,
            sub: super::account::user_name(namespace, &account.name),
        }
    }

    /// The token's own id.
    pub fn id(&self) -> Option<&str> {
        self.jti.as_deref()
    }

    /// What it stands for.
    pub fn subject(&self) -> Result<Bound, Rejection> {
        match &self.bound {
            Some(bound) => Ok(bound.clone()),
            None if self.iss == LEGACY_ISSUER => Ok(Bound {
                namespace: self.legacy.namespace.clone(),
                secret: Some(Reference { name: self.legacy.secret.clone(), uid: String::new() }),
                serviceaccount: Reference { name: self.legacy.account.clone(), uid: self.legacy.uid.clone() },
                ..Bound::default()
            }),
            None => Err(Rejection::Malformed("it names no service account".into())),
        }
    }

    /// It was made to be kept in a Secret.
    pub fn is_legacy(&self) -> bool {
        self.iss == LEGACY_ISSUER
    }

    /// Checks the time, and which of the `wanted` audiences it is for; none stands for the API's own, `api`.
    pub(super) fn check(&self, now: Timestamp, wanted: &[String], api: &str) -> Result<Vec<String>, Rejection> {
        let now = now.as_second();
        if self.exp.is_some_and(|end| now > end + LEEWAY) {
            return Err(Rejection::Expired);
        }
        if self.nbf.is_some_and(|start| now < start - LEEWAY) {
            return Err(Rejection::NotYet);
        }
        let own = || vec![api.to_owned()];
        let wanted = if wanted.is_empty() { own() } else { wanted.to_vec() };
        let given = match &self.aud {
            Some(Audience::Many(audiences)) => audiences.clone(),
            Some(Audience::One(audience)) => vec![audience.clone()],
            None => own(),
        };
        let common: Vec<String> = wanted.iter().filter(|audience| given.contains(audience)).cloned().collect();
        if common.is_empty() { Err(Rejection::Audience(given, wanted)) } else { Ok(common) }
    }
}
