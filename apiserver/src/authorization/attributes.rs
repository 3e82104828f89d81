//! What a request is, as far as authorization cares.

use std::borrow::Cow;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::StatusDetails;
use kubelab_api::{Error, Reason, selector::field::Selector};

use crate::corridor::{Request, User, Verb};

/// A request for a resource, or for a path that is none.
#[derive(Clone, Copy, Debug)]
pub struct Attributes<'a> {
    /// Who asks.
    pub user: &'a User,
    /// `get`, `list`, `impersonate`, `escalate`, …; for paths the method in lower case.
    pub verb: &'a str,
    /// The API group.
    pub group: &'a str,
    /// The resource's plural name; empty for a path.
    pub resource: &'a str,
    /// Which part; empty for the object.
    pub subresource: &'a str,
    /// Where; empty for cluster scope and for all namespaces.
    pub namespace: &'a str,
    /// Which one; empty for the collection.
    pub name: &'a str,
    /// The field selector of a list or a watch, as text.
    pub field_selector: &'a str,
    /// The path; empty for a resource.
    pub path: &'a str,
}

impl<'a> Attributes<'a> {
    /// A request for a resource.
    pub fn resource(user: &'a User, verb: &'a str, group: &'a str, resource: &'a str) -> Self {
        Self { user, verb, group, resource, subresource: "", namespace: "", name: "", field_selector: "", path: "" }
    }

    /// A request for a path that is no resource.
    pub fn path(user: &'a User, verb: &'a str, path: &'a str) -> Self {
        Self { path, ..Self::resource(user, verb, "", "") }
    }

    /// A request that a door made out. A list of one named object counts as being about that object.
    /// Source: `RequestInfoFactory.NewRequestInfo` in `k8s.io/apiserver/pkg/endpoints/request`.
    pub fn of(request: &'a Request) -> Self {
        let verb = request.verb;
        let many = matches!(verb, Verb::List | Verb::Watch | Verb::DeleteCollection);
        let field_selector = if many { request.options.list.field_selector.as_str() } else { "" };
        // A namespace counts as being within itself, so that its owner can be allowed to read it.
        let is_namespace = request.resource.plural == "namespaces" && request.resource.group.is_empty();
        Self {
            subresource: &request.subresource,
            namespace: if is_namespace { &request.name } else { &request.namespace },
            name: if request.name.is_empty() { named_by(field_selector) } else { &request.name },
            field_selector,
            ..Self::resource(&request.user, verb.name(), &request.resource.group, &request.resource.plural)
        }
    }

    /// It is for a resource, not for a path.
    pub fn is_resource(&self) -> bool {
        self.path.is_empty()
    }

    /// The value that the field selector asks of a field.
    pub fn selected(&self, field: &str) -> Option<String> {
        self.field_selector.parse::<Selector>().ok()?.exact(field).map(str::to_owned)
    }

    /// Who may not do what. Source: `forbiddenMessage` in `k8s.io/apiserver/pkg/endpoints/handlers/responsewriters`.
    fn refusal(&self) -> String {
        let (user, verb) = (&self.user.name, self.verb);
        if !self.is_resource() {
            return format!("User {user:?} cannot {verb} path {:?}", self.path);
        }
        let resource = self.full_resource();
        let group = self.group;
        let place = match self.namespace {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        format!("User {user:?} cannot {verb} resource {resource:?} in API group {group:?} {place}")
    }

    /// `pods/log`
    pub fn full_resource(&self) -> Cow<'a, str> {
        match self.subresource {
            "" => Cow::Borrowed(self.resource),
            subresource => Cow::Owned(format!("{}/{subresource}", self.resource)),
        }
    }

    /// 403. `reason` may say more.
    pub fn forbidden(&self, reason: &str) -> Error {
        let refusal = without_markup(self.refusal());
        let why = match reason {
            "" => refusal,
            reason => format!("{refusal}: {reason}"),
        };
        let group_resource = match self.group {
            "" => self.resource.to_owned(),
            group => format!("{}.{group}", self.resource),
        };
        let message = match (&*group_resource, self.name) {
            ("", _) => format!("forbidden: {why}"),
            (resource, "") => format!("{resource} is forbidden: {why}"),
            (resource, name) => format!("{resource} {name:?} is forbidden: {why}"),
        };
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let details = StatusDetails {
            group: given(self.group),
            kind: given(self.resource),
            name: given(self.name),
            ..Default::default()
        };
        Error { details: Some(Box::new(details)), ..Error::new(Reason::Forbidden, message) }
    }
}

/// What a client asked for must not look like HTML in the answer.
/// Source: `sanitizer` in `k8s.io/apiserver/pkg/endpoints/handlers/responsewriters/errors.go`.
fn without_markup(text: String) -> String {
    if !text.contains(['&', '<', '>']) {
        return text;
    }
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

/// The name in `metadata.name=web`, the form in which clients ask for one object.
pub(crate) fn named_by(field_selector: &str) -> &str {
    let terms = field_selector.split(',');
    let value = |term: &'_ str| -> Option<usize> { term.strip_prefix("metadata.name=").map(str::len) };
    for term in terms {
        if let Some(length) = value(term) {
            return &term[term.len() - length..];
        }
    }
    ""
}

#[cfg(test)]
mod tests {
    use super::*;

    fn jane() -> User {
        User { name: "jane".into(), ..User::default() }
    }

    #[test]
    fn refusals_read_as_upstreams() {
        let user = jane();
        let pods = Attributes::resource(&user, "list", "", "pods");
        for (attributes, message) in [
            (
                Attributes { namespace: "default", ..pods },
                "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \
                 \"default\"",
            ),
            (
                pods,
                "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" at the cluster scope",
            ),
            (
                Attributes { verb: "get", subresource: "log", name: "web", namespace: "default", ..pods },
                "pods \"web\" is forbidden: User \"jane\" cannot get resource \"pods/log\" in API group \"\" in the \
                 namespace \"default\"",
            ),
            (
                Attributes { group: "apps", resource: "deployments", ..pods },
                "deployments.apps is forbidden: User \"jane\" cannot list resource \"deployments\" in API group \
                 \"apps\" at the cluster scope",
            ),
            (Attributes::path(&user, "get", "/<b>"), "forbidden: User \"jane\" cannot get path \"/&lt;b&gt;\""),
            (Attributes::path(&user, "get", "/metrics"), "forbidden: User \"jane\" cannot get path \"/metrics\""),
        ] {
            let error = attributes.forbidden("");
            assert_eq!((error.code(), error.message.as_str()), (403, message));
        }
        assert!(pods.forbidden("rbac: why").message.ends_with("at the cluster scope: rbac: why"));
    }

    #[test]
    fn a_list_of_one_name_is_about_that_name() {
        for (selector, name) in [
            ("", ""),
            ("metadata.name=web", "web"),
            ("spec.nodeName=n,metadata.name=web", "web"),
            ("metadata.name!=web", ""),
            ("metadata.namespace=web", ""),
        ] {
            assert_eq!(named_by(selector), name, "{selector}");
        }
    }
}
