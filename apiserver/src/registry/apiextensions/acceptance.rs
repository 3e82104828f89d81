//! Whether a definition's names are its own, and what its conditions say. Upstream has a controller for each; here it is
//! settled in the write itself, so that a definition is served from the moment it is there.
//! Source: `pkg/controller/{status,establish,apiapproval}` of apiextensions-apiserver.

use std::collections::BTreeSet;

use jiff::Timestamp;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, CustomResourceDefinitionCondition as Condition, CustomResourceDefinitionNames as Names,
};

use super::validation::{Approval, approval};
use crate::registry::{
    cells::{list, text},
    claims::Claims,
    metadata::seconds,
};

/// Names of resources, and of kinds, are told apart within a group.
const RESOURCES: &str = "custom-resource-names";
const KINDS: &str = "custom-resource-kinds";

/// Claims the names that are free, and says in the conditions what came of it.
pub fn accept(new: &mut CustomResourceDefinition, old: Option<&CustomResourceDefinition>, claims: &mut Claims) {
    let group = new.spec.group.clone();
    let now = claims.now();
    let before = old.and_then(|old| old.status.as_ref()).and_then(|status| status.accepted_names.clone());
    let (accepted, conflict) = agree(&new.spec.names, &before.clone().unwrap_or_default(), &group, claims);
    let (was, is) = (before.as_ref().map(claimed).unwrap_or_default(), claimed(&accepted));
    for (pool, name) in was.difference(&is) {
        claims.release(pool, &item(&group, name));
    }
    for (pool, name) in is.difference(&was) {
        claims.take(pool, &item(&group, name));
    }
    let status = new.status.get_or_insert_default();
    status.accepted_names = Some(accepted);
    let conditions = status.conditions.get_or_insert_default();
    let free = conflict.is_none();
    let (reason, message) = conflict.unwrap_or_else(|| ("NoConflicts", "no conflicts found".to_owned()));
    set(conditions, "NamesAccepted", free, reason, &message, now);
    let established = conditions.iter().any(|known| known.type_ == "Established" && known.status == "True");
    if !established {
        if free {
            let message = "the initial names have been accepted";
            set(conditions, "Established", true, "InitialNamesAccepted", message, now);
        } else {
            set(conditions, "Established", false, "NotAccepted", "not all names are accepted", now);
        }
    }
    if let Some((state, message)) = approval(new) {
        let reason = match state {
            Approval::Approved => "ApprovedAnnotation",
            Approval::Bypassed => "UnapprovedAnnotation",
            Approval::Missing => "MissingAnnotation",
            Approval::Invalid => "InvalidAnnotation",
        };
        let conditions = new.status.get_or_insert_default().conditions.get_or_insert_default();
        let is_approved = state == Approval::Approved;
        set(conditions, "KubernetesAPIApprovalPolicyConformant", is_approved, reason, &message, now);
    }
}

/// Gives all names back.
pub fn release(old: &CustomResourceDefinition, claims: &mut Claims) {
    let names = old.status.as_ref().and_then(|status| status.accepted_names.as_ref());
    for (pool, name) in names.map(claimed).unwrap_or_default() {
        claims.release(pool, &item(&old.spec.group, &name));
    }
}

/// It is being deleted.
pub fn terminate(definition: &mut CustomResourceDefinition) {
    let now = definition.metadata.deletion_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    let conditions = definition.status.get_or_insert_default().conditions.get_or_insert_default();
    let message = "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon";
    set(conditions, "Terminating", true, "InstanceDeletionPending", message, now);
}

fn item(group: &str, name: &str) -> String {
    format!("{group}/{name}")
}

/// What names claim.
fn claimed(names: &Names) -> BTreeSet<(&'static str, String)> {
    let resources = [names.plural.as_str(), text(&names.singular)].into_iter();
    let resources = resources.chain(list(&names.short_names).iter().map(String::as_str));
    let kinds = [names.kind.as_str(), text(&names.list_kind)];
    let of = |pool: &'static str| move |name: &str| (pool, name.to_owned());
    resources
        .filter(|name| !name.is_empty())
        .map(of(RESOURCES))
        .chain(kinds.into_iter().filter(|name| !name.is_empty()).map(of(KINDS)))
        .collect()
}

/// The names that a definition gets of those that it wants, and the last conflict.
fn agree(wanted: &Names, before: &Names, group: &str, claims: &Claims) -> (Names, Option<(&'static str, String)>) {
    let mut accepted = before.clone();
    let mut conflict = None;
    let check = |pool: &str, name: &str, before: &str| -> Option<String> {
        let item = item(group, name);
        let ours = name == before || claims.is_free(pool, &item) || claims.is_own(pool, &item);
        (!ours).then(|| format!("{name:?} is already in use"))
    };
    match check(RESOURCES, &wanted.plural, &before.plural) {
        Some(why) => conflict = Some(("PluralConflict", why)),
        None => accepted.plural.clone_from(&wanted.plural),
    }
    match check(RESOURCES, text(&wanted.singular), text(&before.singular)) {
        Some(why) => conflict = Some(("SingularConflict", why)),
        None => accepted.singular.clone_from(&wanted.singular),
    }
    let taken: Vec<String> = list(&wanted.short_names)
        .iter()
        .filter(|name| !list(&before.short_names).contains(name))
        .filter_map(|name| check(RESOURCES, name, ""))
        .collect();
    match taken.as_slice() {
        [] => accepted.short_names.clone_from(&wanted.short_names),
        [one] => conflict = Some(("ShortNamesConflict", one.clone())),
        many => conflict = Some(("ShortNamesConflict", format!("[{}]", many.join(", ")))),
    }
    match check(KINDS, &wanted.kind, &before.kind) {
        Some(why) => conflict = Some(("KindConflict", why)),
        None => accepted.kind.clone_from(&wanted.kind),
    }
    match check(KINDS, text(&wanted.list_kind), text(&before.list_kind)) {
        Some(why) => conflict = Some(("ListKindConflict", why)),
        None => accepted.list_kind.clone_from(&wanted.list_kind),
    }
    accepted.categories.clone_from(&wanted.categories);
    (accepted, conflict)
}

/// Sets a condition. Its time is that of its last change. Source: `SetCRDCondition`.
fn set(conditions: &mut Vec<Condition>, name: &str, holds: bool, reason: &str, message: &str, now: Timestamp) {
    let status = if holds { "True" } else { "False" };
    let index = conditions.iter().position(|known| known.type_ == name).unwrap_or_else(|| {
        conditions.push(Condition { type_: name.to_owned(), ..Condition::default() });
        conditions.len() - 1
    });
    let condition = &mut conditions[index];
    if condition.status != status || condition.last_transition_time.is_none() {
        condition.last_transition_time = Some(seconds(now));
    }
    condition.status = status.to_owned();
    condition.reason = Some(reason.to_owned());
    condition.message = Some(message.to_owned());
}
