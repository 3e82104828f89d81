//! Strategic merge patch: objects merge, and so do the lists that the schema says have a key.
//!
//! | directive | meaning |
//! | --- | --- |
//! | `$patch: replace` | in an object: take it as it is; as an element: so with the list |
//! | `$patch: delete` | in an object: empty it; in an element with the merge key: remove that element |
//! | `$retainKeys: [a, b]` | remove the fields that are not named |
//! | `$deleteFromPrimitiveList/x: [1]` | remove values from the list of scalars `x` |
//! | `$setElementOrder/x: [..]` | bring the list `x` into this order |
//!
//! Source: `k8s.io/apimachinery/pkg/util/strategicpatch` and
//! <https://github.com/kubernetes/community/blob/master/contributors/devel/sig-api-machinery/strategic-merge-patch.md>.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use super::{
    order,
    schema::{Field, Schema, Strategy},
};
use crate::{Reason, go};

const PATCH: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList";
const SET_ORDER: &str = "$setElementOrder";

/// Why a patch does not apply, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The patch is not an object.
    #[error("invalid JSON document")]
    NotAnObject,
    /// A list holds lists.
    #[error("lists of lists are not supported")]
    ListOfLists,
    /// `$deleteFromPrimitiveList` without a field, or without a list.
    #[error("invalid patch format of primitive list")]
    PrimitiveList,
    /// `$retainKeys` is no list, or lacks a field that the patch sets.
    #[error("invalid patch format of retainKeys")]
    RetainKeys,
    /// `$setElementOrder` without a field, or without a list.
    #[error("invalid patch format of setElementOrder list")]
    SetElementOrder,
    /// The resource has no schema: a custom resource.
    #[error("strategic merge patch format is not supported")]
    Unsupported,
    /// An element lacks the key that elements are told apart by.
    #[error("map: {0} does not contain declared merge key: {1}")]
    NoMergeKey(String, &'static str),
    /// A directive that does not exist.
    #[error("unknown patch type: {0} in map: {1}")]
    Directive(String, String),
    /// `$patch: merge` in a list.
    #[error("merging lists cannot yet be specified in the patch")]
    MergeElement,
    /// A list holds elements of several types.
    #[error("list element types are not identical: {0}")]
    MixedList(String),
    /// A list of objects that merges has no key.
    #[error("cannot merge lists without merge key for {0}")]
    NoKeyDeclared(String),
    /// `$setElementOrder` contradicts the list that is patched.
    #[error("The order in patch list:\n{0}\n doesn't match $setElementOrder list:\n{1}\n")]
    Order(String, String),
}

impl From<Error> for crate::Error {
    /// Source: `interpretStrategicMergePatchError` in `k8s.io/apiserver/pkg/endpoints/handlers`.
    fn from(error: Error) -> Self {
        let reason = match error {
            Error::NotAnObject
            | Error::PrimitiveList
            | Error::RetainKeys
            | Error::SetElementOrder
            | Error::Unsupported => Reason::BadRequest,
            Error::ListOfLists => Reason::Invalid,
            _ => Reason::Unknown,
        };
        Self::new(reason, error.to_string())
    }
}

/// Applies a patch to an object of a kind.
pub fn apply(original: Value, patch: Value, schema: &Schema) -> Result<Value, Error> {
    match (original, patch) {
        (Value::Object(original), Value::Object(patch)) => {
            Ok(Value::Object(merge_object(original, patch, Some(schema))?))
        }
        _ => Err(Error::NotAnObject),
    }
}

type Object = Map<String, Value>;

fn merge_object(mut original: Object, mut patch: Object, schema: Option<&Schema>) -> Result<Object, Error> {
    if let Some(directive) = patch.remove(PATCH) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(Object::new()),
            _ => Err(Error::Directive(go::plain(&directive), go::plain(&Value::Object(patch)))),
        };
    }
    retain_keys(&mut original, &mut patch)?;
    set_element_orders(&mut original, &mut patch, schema)?;
    for (name, value) in patch {
        let (name, deleting) = match directive_field(&name, DELETE_FROM) {
            None => (name, false),
            Some(field) => (field.ok_or(Error::PrimitiveList)?, true),
        };
        if value.is_null() {
            original.remove(&name);
            continue;
        }
        let field = Merging::of(schema, &name);
        let merged = match (original.remove(&name), value) {
            (Some(Value::Object(old)), Value::Object(new)) if !deleting && field.strategy != Strategy::Replace => {
                Some(Value::Object(merge_object(old, new, field.schema)?))
            }
            (Some(Value::Array(old)), Value::Array(new)) if deleting || field.strategy == Strategy::Merge => {
                Some(Value::Array(merge_list(old, new, field, deleting)?))
            }
            (old, _) if deleting => old,
            (_, new) => without_directives(new),
        };
        original.extend(merged.map(|merged| (name, merged)));
    }
    Ok(original)
}

/// How what stands under a name merges.
#[derive(Clone, Copy)]
struct Merging<'a> {
    schema: Option<&'a Schema>,
    strategy: Strategy,
    merge_key: &'static str,
}

impl<'a> Merging<'a> {
    fn of(schema: Option<&'a Schema>, name: &str) -> Self {
        match schema.and_then(|schema| schema.field(name)) {
            Some(Field { schema, strategy, merge_key, .. }) => {
                Self { schema: Some(schema), strategy: *strategy, merge_key }
            }
            None => {
                let schema = schema.and_then(|schema| schema.child(name));
                Self { schema, strategy: Strategy::Default, merge_key: "" }
            }
        }
    }
}

/// The field behind `<directive>/`: `None` for other names, `Some(None)` for a directive without a field.
fn directive_field(name: &str, directive: &str) -> Option<Option<String>> {
    let rest = name.strip_prefix(directive)?;
    Some(rest.strip_prefix('/').map(str::to_owned))
}

fn retain_keys(original: &mut Object, patch: &mut Object) -> Result<(), Error> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let keys: HashSet<&str> = keys.as_array().ok_or(Error::RetainKeys)?.iter().filter_map(Value::as_str).collect();
    let retained = |name: &str| keys.contains(name);
    let unnamed = patch.iter().any(|(name, value)| {
        !value.is_null() && !name.starts_with(DELETE_FROM) && !name.starts_with(SET_ORDER) && !retained(name)
    });
    if unnamed {
        return Err(Error::RetainKeys);
    }
    original.retain(|name, _| retained(name));
    Ok(())
}

/// Merges the lists that come with an order, and takes them out of the patch.
fn set_element_orders(original: &mut Object, patch: &mut Object, schema: Option<&Schema>) -> Result<(), Error> {
    let directives: Vec<String> = patch.keys().filter(|name| name.starts_with(SET_ORDER)).cloned().collect();
    for directive in directives {
        let Some(Value::Array(order)) = patch.remove(&directive) else { return Err(Error::SetElementOrder) };
        let name = directive_field(&directive, SET_ORDER).flatten().ok_or(Error::SetElementOrder)?;
        let field = Merging::of(schema, &name);
        let list = |value: Option<Value>| match value {
            None => Ok(None),
            Some(Value::Array(list)) => Ok(Some(list)),
            Some(_) => Err(Error::SetElementOrder),
        };
        let (old, new) = (list(original.remove(&name))?, list(patch.remove(&name))?);
        let server = order::identities(old.as_deref().unwrap_or_default(), field.merge_key);
        follows_order(new.as_deref().unwrap_or_default(), &order, field.merge_key)?;
        let merged = match (old, new) {
            (None, None) => continue,
            (Some(old), None) => old,
            (None, Some(new)) => new.into_iter().filter_map(without_directives).collect(),
            (Some(old), Some(new)) if field.strategy == Strategy::Merge => merge_list(old, new, field, false)?,
            (Some(_), Some(new)) => new,
        };
        require_merge_key(&merged, field.merge_key)?;
        let order = order::identities(&order, field.merge_key);
        let arranged = order::arrange(merged, &order, &server, field.merge_key);
        original.insert(name, Value::Array(arranged));
    }
    Ok(())
}

/// The patched elements stand in the order that the directive asks for, and in its list.
fn follows_order(patch: &[Value], order: &[Value], merge_key: &'static str) -> Result<(), Error> {
    if patch.is_empty() || order.is_empty() {
        return Ok(());
    }
    require_merge_key(order, merge_key)?;
    let mut places = order.iter();
    for element in patch.iter().filter(|element| element.get(PATCH).is_none()) {
        require_merge_key(std::slice::from_ref(element), merge_key)?;
        let identity = order::identity(element, merge_key);
        if !places.any(|place| order::identity(place, merge_key) == identity) {
            return Err(Error::Order(go::plain_list(patch), go::plain_list(order)));
        }
    }
    Ok(())
}

fn require_merge_key(list: &[Value], merge_key: &'static str) -> Result<(), Error> {
    if merge_key.is_empty() {
        return Ok(());
    }
    match list.iter().find(|element| element.get(merge_key).is_none()) {
        Some(element) => Err(Error::NoMergeKey(go::plain(element), merge_key)),
        None => Ok(()),
    }
}

fn merge_list(original: Vec<Value>, patch: Vec<Value>, field: Merging, deleting: bool) -> Result<Vec<Value>, Error> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if elements_are_objects(&original, &patch)? {
        if field.merge_key.is_empty() {
            let name = field.schema.map(Schema::name).filter(|name| !name.is_empty()).unwrap_or("a list");
            return Err(Error::NoKeyDeclared(name.to_owned()));
        }
        return merge_elements(original, patch, field);
    }
    if deleting {
        let gone: HashSet<Value> = patch.into_iter().collect();
        return Ok(original.into_iter().filter(|element| !gone.contains(element)).collect());
    }
    let mut seen = HashSet::with_capacity(original.len() + patch.len());
    let merged = original.iter().chain(&patch).filter(|element| seen.insert(*element)).cloned().collect();
    Ok(order::arrange(merged, &patch, &original, ""))
}

fn elements_are_objects(original: &[Value], patch: &[Value]) -> Result<bool, Error> {
    let mut elements = original.iter().chain(patch);
    let first = elements.next().map(std::mem::discriminant);
    if original.iter().chain(patch).any(Value::is_array) {
        return Err(Error::ListOfLists);
    }
    if elements.any(|element| Some(std::mem::discriminant(element)) != first) {
        return Err(Error::MixedList(format!("[{} {}]", go::plain_list(original), go::plain_list(patch))));
    }
    Ok(original.iter().chain(patch).any(Value::is_object))
}

/// Merges lists of objects that a key tells apart.
fn merge_elements(mut original: Vec<Value>, patch: Vec<Value>, field: Merging) -> Result<Vec<Value>, Error> {
    let key = field.merge_key;
    let mut changes = Vec::with_capacity(patch.len());
    let mut gone = HashSet::new();
    let mut replace = false;
    for element in patch {
        match element.get(PATCH).map(|directive| directive.as_str().unwrap_or_default()) {
            None => changes.push(element),
            Some("delete") => {
                gone.insert(element.get(key).cloned().ok_or_else(|| Error::NoMergeKey(go::plain(&element), key))?);
            }
            Some("replace") => replace = true,
            Some("merge") => return Err(Error::MergeElement),
            Some(directive) => return Err(Error::Directive(directive.to_owned(), go::plain(&element))),
        }
    }
    if replace {
        require_merge_key(&changes, key)?;
        return Ok(changes);
    }
    original.retain(|old| old.get(key).is_none_or(|identity| !gone.contains(identity)));
    require_merge_key(&changes, key)?;
    require_merge_key(&original, key)?;
    let server = order::identities(&original, key);
    let wanted = order::identities(&changes, key);
    let mut merged = original;
    let mut places = HashMap::with_capacity(merged.len());
    for (at, identity) in server.iter().enumerate() {
        places.entry(identity).or_insert(at);
    }
    for (element, identity) in changes.into_iter().zip(&wanted) {
        match places.get(identity).and_then(|at| merged.get_mut(*at)) {
            Some(old) => {
                if let (Value::Object(before), Value::Object(change)) = (old.take(), element) {
                    *old = Value::Object(merge_object(before, change, field.schema.and_then(Schema::element))?);
                }
            }
            None => {
                places.insert(identity, merged.len());
                merged.push(element);
            }
        }
    }
    Ok(order::arrange(merged, &wanted, &server, key))
}

/// What is new is taken without `null`s and without directives; an object with a directive vanishes.
fn without_directives(value: Value) -> Option<Value> {
    match value {
        Value::Object(fields) if fields.contains_key(PATCH) => None,
        Value::Object(fields) => {
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Some(kept.filter_map(|(name, value)| Some((name, without_directives(value)?))).collect())
        }
        Value::Array(elements) => Some(elements.into_iter().filter_map(without_directives).collect()),
        scalar => Some(scalar),
    }
}
