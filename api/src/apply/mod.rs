//! Server-side apply: who manages which fields of an object, and how an applied configuration becomes part of it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`element`], [`set`], [`fields_v1`] | a step of a path, a set of paths, and the set as JSON |
//! | [`typed`] | a value by its type: what is wrong with it, what of it can be owned |
//! | [`compare`] | what differs between two states of an object |
//! | [`merge`], [`remove`] | a configuration merged into an object; an object without some paths |
//! | [`manager`] | `metadata.managedFields` |
//! | [`updater`] | who manages what after a write |
//! | [`conflict`] | what two managers want differently |
//! | [`last_applied`] | the annotation that client-side apply left |
//!
//! ```text
//! update:  old, new ─► compare ─► others lose what changed, the writer gains it ─► managedFields
//! apply:   live, configuration ─► merge ─► remove what the manager gave up ─► compare ─► conflicts, or managedFields
//! ```
//!
//! Everything here is about objects as JSON, without their managedFields. Whoever adds a case to `cases/` adds a test.
//! Source: `k8s.io/apimachinery/pkg/util/managedfields` and `sigs.k8s.io/structured-merge-diff`.

pub mod compare;
pub mod conflict;
pub mod element;
pub mod fields_v1;
pub mod last_applied;
pub mod manager;
pub mod merge;
pub mod remove;
pub mod set;
pub mod typed;
pub mod updater;

use std::sync::LazyLock;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;

use crate::{Error, Reason};
pub use manager::{Identity, Manager, Operation};
pub use set::Set;
use updater::Failure;
pub use updater::{Ground, OneVersion, Versions};

/// Owns what was there before anybody applied to an object whose managers are unknown.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";
/// The manager that takes over from client-side apply.
const KUBECTL: &str = "kubectl";

/// What nobody owns. Source: `stripmeta.go`.
static STRIPPED: LazyLock<Set> = LazyLock::new(|| {
    Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
});

/// Who writes, through which part of the object, and when.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// The manager's name.
    pub name: &'a str,
    /// The part of the object; empty for the object.
    pub subresource: &'a str,
    /// The present time, in whole seconds.
    pub now: &'a Time,
}

/// The managers after a write that is no apply, from `old` (`None` for a creation) to `new`.
pub fn update(
    ground: Ground,
    writer: Writer,
    old: Option<&Value>,
    new: &Value,
    mut managers: Vec<Manager>,
) -> Result<Vec<Manager>, typed::Problems> {
    // An object whose managers are unknown stays so. Source: `skipnonapplied.go`.
    if managers.is_empty() && old.is_some() {
        return Ok(managers);
    }
    gain(ground, writer, old, new, &mut managers)?;
    Ok(managers)
}

fn gain(
    ground: Ground,
    writer: Writer,
    old: Option<&Value>,
    new: &Value,
    managers: &mut Vec<Manager>,
) -> Result<(), typed::Problems> {
    let fields = updater::update(ground, old, new, managers)?.difference(&STRIPPED);
    if !fields.is_empty() {
        let identity = updater::identity(ground, writer.name, Operation::Update, writer.subresource);
        let time = Some(writer.now.clone());
        match managers.iter_mut().find(|manager| manager.identity.is(&identity)) {
            Some(manager) => {
                manager.fields = manager.fields.union(&fields);
                manager.time = time;
            }
            None => managers.push(Manager { identity, time, fields }),
        }
    }
    manager::cap(managers);
    Ok(())
}

/// What an apply comes to.
#[derive(Debug)]
pub struct Applied {
    /// The object, without its managers.
    pub object: Value,
    /// Its managers.
    pub managers: Vec<Manager>,
}

/// Applies a configuration to the live object (`None` where there is none yet).
pub fn apply(
    ground: Ground,
    writer: Writer,
    live: Option<&Value>,
    config: &Value,
    mut managers: Vec<Manager>,
    force: bool,
) -> Result<Applied, Error> {
    typed::validate(config, ground.schema).map_err(|problems| {
        Error::new(Reason::Unknown, format!("failed to create typed patch object ({}): {problems}", subject(config)))
    })?;
    if let Some(live) = live.filter(|_| managers.is_empty()) {
        gain(ground, Writer { name: BEFORE_FIRST_APPLY, ..writer }, None, live, &mut managers).map_err(|problems| {
            Error::new(Reason::Unknown, format!("failed to create manager for existing fields: {problems}"))
        })?;
    }
    let mine = updater::identity(ground, writer.name, Operation::Apply, writer.subresource);
    // What to begin with again, where client-side apply made the conflicts.
    let before = if writer.name == KUBECTL { managers.clone() } else { Vec::new() };
    let outcome = match updater::apply(ground, live, config, &mut managers, &mine, force) {
        Err(Failure::Conflicts(conflicts)) if writer.name == KUBECTL => {
            match live.and_then(|live| last_applied::fields(ground, live)) {
                None => Err(Failure::Conflicts(conflicts)),
                Some(allowed) => {
                    let left: Vec<_> = conflicts.into_iter().filter(|conflict| !allowed.has(&conflict.path)).collect();
                    if left.is_empty() {
                        managers = before;
                        updater::apply(ground, live, config, &mut managers, &mine, true)
                    } else {
                        Err(Failure::Conflicts(left))
                    }
                }
            }
        }
        outcome => outcome,
    };
    let mut object = outcome.map_err(|failure| match failure {
        Failure::Conflicts(conflicts) => conflict::error(&conflicts),
        Failure::Merge(problems) => Error::new(Reason::Unknown, format!("failed to merge config: {problems}")),
    })?;
    let changes = live.is_none_or(|live| !element::equal(live, &object));
    for manager in managers.iter_mut().filter(|manager| manager.identity.is(&mine)) {
        manager.fields = manager.fields.difference(&STRIPPED);
        if changes {
            manager.time = Some(writer.now.clone());
        }
    }
    managers.retain(|manager| !manager.fields.is_empty());
    if writer.name == KUBECTL {
        last_applied::refresh(&mut object, config);
    }
    Ok(Applied { object, managers })
}

/// How messages name an applied configuration: `default/web; apps/v1, Kind=Deployment`.
fn subject(config: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (namespace, name) = (text(&config["metadata"]["namespace"]), text(&config["metadata"]["name"]));
    let api_version = text(&config["apiVersion"]);
    let group_version = if api_version.contains('/') { api_version } else { format!("/{api_version}") };
    format!("{namespace}/{name}; {group_version}, Kind={}", text(&config["kind"]))
}

#[cfg(test)]
mod tests;
