//! Names and passwords out of a Secret (`auth-type: basic`).

use base64::{Engine, engine::general_purpose::STANDARD};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use k8s_openapi::api::core::v1::Secret;

use super::{annotations::Annotations, password};

/// The key of a Secret that holds a file of `htpasswd`.
const FILE: &str = "auth";

/// Whose name and password is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub secret: String,
    /// Each key of the Secret is a user (`auth-map`); else one of them is a file (`auth-file`).
    by_key: bool,
    realm: String,
}

/// What a client's name and password come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is one of them.
    Known,
    /// It is none, or there are no name and password.
    Unknown,
    /// The password is kept in a form that cannot be checked here.
    Unreadable,
}

impl Auth {
    /// What these annotations say.
    pub fn of(annotations: Annotations<'_>, namespace: &str) -> Option<Self> {
        annotations.text("auth-type").filter(|kind| *kind == "basic")?;
        let secret = annotations.text("auth-secret")?;
        let (namespace, secret) = secret.split_once('/').unwrap_or((namespace, secret));
        Some(Self {
            namespace: namespace.to_owned(),
            secret: secret.to_owned(),
            by_key: annotations.text("auth-secret-type") == Some("auth-map"),
            realm: annotations.text("auth-realm").unwrap_or("Authentication Required").to_owned(),
        })
    }

    /// Whether a request comes from somebody whom the Secret knows.
    pub fn check(&self, headers: &HeaderMap, secret: &Secret) -> Verdict {
        let Some((user, given)) = credentials(headers) else { return Verdict::Unknown };
        let data =
            |key: &str| secret.data.as_ref()?.get(key).map(|bytes| String::from_utf8_lossy(&bytes.0).into_owned());
        let kept = if self.by_key {
            data(&user)
        } else {
            let file = data(FILE).unwrap_or_default();
            let mut users = file.lines().filter_map(|line| line.trim().split_once(':'));
            users.find(|(name, _)| *name == user).map(|(_, kept)| kept.to_owned())
        };
        match kept.map(|kept| password::is(&given, kept.trim())) {
            Some(Some(true)) => Verdict::Known,
            Some(None) => Verdict::Unreadable,
            Some(Some(false)) | None => Verdict::Unknown,
        }
    }

    /// The header that asks for a name and a password.
    pub fn challenge(&self) -> HeaderValue {
        let challenge = format!("Basic realm=\"{}\"", self.realm.replace('"', ""));
        HeaderValue::from_str(&challenge).unwrap_or(HeaderValue::from_static("Basic"))
    }
}

fn credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let (scheme, encoded) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(encoded.trim()).ok()?).ok()?;
    text.split_once(':').map(|(user, password)| (user.to_owned(), password.to_owned()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn users_are_known_by_the_secret() {
        let secret = |data: serde_json::Value| -> Secret {
            serde_json::from_value(json!({"metadata": {"name": "basic-auth"}, "data": data})).unwrap()
        };
        let (file, map) = (
            secret(json!({"auth": STANDARD.encode("# users\nfoo:{PLAIN}bar\nold:$2y$05$x\n")})),
            secret(json!({"foo": STANDARD.encode("{PLAIN}bar")})),
        );
        for (by_key, secret, given, expected) in [
            (false, &file, Some("foo:bar"), Verdict::Known),
            (false, &file, Some("foo:baz"), Verdict::Unknown),
            (false, &file, Some("who:bar"), Verdict::Unknown),
            (false, &file, Some("old:bar"), Verdict::Unreadable),
            (false, &file, None, Verdict::Unknown),
            (true, &map, Some("foo:bar"), Verdict::Known),
            (true, &map, Some("bar:foo"), Verdict::Unknown),
            (true, &file, Some("foo:bar"), Verdict::Unknown),
        ] {
            let (namespace, name, realm) = ("shop".to_owned(), "basic-auth".to_owned(), "r".to_owned());
            let auth = Auth { namespace, secret: name, by_key, realm };
            let mut headers = HeaderMap::new();
            if let Some(given) = given {
                headers.insert(AUTHORIZATION, format!("Basic {}", STANDARD.encode(given)).parse().unwrap());
            }
            assert_eq!(auth.check(&headers, secret), expected, "{by_key} {given:?}");
        }
    }
}
