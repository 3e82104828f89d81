//! `metadata.managedFields`, read and written. Source: `util/managedfields/internal/managedfields.go` of
//! `k8s.io/apimachinery`.

use std::collections::{HashMap, HashSet, hash_map::Entry};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{FieldsV1, ManagedFieldsEntry, Time};

use super::{fields_v1, set::Set};

/// More managers than this that update are not told apart. Source: `DefaultMaxUpdateManagers`.
const MAX_UPDATERS: usize = 10;
/// The name under which the oldest of them go on.
const ANCIENT: &str = "ancient-changes";

/// How a manager came to its fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Operation {
    Apply,
    Update,
}

impl Operation {
    /// As `operation` says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Apply => "Apply",
            Self::Update => "Update",
        }
    }
}

/// Who manages fields, by which operation, in which version and through which part of the object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The manager's name.
    pub name: String,
    /// How it came to its fields.
    pub operation: Operation,
    /// The version in which its fields are named: `apps/v1`.
    pub api_version: String,
    /// The part of the object; empty for the object.
    pub subresource: String,
}

impl Identity {
    /// The same manager: one that applies stays the same in all versions.
    pub fn is(&self, other: &Self) -> bool {
        self.name == other.name
            && self.operation == other.operation
            && self.subresource == other.subresource
            && (self.operation == Operation::Apply || self.api_version == other.api_version)
    }

    /// What [`Identity::is`] compares.
    fn distinct(&self) -> (String, Operation, String, String) {
        let version = if self.operation == Operation::Apply { String::new() } else { self.api_version.clone() };
        (self.name.clone(), self.operation, self.subresource.clone(), version)
    }
}

/// A manager and its fields.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manager {
    /// Who it is.
    pub identity: Identity,
    /// When it last changed any.
    pub time: Option<Time>,
    /// What it manages.
    pub fields: Set,
}

/// An entry of managedFields makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum Undecodable {
    #[error("operation must be `Apply` or `Update`")]
    Operation,
    #[error("apiVersion must not be empty")]
    NoVersion,
    #[error("missing fieldsType in managed fields entry {0}")]
    NoType(usize),
    #[error("invalid fieldsType {0:?} in managed fields entry {1}")]
    Type(String, usize),
    #[error("error decoding set: {0}")]
    Fields(#[from] fields_v1::NoFields),
}

/// The managers of an object. Source: `DecodeManagedFields`.
pub fn decode(entries: &[ManagedFieldsEntry]) -> Result<Vec<Manager>, Undecodable> {
    let mut managers: Vec<Manager> = Vec::with_capacity(entries.len());
    let mut places = HashMap::with_capacity(entries.len());
    for (place, entry) in entries.iter().enumerate() {
        let operation = match entry.operation.as_deref() {
            Some("Apply") => Operation::Apply,
            Some("Update") => Operation::Update,
            _ => return Err(Undecodable::Operation),
        };
        let api_version =
            entry.api_version.clone().filter(|version| !version.is_empty()).ok_or(Undecodable::NoVersion)?;
        match entry.fields_type.as_deref().unwrap_or_default() {
            "FieldsV1" => {}
            "" => return Err(Undecodable::NoType(place)),
            other => return Err(Undecodable::Type(other.to_owned(), place)),
        }
        let identity = Identity {
            name: entry.manager.clone().unwrap_or_default(),
            operation,
            api_version,
            subresource: entry.subresource.clone().unwrap_or_default(),
        };
        let fields = match &entry.fields_v1 {
            Some(FieldsV1(fields)) if !fields.is_null() => fields_v1::decode(fields)?,
            _ => Set::default(),
        };
        let manager = Manager { identity, time: entry.time.clone(), fields };
        match places.entry(manager.identity.distinct()) {
            Entry::Occupied(place) => managers[*place.get()] = manager,
            Entry::Vacant(place) => {
                place.insert(managers.len());
                managers.push(manager);
            }
        }
    }
    Ok(managers)
}

/// Writes the managers of an object, in upstream's order; `None` for none.
pub fn encode(mut managers: Vec<Manager>) -> Option<Vec<ManagedFieldsEntry>> {
    managers.sort_by(|a, b| {
        let (x, y) = (&a.identity, &b.identity);
        let rest = |identity: &Identity| (identity.name.clone(), identity.api_version.clone());
        x.operation
            .cmp(&y.operation)
            .then_with(|| seconds(a).cmp(&seconds(b)))
            .then_with(|| rest(x).cmp(&rest(y)))
            .then_with(|| x.subresource.cmp(&y.subresource))
    });
    let entry = |manager: Manager| {
        let Identity { name, operation, api_version, subresource } = manager.identity;
        ManagedFieldsEntry {
            api_version: Some(api_version),
            fields_type: Some("FieldsV1".to_owned()),
            fields_v1: Some(FieldsV1(fields_v1::encode(&manager.fields))),
            manager: Some(name).filter(|name| !name.is_empty()),
            operation: Some(operation.name().to_owned()),
            subresource: Some(subresource).filter(|part| !part.is_empty()),
            time: manager.time,
        }
    };
    (!managers.is_empty()).then(|| managers.into_iter().map(entry).collect())
}

fn seconds(manager: &Manager) -> i64 {
    manager.time.as_ref().map_or(0, |time| time.0.as_second())
}

/// Joins the managers that updated longest ago. Source: `capmanagers.go`.
pub(super) fn cap(managers: &mut Vec<Manager>) {
    let mut updaters: Vec<usize> =
        (0..managers.len()).filter(|at| managers[*at].identity.operation == Operation::Update).collect();
    let Some(mut excess) = updaters.len().checked_sub(MAX_UPDATERS).filter(|excess| *excess > 0) else { return };
    updaters.sort_by(|a, b| {
        let name = |at: usize| &managers[at].identity.name;
        seconds(&managers[*a]).cmp(&seconds(&managers[*b])).then_with(|| name(*a).cmp(name(*b)))
    });
    // The first of each version makes no room: it only becomes the one that the others join.
    let mut joined: Vec<(Manager, Vec<usize>)> = Vec::new();
    for at in updaters {
        if excess == 0 {
            break;
        }
        let manager = &managers[at];
        match joined.iter_mut().find(|(other, _)| other.identity.api_version == manager.identity.api_version) {
            Some((ancient, members)) => {
                ancient.fields = ancient.fields.union(&manager.fields);
                ancient.time.clone_from(&manager.time);
                members.push(at);
                excess -= 1;
            }
            None => {
                let identity =
                    Identity { name: ANCIENT.to_owned(), subresource: String::new(), ..manager.identity.clone() };
                joined.push((Manager { identity, ..manager.clone() }, vec![at]));
            }
        }
    }
    joined.retain(|(_, members)| members.len() > 1);
    let gone: HashSet<usize> = joined.iter().flat_map(|(_, members)| members.iter().copied()).collect();
    let mut place = 0;
    managers.retain(|_| {
        place += 1;
        !gone.contains(&(place - 1))
    });
    for (ancient, _) in joined {
        match managers.iter_mut().find(|other| other.identity.is(&ancient.identity)) {
            Some(other) => {
                other.fields = other.fields.union(&ancient.fields);
                other.time = ancient.time;
            }
            None => managers.push(ancient),
        }
    }
}
