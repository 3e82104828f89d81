//! Who manages what after a write. Source: `merge/update.go` of `sigs.k8s.io/structured-merge-diff`.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    compare::{Comparison, compare},
    conflict::Conflict,
    manager::{Identity, Manager, Operation},
    merge::merge,
    remove::remove,
    set::Set,
    typed::{Problems, field_set, with_named_fields},
};
use crate::patch::schema::Schema;

/// An object of which managers speak in several versions.
pub trait Versions {
    /// The object, which is in the version `from`, in the version `to`, and its type there; `None` if that is not served.
    fn convert(&self, object: &Value, from: &str, to: &str) -> Option<(Value, Schema)>;
}

/// There is one version only.
pub struct OneVersion;

impl Versions for OneVersion {
    fn convert(&self, _object: &Value, _from: &str, _to: &str) -> Option<(Value, Schema)> {
        None
    }
}

/// What managers manage: the version of the request, its types, and what none may own in it.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    /// The version of the request.
    pub api_version: &'a str,
    /// The type of the object in that version.
    pub schema: &'a Schema,
    /// What a write through this part of the object cannot change, so nobody comes to own it.
    /// Source: `GetResetFields` of the kinds' strategies.
    pub ignored: &'a Set,
    /// Other versions.
    pub versions: &'a dyn Versions,
}

/// Why an apply fails.
#[derive(Debug)]
pub enum Failure {
    /// Others manage fields that it wants to change.
    Conflicts(Vec<Conflict>),
    /// An object is not what its type says.
    Merge(Problems),
}

impl From<Problems> for Failure {
    fn from(problems: Problems) -> Self {
        Self::Merge(problems)
    }
}

/// Takes from all managers but `mine` what the change from `old` to `new` took away from them; what changed.
fn shift(
    ground: Ground,
    old: Option<&Value>,
    new: &Value,
    managers: &mut Vec<Manager>,
    mine: Option<&Identity>,
    force: bool,
) -> Result<Comparison, Failure> {
    let comparison = compare(old, new, ground.schema)?.without(ground.ignored);
    let changed = comparison.changed();
    let mut others: Vec<(String, Option<(Set, Set)>)> = Vec::new();
    let mut conflicts = Vec::new();
    let mut kept = Vec::with_capacity(managers.len());
    for mut manager in std::mem::take(managers) {
        let identity = &manager.identity;
        if mine.is_some_and(|mine| mine.is(identity)) {
            kept.push(manager);
            continue;
        }
        let (changed, removed) = if identity.api_version == ground.api_version {
            (&changed, &comparison.removed)
        } else {
            let at = match others.iter().position(|(version, _)| *version == identity.api_version) {
                Some(at) => at,
                None => {
                    let compared = compared_in(ground, old, new, &identity.api_version)?;
                    others.push((identity.api_version.clone(), compared));
                    others.len() - 1
                }
            };
            // Nobody can say what the fields of a version that is gone were.
            let Some((changed, removed)) = &others[at].1 else { continue };
            (changed, removed)
        };
        let taken = manager.fields.intersection(changed);
        if !force {
            let conflict = |path| Conflict { manager: identity.clone(), path };
            conflicts.extend(taken.paths().into_iter().map(conflict));
        }
        if !taken.is_empty() {
            manager.fields = manager.fields.difference(&taken);
        }
        if !removed.is_empty() {
            manager.fields = manager.fields.difference(removed);
        }
        if !manager.fields.is_empty() {
            kept.push(manager);
        }
    }
    if !conflicts.is_empty() {
        return Err(Failure::Conflicts(conflicts));
    }
    *managers = kept;
    Ok(comparison)
}

/// What changed and what was removed, in another version.
fn compared_in(
    ground: Ground,
    old: Option<&Value>,
    new: &Value,
    version: &str,
) -> Result<Option<(Set, Set)>, Problems> {
    let convert = |object: &Value| ground.versions.convert(object, ground.api_version, version);
    let Some((new, schema)) = convert(new) else { return Ok(None) };
    let old = match old {
        Some(old) => match convert(old) {
            Some((old, _)) => Some(old),
            None => return Ok(None),
        },
        None => None,
    };
    let comparison = compare(old.as_ref(), &new, &schema)?;
    Ok(Some((comparison.changed(), comparison.removed)))
}

/// After an update from `old` (`None` for a creation) to `new`: what the writer came to own by it.
pub(super) fn update(
    ground: Ground,
    old: Option<&Value>,
    new: &Value,
    managers: &mut Vec<Manager>,
) -> Result<Set, Problems> {
    match shift(ground, old, new, managers, None, true) {
        Ok(comparison) => Ok(comparison.changed()),
        Err(Failure::Merge(problems)) => Err(problems),
        Err(Failure::Conflicts(_)) => Ok(Set::default()),
    }
}

/// The live object with a configuration applied to it.
pub(super) fn apply(
    ground: Ground,
    live: Option<&Value>,
    config: &Value,
    managers: &mut Vec<Manager>,
    mine: &Identity,
    force: bool,
) -> Result<Value, Failure> {
    let empty = Value::Object(serde_json::Map::new());
    let merged = merge(live.unwrap_or(&empty), config, ground.schema)?;
    let fields = field_set(config, ground.schema).without_trees(ground.ignored);
    let last = match managers.iter().position(|manager| manager.identity.is(mine)) {
        Some(at) => {
            let manager = Manager { identity: mine.clone(), time: managers[at].time.clone(), fields };
            Some(std::mem::replace(&mut managers[at], manager))
        }
        None => {
            managers.push(Manager { identity: mine.clone(), time: None, fields });
            None
        }
    };
    let new = match last {
        Some(last) if !last.fields.is_empty() => prune(ground, &merged, managers, &last),
        _ => merged,
    };
    shift(ground, live, &new, managers, Some(mine), force)?;
    managers.retain(|manager| !manager.fields.is_empty());
    Ok(new)
}

/// Removes what the manager applied last time, does not apply now, and nobody else manages.
fn prune(ground: Ground, merged: &Value, managers: &[Manager], last: &Manager) -> Value {
    let version = last.identity.api_version.as_str();
    let Some((merged, schema)) = in_version(ground, merged, ground.api_version, version) else {
        return merged.clone();
    };
    let whole = |set: &Set| with_named_fields(set, Some(&schema));
    let pruned = remove(&merged, &whole(&last.fields), &schema);
    let pruned = add_back_owned(ground, &merged, pruned, version, managers);
    // What nobody applied before was not this manager's to remove.
    let (all, left) = (whole(&field_set(&merged, &schema)), whole(&field_set(&pruned, &schema)));
    let pruned = remove(&merged, &all.difference(&left).intersection(&whole(&last.fields)), &schema);
    let back = in_version(ground, &pruned, version, ground.api_version);
    back.map_or_else(|| pruned.clone(), |(pruned, _)| pruned.into_owned())
}

/// Puts back what any manager owns.
fn add_back_owned(ground: Ground, merged: &Value, pruned: Value, version: &str, managers: &[Manager]) -> Value {
    let mut versions: Vec<&str> = vec![version];
    versions.extend(managers.iter().map(|manager| manager.identity.api_version.as_str()));
    let mut done: Vec<&str> = Vec::new();
    let mut pruned = pruned;
    for other in versions {
        if done.contains(&other) {
            continue;
        }
        done.push(other);
        let theirs = managers.iter().filter(|manager| manager.identity.api_version == other);
        let managed = theirs.fold(Set::default(), |all, manager| all.union(&manager.fields));
        let (Some((merged, schema)), Some((left, _))) =
            (in_version(ground, merged, version, other), in_version(ground, &pruned, version, other))
        else {
            continue;
        };
        let whole = |set: &Set| with_named_fields(set, Some(&schema));
        let kept = whole(&field_set(&left, &schema)).union(&whole(&managed));
        let gone = whole(&field_set(&merged, &schema)).difference(&kept);
        let next = remove(&merged, &gone, &schema);
        if let Some((next, _)) = in_version(ground, &next, other, version) {
            pruned = next.into_owned();
        }
    }
    pruned
}

fn in_version<'v>(ground: Ground, object: &'v Value, from: &str, to: &str) -> Option<(Cow<'v, Value>, Schema)> {
    if from == to {
        let schema =
            if to == ground.api_version { ground.schema.clone() } else { ground.versions.convert(object, from, to)?.1 };
        return Some((Cow::Borrowed(object), schema));
    }
    let (object, schema) = ground.versions.convert(object, from, to)?;
    Some((Cow::Owned(object), schema))
}

/// The fields of a configuration that the live object has as they are there. Source: `lastappliedmanager.go`.
pub(super) fn unchanged_fields(schema: &Schema, config: &Value, live: &Value) -> Option<Set> {
    let comparison = compare(Some(config), live, schema).ok()?;
    let fields = field_set(config, schema);
    Some(fields.difference(&comparison.modified).difference(&comparison.added).difference(&comparison.removed))
}

/// Whoever applies is told apart from whoever updates.
pub(super) fn identity(ground: Ground, name: &str, operation: Operation, subresource: &str) -> Identity {
    Identity {
        name: if name.is_empty() { "unknown" } else { name }.to_owned(),
        operation,
        api_version: ground.api_version.to_owned(),
        subresource: subresource.to_owned(),
    }
}
