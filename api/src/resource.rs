//! Resources, and the table of those that are built in. Custom resources take the same shape, so nothing else needs to tell
//! them apart.

mod built_in;

use std::borrow::Cow;

pub use built_in::BUILT_IN;

/// Text that is static for a built-in resource and owned for a custom one.
pub type Text = Cow<'static, str>;

/// What can be asked of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verbs {
    /// Everything: create, delete, deletecollection, get, list, patch, update, watch.
    All,
    /// Only create: reviews and bindings, which are answered and never stored.
    Create,
    /// Only get and list: what is made up for each reader.
    Read,
}

impl Verbs {
    /// The verbs in discovery's order.
    pub fn names(self) -> &'static [&'static str] {
        match self {
            Verbs::All => &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
            Verbs::Create => &["create"],
            Verbs::Read => &["get", "list"],
        }
    }
}

/// One resource in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resource {
    /// The API group; empty for the core group.
    pub group: Text,
    /// The version: `v1`.
    pub version: Text,
    /// The kind of its objects: `Deployment`.
    pub kind: Text,
    /// The plural, lower-case name in URLs: `deployments`.
    pub plural: Text,
    /// The singular, lower-case name: `deployment`.
    pub singular: Text,
    /// The kind of its lists; empty for the kind with `List` appended, as it is nearly always.
    pub list_kind: Text,
    /// Names for impatient people: `deploy`.
    pub short_names: Vec<Text>,
    /// Groups of resources it belongs to: `all`.
    pub categories: Vec<Text>,
    /// Its objects live in a namespace.
    pub namespaced: bool,
    /// What can be asked of it.
    pub verbs: Verbs,
    /// `status`, `scale`, ….
    pub subresources: Vec<Text>,
}

impl Resource {
    /// `apps/v1`, or `v1` for the core group.
    pub fn api_version(&self) -> String {
        match &*self.group {
            "" => self.version.to_string(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// `deployments.apps`, or `pods` for the core group: how messages name a resource.
    pub fn group_resource(&self) -> String {
        match &*self.group {
            "" => self.plural.to_string(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// The store's topic of this resource: the same for all its versions.
    pub fn topic(&self) -> String {
        format!("{}/{}", if self.group.is_empty() { "core" } else { &self.group }, self.plural)
    }

    /// It is served with this subresource.
    pub fn has(&self, subresource: &str) -> bool {
        self.subresources.iter().any(|known| known == subresource)
    }

    /// `DeploymentList`.
    pub fn list_kind(&self) -> String {
        match &*self.list_kind {
            "" => format!("{}List", self.kind),
            own => own.to_owned(),
        }
    }
}

/// The built-in resource with this group, version and plural name.
pub fn find(group: &str, version: &str, plural: &str) -> Option<&'static Resource> {
    BUILT_IN.iter().find(|r| r.group == group && r.version == version && r.plural == plural)
}

/// The resource that a person means by `name`: plural, singular, short name or kind, with or without `.group`.
pub fn named(name: &str) -> Option<&'static Resource> {
    let (name, group) = name.split_once('.').map_or((name, None), |(name, group)| (name, Some(group)));
    let name = name.to_lowercase();
    BUILT_IN.iter().find(|r| {
        group.is_none_or(|group| r.group == group)
            && (r.plural == name
                || r.singular == name
                || r.short_names.iter().any(|short| *short == name)
                || r.kind.to_lowercase() == name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_name_resources_in_many_ways() {
        for (name, plural) in
            [("po", "pods"), ("Pod", "pods"), ("deploy", "deployments"), ("ingresses.networking.k8s.io", "ingresses")]
        {
            assert_eq!(named(name).map(|r| &*r.plural), Some(plural), "{name}");
        }
        assert_eq!(named("nothing"), None);
    }

    #[test]
    fn no_row_stands_twice() {
        for (i, a) in BUILT_IN.iter().enumerate() {
            assert!(
                !BUILT_IN[..i].iter().any(|b| (&a.group, &a.version, &a.plural) == (&b.group, &b.version, &b.plural)),
                "{}",
                a.group_resource()
            );
        }
    }
}
