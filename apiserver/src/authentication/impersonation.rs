//! Acting as somebody else, with the `Impersonate-*` headers: each part of the other's identity needs leave to be taken.
//! Source: `k8s.io/apiserver/pkg/endpoints/filters/impersonation`.

use std::collections::BTreeMap;

use http::HeaderMap;
use kubelab_api::Error;

use super::{ANONYMOUS, AUTHENTICATED, UNAUTHENTICATED, account};
use crate::{
    authorization::{Attributes, Decider},
    corridor::User,
};

const USER: &str = "impersonate-user";
const GROUP: &str = "impersonate-group";
const UID: &str = "impersonate-uid";
const EXTRA: &str = "impersonate-extra-";
const AUTHENTICATION: &str = "authentication.k8s.io";

/// Whom somebody wants to be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    user: String,
    groups: Vec<String>,
    uid: String,
    extra: BTreeMap<String, Vec<String>>,
}

impl Wanted {
    /// What the headers ask for; `None` when they ask for nothing.
    pub fn from_headers(headers: &HeaderMap) -> Result<Option<Self>, Error> {
        let texts = |name: &str| -> Vec<String> {
            let values = headers.get_all(name).into_iter();
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
        };
        let mut wanted = Self {
            user: texts(USER).into_iter().next().unwrap_or_default(),
            groups: texts(GROUP),
            uid: texts(UID).into_iter().next().unwrap_or_default(),
            extra: BTreeMap::new(),
        };
        for name in headers.keys() {
            if let Some(key) = name.as_str().strip_prefix(EXTRA) {
                wanted.extra.insert(unescape(key), texts(name.as_str()));
            }
        }
        match (&wanted, wanted.others().as_slice()) {
            (Self { user, .. }, []) if user.is_empty() => Ok(None),
            (Self { user, .. }, others) if user.is_empty() => {
                let others = others.join(" ");
                Err(Error::bad_request(format!("requested [{others}] without impersonating a user")))
            }
            _ => Ok(Some(wanted)),
        }
    }

    /// What is asked for besides a user, as Go prints it.
    fn others(&self) -> Vec<String> {
        let mut others: Vec<String> = self.groups.iter().map(|group| format!("{{Group  {group}    }}")).collect();
        for (key, values) in &self.extra {
            let of = |value: &String| format!("{{UserExtra  {value}  {AUTHENTICATION}/v1  {key}}}");
            others.extend(values.iter().map(of));
        }
        if !self.uid.is_empty() {
            others.push(format!("{{UID  {}  {AUTHENTICATION}/v1  }}", self.uid));
        }
        others
    }

    /// The other identity, if `user` may take every part of it; else 403.
    pub fn grant(self, user: &User, decider: &dyn Decider) -> Result<User, Error> {
        let ask = |group: &str, resource: &str, subresource: &str, namespace: &str, name: &str| {
            let attributes = Attributes::resource(user, "impersonate", group, resource);
            decider.require(&Attributes { subresource, namespace, name, ..attributes })
        };
        let mut groups = Vec::new();
        match account::split_user_name(&self.user) {
            Some((namespace, name)) => {
                ask("", "serviceaccounts", "", namespace, name)?;
                if self.groups.is_empty() {
                    groups = account::groups(namespace);
                }
            }
            None => ask("", "users", "", "", &self.user)?,
        }
        for group in self.groups {
            ask("", "groups", "", "", &group)?;
            groups.push(group);
        }
        for (key, values) in &self.extra {
            for value in values {
                ask(AUTHENTICATION, "userextras", key, "", value)?;
            }
        }
        if !self.uid.is_empty() {
            ask(AUTHENTICATION, "uids", "", "", &self.uid)?;
        }
        let has = |group: &str| groups.iter().any(|present| present == group);
        if self.user == ANONYMOUS {
            if !has(UNAUTHENTICATED) {
                groups.push(UNAUTHENTICATED.to_owned());
            }
        } else if !has(AUTHENTICATED) && !has(UNAUTHENTICATED) {
            groups.push(AUTHENTICATED.to_owned());
        }
        Ok(User { name: self.user, uid: self.uid, groups, extra: self.extra })
    }
}

/// `%`-escapes resolved; text that is malformed stays as it is.
fn unescape(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        let escaped = (*first == b'%')
            .then(|| tail.get(..2).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()));
        match escaped {
            Some(Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            Some(None) => return text.to_owned(),
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use http::{HeaderName, HeaderValue};
    use serde_json::json;

    use super::*;
    use crate::authorization::rules::{Policy, Rules};

    fn wanted(headers: &[(&str, &str)]) -> Result<Option<Wanted>, String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name.parse::<HeaderName>().unwrap(), HeaderValue::from_str(value).unwrap());
        }
        Wanted::from_headers(&map).map_err(|error| error.message)
    }

    fn allowing(rules: serde_json::Value) -> Rules {
        let subject = json!({"kind": "User", "name": "boss"});
        let role = json!({"metadata": {"name": "r"}, "rules": rules});
        let binding = json!({"roleRef": {"apiGroup": "", "kind": "ClusterRole", "name": "r"}, "subjects": [subject]});
        Rules::new(Policy {
            cluster_roles: vec![serde_json::from_value(role).unwrap()],
            cluster_role_bindings: vec![serde_json::from_value(binding).unwrap()],
            ..Policy::default()
        })
    }

    #[test]
    fn headers_say_whom_somebody_wants_to_be() {
        assert_eq!(wanted(&[("Accept", "*/*")]), Ok(None));
        assert_eq!(
            wanted(&[("Impersonate-Group", "a"), ("Impersonate-Group", "b")]),
            Err("requested [{Group  a    } {Group  b    }] without impersonating a user".into())
        );
        let all = [("Impersonate-User", "jane"), ("Impersonate-Extra-Acme.com%2fScope", "x"), ("Impersonate-Uid", "u")];
        let jane = wanted(&all).unwrap().unwrap();
        assert_eq!((jane.user.as_str(), jane.uid.as_str()), ("jane", "u"));
        assert_eq!(jane.extra, BTreeMap::from([("acme.com/scope".to_owned(), vec!["x".to_owned()])]));
        assert_eq!(unescape("a%2"), "a%2");
    }

    #[test]
    fn every_part_of_an_identity_needs_leave() {
        let boss = User { name: "boss".into(), ..User::default() };
        let become_ = |rules: &Rules, headers: &[(&str, &str)]| {
            let user = wanted(headers).unwrap().unwrap().grant(&boss, rules).map_err(|error| error.message);
            user.map(|user| (user.name, user.groups.join(" ")))
        };
        let users = allowing(json!([{"apiGroups": [""], "resources": ["users"], "verbs": ["impersonate"]}]));
        assert_eq!(
            become_(&users, &[("Impersonate-User", "jane")]),
            Ok(("jane".into(), "system:authenticated".into()))
        );
        assert_eq!(
            become_(&users, &[("Impersonate-User", "system:anonymous")]),
            Ok(("system:anonymous".into(), "system:unauthenticated".into()))
        );
        assert_eq!(
            become_(&users, &[("Impersonate-User", "jane"), ("Impersonate-Group", "system:masters")]),
            Err("groups \"system:masters\" is forbidden: User \"boss\" cannot impersonate resource \"groups\" in API \
                 group \"\" at the cluster scope"
                .into())
        );
        let all = allowing(json!([{"apiGroups": ["*"], "resources": ["*"], "verbs": ["impersonate"]}]));
        assert_eq!(
            become_(&all, &[("Impersonate-User", "system:serviceaccount:dev:robot")]),
            Ok((
                "system:serviceaccount:dev:robot".into(),
                "system:serviceaccounts system:serviceaccounts:dev system:authenticated".into()
            ))
        );
        assert_eq!(
            become_(&all, &[("Impersonate-User", "jane"), ("Impersonate-Group", "dev"), ("Impersonate-Extra-a", "1")]),
            Ok(("jane".into(), "dev system:authenticated".into()))
        );
    }
}
