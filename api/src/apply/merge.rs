//! An applied configuration merged into the live object. Source: `typed/merge.go` of
//! `sigs.k8s.io/structured-merge-diff`.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use super::{
    element::Element,
    typed::{Fields, Kind, Problems, elements},
};
use crate::patch::schema::{List, Owned, Schema};

/// The live object with what the configuration says. Lists keep the order of the live object, and take the
/// configuration's where that changes them. Nothing is removed.
pub fn merge(live: &Value, config: &Value, schema: &Schema) -> Result<Value, Problems> {
    Ok(both(Some(live), Some(config), schema)?.unwrap_or_else(|| Value::Object(Map::new())))
}

/// `None` where nothing is left to say.
fn both(live: Option<&Value>, config: Option<&Value>, schema: &Schema) -> Result<Option<Value>, Problems> {
    let (was, is) = (Kind::of(schema, live), Kind::of(schema, config));
    match (live, config) {
        (_, None) => of_kind(was, live, config),
        _ => of_kind(is, live, config),
    }
}

fn of_kind(kind: Kind, live: Option<&Value>, config: Option<&Value>) -> Result<Option<Value>, Problems> {
    let fields = |value: Option<&Value>| value.and_then(Value::as_object).filter(|fields| !fields.is_empty()).cloned();
    match kind {
        Kind::Object(of) if !of.is_atomic() => match (fields(live), fields(config)) {
            (None, None) => {}
            (live, config) => return merge_fields(of, live.unwrap_or_default(), config.unwrap_or_default()),
        },
        Kind::List(Some(list)) if !matches!(list.owned, Owned::Whole) => match (list_of(live), list_of(config)) {
            ([], []) => {}
            (live, config) => return merge_elements(list, live, config),
        },
        _ => {}
    }
    Ok(config.or(live).cloned())
}

fn list_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn merge_fields(
    of: Fields,
    mut live: Map<String, Value>,
    config: Map<String, Value>,
) -> Result<Option<Value>, Problems> {
    for (name, config) in config {
        let element = || Element::field(&name);
        let Some((schema, _)) = of.child(&name) else {
            return Err(Problems::one("field not declared in schema").under(&element()));
        };
        match both(live.get(&name), Some(&config), schema).map_err(|problems| problems.under(&element()))? {
            Some(merged) => drop(live.insert(name, merged)),
            None => drop(live.remove(&name)),
        }
    }
    Ok((!live.is_empty()).then_some(Value::Object(live)))
}

fn merge_elements(list: &List, live: &[Value], config: &[Value]) -> Result<Option<Value>, Problems> {
    let (left, right) = (elements(list, live)?, elements(list, config)?);
    let mut wanted: BTreeMap<&Element, &Value> = BTreeMap::new();
    for (element, value) in &right {
        if wanted.insert(element, value).is_some() {
            return Err(Problems::one(format!("duplicate entries for key {element}")));
        }
    }
    // Elements that stand twice in the live object merge with nothing.
    let mut present: BTreeMap<&Element, Option<&Value>> = BTreeMap::new();
    for (element, value) in &left {
        present.entry(element).and_modify(|value| *value = None).or_insert(Some(value));
    }
    let one = |element: &Element| {
        let (live, config) = (present.get(element).copied().flatten(), wanted.get(element).copied());
        both(live, config, &list.element).map_err(|problems| problems.under(element))
    };
    let mut shared =
        right.iter().map(|(element, _)| element).filter(|element| present.contains_key(element)).peekable();
    let mut merged: BTreeSet<&Element> = BTreeSet::new();
    let mut out = Vec::with_capacity(left.len().max(right.len()));
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if let Some((element, value)) = left.get(l) {
            if let Some((other, _)) = right.get(r) {
                if element == other {
                    out.extend(one(element)?);
                    merged.insert(element);
                    (l, r) = (l + 1, r + 1);
                    shared.next();
                    continue;
                }
                let wrong_turn = shared.peek().is_some_and(|next| *next != element);
                if wanted.contains_key(element) && wrong_turn {
                    l += 1;
                    continue;
                }
            }
            if !wanted.contains_key(element) {
                out.extend(both(Some(value), None, &list.element)?);
                l += 1;
                continue;
            }
            if merged.contains(element) {
                l += 1;
            }
        }
        if let Some((element, _)) = right.get(r) {
            out.extend(one(element)?);
            merged.insert(element);
            r += 1;
            shared.next_if(|next| *next == element);
        }
    }
    Ok((!out.is_empty()).then_some(Value::Array(out)))
}
