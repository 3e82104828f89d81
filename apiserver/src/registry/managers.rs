//! Who manages which fields: `metadata.managedFields` after every write that is no apply.
//! Source: `k8s.io/apimachinery/pkg/util/managedfields` and `managerOrUserAgent` in
//! `k8s.io/apiserver/pkg/endpoints/handlers/create.go`.

use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kubelab_api::{
    Error,
    apply::{self, Ground, Manager, Set, Versions, Writer, manager},
    field::{Errors, Path},
    patch::Schema,
};
use kubelab_store::Door;
use serde_json::Value;

use super::{custom::conversion, handler::Handler, metadata, object::AnyObject, plan::Context, table::Table};
use crate::corridor::Request;

/// Names are not longer. Source: `FieldManagerMaxLength`.
const NAME_LIMIT: usize = 128;

static STATUS: LazyLock<Set> = LazyLock::new(|| Set::of_fields(&[&["status"]]));
static SPEC: LazyLock<Set> = LazyLock::new(|| Set::of_fields(&[&["spec"]]));
static NOTHING: LazyLock<Set> = LazyLock::new(Set::default);

/// What a write through a part of an object cannot change, so that nobody comes to own it.
/// Source: `GetResetFields` of the kinds' strategies.
fn ignored(handler: &Handler, part: &str) -> &'static Set {
    match part {
        "" if handler.resource.has("status") => &STATUS,
        "status" | "approval" => &SPEC,
        _ => &NOTHING,
    }
}

/// What a manager manages here.
pub fn ground<'a>(context: &'a Context, api_version: &'a str, versions: &'a dyn Versions) -> Ground<'a> {
    let ignored = ignored(context.handler, &context.request.subresource);
    Ground { api_version, schema: &context.handler.types, ignored, versions }
}

/// The other versions in which a kind is served.
pub struct Served<'a> {
    /// The kinds.
    pub table: &'a Table,
    /// The one that is asked for.
    pub handler: &'a Handler,
}

impl Served<'_> {
    fn handler(&self, api_version: &str) -> Option<&Handler> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        let handler = self.table.find(group, version, &self.handler.resource.plural)?;
        (handler.topic == self.handler.topic).then_some(handler)
    }
}

impl Versions for Served<'_> {
    fn convert(&self, object: &Value, from: &str, to: &str) -> Option<(Value, Schema)> {
        let (from, to) = (self.handler(from)?, self.handler(to)?);
        let object = from.read(&serde_json::to_vec(object).ok()?).ok()?;
        Some((to.value(&*object).ok()?, to.types.clone()))
    }
}

/// Notes who manages what in the object that is to take the place of `old`, or to be created.
pub fn update(context: &Context, new: &mut dyn AnyObject, old: Option<&dyn AnyObject>) {
    let given = new.metadata_mut().managed_fields.take();
    let live = old.and_then(|old| old.metadata().managed_fields.as_deref()).unwrap_or_default();
    let managers = starting_from(given.as_deref(), live, !context.request.subresource.is_empty());
    let managers = managers.and_then(|managers| conversion::part(|| updated(context, &*new, old, managers)));
    new.metadata_mut().managed_fields = match managers {
        Ok(managers) => manager::encode(managers),
        Err(why) => {
            tracing::warn!(name = new.name(), %why, "who manages which fields is left as it was");
            Some(live.to_vec()).filter(|entries| !entries.is_empty())
        }
    };
}

/// Clients may write managedFields too: as a whole, or to make the server forget them. What makes no sense is ignored, and
/// what is missing is taken from the live object, for clients that do not know of them. Source: `decodeLiveOrNew`.
fn starting_from(
    given: Option<&[ManagedFieldsEntry]>,
    live: &[ManagedFieldsEntry],
    is_part: bool,
) -> Result<Vec<Manager>, Error> {
    if let Some(given) = given.filter(|given| !is_part && *given != live) {
        if given.is_empty() || (given.len() == 1 && given[0] == ManagedFieldsEntry::default()) {
            return Ok(Vec::new());
        }
        if let Ok(managers) = manager::decode(given) {
            return Ok(managers);
        }
    }
    Ok(manager::decode(live).unwrap_or_default())
}

fn updated(
    context: &Context,
    new: &dyn AnyObject,
    old: Option<&dyn AnyObject>,
    managers: Vec<Manager>,
) -> Result<Vec<Manager>, Error> {
    if managers.is_empty() && old.is_some() {
        return Ok(managers);
    }
    let handler = context.handler;
    let versions = Served { table: context.table, handler };
    let api_version = handler.resource.api_version();
    // What nobody can change here need not be compared.
    let leaves_spec = std::ptr::eq(ignored(handler, &context.request.subresource), &*SPEC)
        && handler.is_stored_version()
        && managers.iter().all(|manager| manager.identity.api_version == api_version);
    let value = |object: &dyn AnyObject| {
        if leaves_spec { handler.value_without(object, "spec") } else { handler.value(object) }
    };
    let new = value(new)?;
    let old = old.map(value).transpose()?;
    let ground = ground(context, &api_version, &versions);
    let (name, now) = (name(context.request), metadata::seconds(context.now));
    let writer = Writer { name: &name, subresource: &context.request.subresource, now: &now };
    apply::update(ground, writer, old.as_ref(), &new, managers).map_err(Error::internal)
}

/// An object that differs from the old one in nothing but the times of its managers is the old one.
/// Source: `IgnoreManagedFieldsTimestampsTransformer`.
pub fn keep_times(new: &mut dyn AnyObject, old: &dyn AnyObject) {
    let same = |a: &ManagedFieldsEntry, b: &ManagedFieldsEntry| {
        a.manager == b.manager
            && a.operation == b.operation
            && a.api_version == b.api_version
            && a.subresource == b.subresource
            && a.fields_v1 == b.fields_v1
    };
    let (is, was) = (&new.metadata().managed_fields, &old.metadata().managed_fields);
    let (Some(is), Some(was)) = (is, was) else { return };
    if is == was || is.len() != was.len() || !is.iter().zip(was).all(|(a, b)| same(a, b)) {
        return;
    }
    let was = Some(was.clone());
    let is = std::mem::replace(&mut new.metadata_mut().managed_fields, was);
    if !new.equals(old) {
        new.metadata_mut().managed_fields = is;
    }
}

/// The name under which a request manages fields: the one that it gives, or its program's.
pub fn name(request: &Request) -> String {
    if !request.options.field_manager.is_empty() {
        return request.options.field_manager.clone();
    }
    // Components are told apart by their certificates, since each of them writes under several names.
    match request.user.name.strip_prefix("system:").filter(|_| request.door == Door::Grpc) {
        Some(node) if node.starts_with("node:") => "kubelet".to_owned(),
        Some(component) => component.to_owned(),
        None => program(&request.agent),
    }
}

/// The first part of a User-Agent. Source: `prefixFromUserAgent`.
fn program(agent: &str) -> String {
    let mut name = String::new();
    for letter in agent.split('/').next().unwrap_or_default().chars().filter(|letter| !letter.is_control()) {
        if name.len() + letter.len_utf8() > NAME_LIMIT {
            break;
        }
        name.push(letter);
    }
    name
}

/// What is wrong with a manager's name. Source: `ValidateFieldManager`.
pub fn check_name(name: &str, errors: &mut Errors) {
    let path = Path::new("fieldManager");
    if name.len() > NAME_LIMIT {
        errors.too_long(&path, NAME_LIMIT);
    }
    for (position, letter) in name.char_indices() {
        if letter.is_control() {
            let code = u32::from(letter);
            errors.invalid(&path, name, &format!("invalid character U+{code:04X} (at position {position})"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_give_managers_their_names() {
        for (agent, name) in [
            ("kubectl/v1.33.1", "kubectl"),
            ("python-requests/2.31", "python-requests"),
            ("OpenAPI-Generator/31.0.0/python", "OpenAPI-Generator"),
            ("", ""),
            ("a\u{7}b/1", "ab"),
        ] {
            assert_eq!(program(agent), name, "{agent}");
        }
        assert_eq!(program(&"é".repeat(100)).len(), 128);
    }

    #[test]
    fn names_of_managers_are_checked() {
        let check = |name: &str| {
            let mut errors = Errors::default();
            check_name(name, &mut errors);
            errors.to_string()
        };
        assert_eq!(check("kubectl"), "[]");
        assert_eq!(check(&"x".repeat(129)), "fieldManager: Too long: may not be more than 128 bytes");
        assert_eq!(
            check("a\u{7}"),
            "fieldManager: Invalid value: \"a\\u0007\": invalid character U+0007 (at position 1)"
        );
    }
}
