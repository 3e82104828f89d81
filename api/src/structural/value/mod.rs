//! What may be wrong with a value, in upstream's words.
//! Source: `kube-openapi/pkg/validation/{validate,errors}` and `apiextensions-apiserver/pkg/apiserver/validation`.

mod fault;
mod format;
mod number;

pub use format::is_known as is_known_format;

use std::{
    collections::HashSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use serde_json::{Map, Value};

use self::fault::{Fault, Wrong};
use super::{Additional, ListType, Schema};
use crate::field::{Errors, Path};

/// What is wrong with a value. `at` is where the value stands, empty for a whole object.
pub fn validate(value: &Value, schema: &Schema, at: &Path, errors: &mut Errors) {
    validate_update(value, None, schema, at, errors);
}

/// What is wrong with a value that takes the place of another. What was wrong before and did not change may stay so
/// (KEP-4008).
pub fn validate_update(value: &Value, old: Option<&Value>, schema: &Schema, at: &Path, errors: &mut Errors) {
    let outcome = check(value, old, schema, "");
    for fault in outcome.faults {
        fault.tell(at, errors);
    }
}

/// So many faults of one value are told.
const MAX_FAULTS: usize = 10_000;

/// What a check found, and how many smaller checks were passed: among several alternatives, the errors of the one that
/// comes closest are told.
#[derive(Default)]
struct Outcome {
    faults: Vec<Fault>,
    /// Hashes of the faults' texts.
    told: HashSet<u64>,
    matches: usize,
}

impl Outcome {
    fn fault(&mut self, fault: Fault) {
        // The same thing is told once, even where several checks find it.
        let mut hasher = DefaultHasher::new();
        fault.text.hash(&mut hasher);
        if self.faults.len() < MAX_FAULTS && self.told.insert(hasher.finish()) {
            self.faults.push(fault);
        }
    }

    fn merge(&mut self, other: Outcome) {
        self.matches += other.matches;
        other.faults.into_iter().for_each(|fault| self.fault(fault));
    }

    fn passes(&self) -> bool {
        self.faults.is_empty()
    }
}

fn check(value: &Value, old: Option<&Value>, schema: &Schema, name: &str) -> Outcome {
    let mut outcome = Outcome::default();
    if old == Some(value) {
        outcome.matches += 1;
        return outcome;
    }
    match check_type(value, schema, name) {
        Some(fault) => outcome.fault(fault),
        None => outcome.matches += 2,
    }
    check_enum(value, schema, name, &mut outcome);
    if value.is_null() {
        return outcome;
    }
    let alternatives = check_alternatives(value, old, schema, name);
    outcome.merge(alternatives);
    match value {
        Value::String(text) => check_text(text, schema, name, &mut outcome),
        Value::Number(given) => number::check(given, schema, name, &mut outcome),
        Value::Array(elements) => check_list(elements, old, schema, name, &mut outcome),
        Value::Object(fields) => check_object(fields, old, schema, name, &mut outcome),
        _ => {}
    }
    outcome.matches += 1;
    outcome
}

/// The types that a schema allows, joined.
fn types(schema: &Schema) -> &str {
    if schema.int_or_string { "integer,string" } else { &schema.kind }
}

fn check_type(value: &Value, schema: &Schema, name: &str) -> Option<Fault> {
    let types = types(schema);
    let format = format::effective(schema);
    if types.is_empty() && format.is_empty() {
        return None;
    }
    let has = |wanted: &str| types.split(',').any(|kind| kind == wanted);
    let (kind, own_format) = match value {
        Value::Null if types.is_empty() || schema.nullable => return None,
        Value::Null => return Some(Fault::of_type(name, types, "null")),
        Value::Bool(_) => ("boolean", ""),
        Value::String(_) => ("string", ""),
        Value::Array(_) => ("array", ""),
        Value::Object(_) => ("object", ""),
        Value::Number(number) if number.is_f64() => ("number", "double"),
        Value::Number(_) => ("integer", "int64"),
    };
    let whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = has(kind) || (kind == "number" && whole && has("integer")) || (kind == "integer" && has("number"));
    let is_text_or_list = matches!(value, Value::String(_) | Value::Array(_));
    if !is_text_or_list && !format.is_empty() && !fits && own_format != format {
        return Some(Fault::of_type(name, format, own_format));
    }
    if is_text_or_list && !format.is_empty() && !has("number") && !has("integer") {
        return None;
    }
    (!fits).then(|| Fault::of_type(name, types, kind))
}

fn check_enum(value: &Value, schema: &Schema, name: &str, outcome: &mut Outcome) {
    let allowed = &schema.values.allowed;
    let same = |known: &Value| known == value || (known.is_number() && known.as_f64() == value.as_f64());
    if allowed.is_empty() || (!value.is_null() && allowed.iter().any(same)) {
        outcome.matches += 1;
        return;
    }
    let shown = allowed.iter().map(Value::to_string).collect::<Vec<_>>().join(" ");
    let wrong = Wrong::Enum { value: value.clone(), allowed: allowed.clone() };
    outcome.fault(Fault::new(name, format!("should be one of [{shown}]"), wrong));
}

fn check_text(text: &str, schema: &Schema, name: &str, outcome: &mut Outcome) {
    let values = &schema.values;
    let length = text.chars().count() as i64;
    let other = || Wrong::Other(text.into());
    let too_long = values.max_length.filter(|max| length > *max);
    let too_short = values.min_length.filter(|min| length < *min);
    let unlike = values.pattern.as_ref().filter(|pattern| !pattern.matches(text));
    let fault = match (too_long, too_short, unlike) {
        (Some(max), ..) => Some(Fault::new(name, format!("should be at most {max} chars long"), Wrong::TooLong(max))),
        (_, Some(min), _) => Some(Fault::new(name, format!("should be at least {min} chars long"), other())),
        (.., Some(pattern)) => Some(Fault::new(name, format!("should match '{}'", pattern.text()), other())),
        _ => None,
    };
    match fault {
        Some(fault) => outcome.fault(fault),
        None => outcome.matches += 1,
    }
    let wanted = format::effective(schema);
    if !wanted.is_empty() && format::is_of_text(wanted) {
        if format::matches(wanted, text) {
            outcome.matches += 1;
        } else {
            outcome.fault(Fault::new(name, format!("must be of type {wanted}: {text:?}"), Wrong::Type(text.into())));
        }
    }
}

/// The element that a new one takes the place of: only the elements of a map can be told.
fn counterpart<'a>(old: Option<&'a Value>, element: &Value, schema: &Schema) -> Option<&'a Value> {
    let old = old?.as_array().filter(|_| schema.list_type == Some(ListType::Map))?;
    old.iter().find(|other| schema.list_keys.iter().all(|key| other.get(key) == element.get(key)))
}

fn check_list(elements: &[Value], old: Option<&Value>, schema: &Schema, name: &str, outcome: &mut Outcome) {
    let values = &schema.values;
    if let Some(items) = &schema.items {
        for (index, element) in elements.iter().enumerate() {
            let old = counterpart(old, element, schema);
            outcome.merge(check(element, old, items, &format!("{name}[{index}]")));
        }
    }
    let count = elements.len() as i64;
    if let Some(min) = values.min_items.filter(|min| count < *min) {
        outcome.fault(Fault::new(name, format!("should have at least {min} items"), Wrong::Other(count.into())));
    }
    if let Some(max) = values.max_items.filter(|max| count > *max) {
        let wrong = Wrong::TooMany { count, max };
        outcome.fault(Fault::new(name, format!("should have at most {max} items"), wrong));
    }
    if values.unique_items {
        let mut texts: Vec<String> = elements.iter().map(Value::to_string).collect();
        texts.sort_unstable();
        if texts.windows(2).any(|pair| pair[0] == pair[1]) {
            outcome.fault(Fault::new(name, "shouldn't contain duplicates".into(), Wrong::Other("".into())));
        }
    }
    outcome.matches += 1;
}

fn check_object(fields: &Map<String, Value>, old: Option<&Value>, schema: &Schema, name: &str, outcome: &mut Outcome) {
    let values = &schema.values;
    let count = fields.len() as i64;
    if let Some(min) = values.min_properties.filter(|min| count < *min) {
        outcome.fault(Fault::new(name, format!("should have at least {min} properties"), Wrong::Other(count.into())));
    }
    if let Some(max) = values.max_properties.filter(|max| count > *max) {
        let wrong = Wrong::TooMany { count, max };
        outcome.fault(Fault::new(name, format!("should have at most {max} properties"), wrong));
    }
    for (field, value) in fields {
        let old = old.and_then(|old| old.get(field));
        match (schema.properties.get(field), &schema.additional) {
            (Some(property), _) => {
                let below = if name.is_empty() { field.clone() } else { format!("{name}.{field}") };
                outcome.merge(check(value, old, property, &below));
            }
            (None, Additional::Of(schema)) => outcome.merge(check(value, old, schema, &format!("{name}.{field}"))),
            (None, Additional::Nothing) => {
                let text = format!("{name}.{field} in body is a forbidden property");
                outcome.fault(Fault { text, ..Fault::new(name, String::new(), Wrong::Other(field.as_str().into())) });
            }
            (None, Additional::Any | Additional::Unsaid) => {}
        }
    }
    for field in values.required.iter().filter(|field| !fields.contains_key(*field)) {
        outcome.fault(Fault::new(&format!("{name}.{field}"), "is required".into(), Wrong::Required));
    }
}

fn check_alternatives(value: &Value, old: Option<&Value>, schema: &Schema, name: &str) -> Outcome {
    let values = &schema.values;
    let mut outcome = Outcome::default();
    if !values.any_of.is_empty() {
        let mut best: Option<Outcome> = None;
        for alternative in &values.any_of {
            let found = check(value, old, alternative, name);
            let passes = found.passes();
            if passes || best.as_ref().is_none_or(|best| found.matches > best.matches) {
                best = Some(found);
            }
            if passes {
                break;
            }
        }
        let best = best.unwrap_or_default();
        if !best.passes() {
            outcome.fault(Fault::composite(format!("{name:?} must validate at least one schema (anyOf)")));
        }
        outcome.merge(best);
    }
    if !values.one_of.is_empty() {
        let (passing, failing): (Vec<_>, Vec<_>) =
            values.one_of.iter().map(|alternative| check(value, old, alternative, name)).partition(Outcome::passes);
        let message = match passing.len() {
            0 => Some("Found none valid".to_owned()),
            1 => None,
            count => Some(format!("Found {count} valid alternatives")),
        };
        let none = passing.is_empty();
        if let Some(message) = message {
            let text = format!("{name:?} must validate one and only one schema (oneOf). {message}");
            outcome.fault(Fault::composite(text));
            let best = failing.into_iter().reduce(|best, next| if next.matches > best.matches { next } else { best });
            if let Some(best) = best.filter(|_| none) {
                outcome.merge(best);
            }
        } else if let Some(first) = passing.into_iter().next() {
            outcome.merge(first);
        }
    }
    if !values.all_of.is_empty() {
        let mut passed = 0;
        for part in &values.all_of {
            let found = check(value, old, part, name);
            passed += usize::from(found.passes());
            outcome.merge(found);
        }
        if passed < values.all_of.len() {
            let none = if passed == 0 { ". None validated" } else { "" };
            outcome.fault(Fault::composite(format!("{name:?} must validate all the schemas (allOf){none}")));
        }
    }
    if values.not.as_ref().is_some_and(|not| check(value, old, not, name).passes()) {
        outcome.fault(Fault::composite(format!("{name:?} must not validate the schema (not)")));
    }
    outcome.matches += 1;
    outcome
}

#[cfg(test)]
mod tests;
