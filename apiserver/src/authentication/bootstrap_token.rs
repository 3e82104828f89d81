//! Bootstrap tokens: what a machine shows that wants to join, `abcdef.0123456789abcdef`. They stand in Secrets of
//! `kube-system`. Source: `plugin/pkg/auth/authenticator/token/bootstrap`, `k8s.io/cluster-bootstrap/token`.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Secret;
use kubelab_api::well_known::namespace::SYSTEM;

use super::{Lookup, token::Rejection};
use crate::corridor::User;

const TYPE: &str = "bootstrap.kubernetes.io/token";
/// The group of all bootstrap users; further groups begin with it.
const GROUP: &str = "system:bootstrappers";

/// The id and the secret of a text that has the form of a bootstrap token.
fn split(token: &str) -> Option<(&str, &str)> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    token.split_once('.').filter(|(id, secret)| id.len() == 6 && secret.len() == 16 && plain(id) && plain(secret))
}

/// Whom a bootstrap token stands for; `None` for a token of another form.
pub(super) fn user_of(token: &str, lookup: &dyn Lookup, now: Timestamp) -> Option<Result<User, Rejection>> {
    let (id, secret) = split(token)?;
    Some(check(id, secret, lookup, now).map_err(|why| Rejection::Malformed(format!("bootstrap token {id}: {why}"))))
}

fn check(id: &str, secret: &str, lookup: &dyn Lookup, now: Timestamp) -> Result<User, String> {
    let stored = lookup.get("core/secrets", &format!("{SYSTEM}/bootstrap-token-{id}"));
    let stored = stored.ok_or("there is no such secret")?;
    let stored: Secret = serde_json::from_slice(&stored).map_err(|error| error.to_string())?;
    if stored.metadata.deletion_timestamp.is_some() {
        return Err("its secret is being deleted".into());
    }
    if stored.type_.as_deref() != Some(TYPE) {
        return Err("its secret is of another type".into());
    }
    let data = stored.data.unwrap_or_default();
    let text = |key: &str| data.get(key).and_then(|value| std::str::from_utf8(&value.0).ok()).unwrap_or_default();
    if text("token-id") != id || !same(text("token-secret"), secret) {
        return Err("its secret holds another one".into());
    }
    match text("expiration") {
        "" => {}
        end => match end.parse::<Timestamp>() {
            Ok(end) if now < end => {}
            Ok(_) => return Err("it has expired".into()),
            Err(_) => return Err("its expiration cannot be read".into()),
        },
    }
    if text("usage-bootstrap-authentication") != "true" {
        return Err("it is not for authentication".into());
    }
    let mut groups = BTreeSet::from([GROUP.to_owned()]);
    for group in text("auth-extra-groups").split(',').filter(|group| !group.is_empty()) {
        if !is_group(group) {
            return Err(format!("bootstrap group {group:?} is invalid"));
        }
        groups.insert(group.to_owned());
    }
    Ok(User { name: format!("system:bootstrap:{id}"), groups: groups.into_iter().collect(), ..User::default() })
}

/// In a time that does not tell how much is right.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b)) == 0
}

/// Source: `BootstrapGroupPattern` in `k8s.io/cluster-bootstrap/token/api`.
fn is_group(group: &str) -> bool {
    let Some(rest) = group.strip_prefix("system:bootstrappers:") else { return false };
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    rest.len() <= 256 && rest.ends_with(plain) && rest.chars().all(|c| plain(c) || c == ':' || c == '-')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::ByteString;
    use serde_json::json;

    use super::*;

    struct One(serde_json::Value);

    impl Lookup for One {
        fn get(&self, topic: &str, name: &str) -> Option<bytes::Bytes> {
            let here = (topic, name) == ("core/secrets", "kube-system/bootstrap-token-abcdef");
            here.then(|| self.0.to_string().into())
        }
    }

    #[test]
    fn machines_join_with_tokens() {
        let now: Timestamp = "2026-11-27T12:00:00Z".parse().unwrap();
        let good: &[(&str, &str)] = &[
            ("token-id", "abcdef"),
            ("token-secret", "0123456789abcdef"),
            ("usage-bootstrap-authentication", "true"),
            ("auth-extra-groups", "system:bootstrappers:kubeadm:default-node-token"),
        ];
        for (why, token, kind, changed, expected) in [
            ("all is well", "abcdef.0123456789abcdef", TYPE, ("", ""), Some(true)),
            ("still good", "abcdef.0123456789abcdef", TYPE, ("expiration", "2026-11-27T12:00:01Z"), Some(true)),
            ("too late", "abcdef.0123456789abcdef", TYPE, ("expiration", "2026-11-27T12:00:00Z"), Some(false)),
            ("no time", "abcdef.0123456789abcdef", TYPE, ("expiration", "soon"), Some(false)),
            ("another secret", "abcdef.0123456789abcdee", TYPE, ("", ""), Some(false)),
            ("another id", "abcdeg.0123456789abcdef", TYPE, ("", ""), Some(false)),
            ("of another type", "abcdef.0123456789abcdef", "Opaque", ("", ""), Some(false)),
            ("for signing", "abcdef.0123456789abcdef", TYPE, ("usage-bootstrap-authentication", "false"), Some(false)),
            ("any group", "abcdef.0123456789abcdef", TYPE, ("auth-extra-groups", "system:masters"), Some(false)),
            ("of another form", "abcdef.0123456789ABCDEF", TYPE, ("", ""), None),
            ("too short", "abcdef.0123456789abcde", TYPE, ("", ""), None),
        ] {
            let mut data: std::collections::BTreeMap<&str, ByteString> =
                good.iter().map(|(key, value)| (*key, ByteString(value.as_bytes().to_vec()))).collect();
            data.insert(changed.0, ByteString(changed.1.as_bytes().to_vec()));
            let secret = One(json!({"metadata": {}, "type": kind, "data": data}));
            let user = user_of(token, &secret, now);
            assert_eq!(user.as_ref().map(Result::is_ok), expected, "{why}");
            if let Some(Ok(user)) = user {
                assert_eq!(user.name, "system:bootstrap:abcdef");
                let groups = ["system:bootstrappers", "system:bootstrappers:kubeadm:default-node-token"];
                assert_eq!(user.groups, groups);
            }
        }
    }
}
