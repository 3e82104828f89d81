//! A value and its type: what of it can be owned, and what is wrong with it. Source: `typed/tofieldset.go`,
//! `typed/validate.go` and `typed/helpers.go` of `sigs.k8s.io/structured-merge-diff`.

use serde_json::{Map, Value};

use super::{element::Element, set::Set};
use crate::{
    go,
    patch::schema::{Form, Key, List, Object, Owned, Scalar, Schema},
};

/// What a value is taken for: the one form that its type allows, or what it looks like where nothing is known.
#[derive(Clone, Copy)]
pub(super) enum Kind<'a> {
    Scalar(Scalar),
    Object(Fields<'a>),
    /// `None` for a list of which nothing is known: it is owned as a whole.
    List(Option<&'a List>),
}

/// What is known of an object.
#[derive(Clone, Copy)]
pub(super) enum Fields<'a> {
    Known(&'a Object),
    /// Each field is of this type, of which nothing is known.
    Any(&'a Schema),
}

impl<'a> Kind<'a> {
    /// `None` says nothing: nulls are everything, so the type alone decides.
    pub(super) fn of(schema: &'a Schema, value: Option<&Value>) -> Self {
        match schema.form() {
            Form::Scalar(scalar) => Self::Scalar(*scalar),
            Form::Object(object) => Self::Object(Fields::Known(object)),
            Form::List(list) => Self::List(Some(list)),
            Form::Any => match value {
                None | Some(Value::Null | Value::Object(_)) => Self::Object(Fields::Any(schema)),
                Some(Value::Array(_)) => Self::List(None),
                Some(_) => Self::Scalar(Scalar::Untyped),
            },
        }
    }

    pub(super) fn is_like(self, other: Self) -> bool {
        std::mem::discriminant(&self) == std::mem::discriminant(&other)
    }
}

impl<'a> Fields<'a> {
    pub(super) fn is_atomic(self) -> bool {
        matches!(self, Self::Known(object) if object.atomic)
    }

    /// The type of a field; and whether the field is known by name.
    pub(super) fn child(self, name: &str) -> Option<(&'a Schema, bool)> {
        match self {
            Self::Known(object) => match object.field(name) {
                Some(field) => Some((&field.schema, true)),
                None => object.rest().map(|schema| (schema, false)),
            },
            Self::Any(schema) => Some((schema, false)),
        }
    }
}

/// What is wrong with a value, where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    path: String,
    message: String,
}

/// All that is wrong with a value, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", text(.0))]
pub struct Problems(Vec<Problem>);

impl Problems {
    pub(super) fn one(message: impl Into<String>) -> Self {
        Self(vec![Problem { path: String::new(), message: message.into() }])
    }

    pub(super) fn under(mut self, element: &Element) -> Self {
        for problem in &mut self.0 {
            problem.path.insert_str(0, &element.to_string());
        }
        self
    }
}

fn text(problems: &[Problem]) -> String {
    let line = |problem: &Problem| match problem.path.as_str() {
        "" => problem.message.clone(),
        path => format!("{path}: {}", problem.message),
    };
    match problems {
        [one] => line(one),
        many => many.iter().fold("errors:".to_owned(), |text, problem| format!("{text}\n  {}", line(problem))),
    }
}

/// What tells an element of a list from the others.
pub(super) fn identity(list: &List, child: &Value) -> Result<Element, String> {
    match &list.owned {
        Owned::Whole => Err("invalid indexing of non-associative list".into()),
        Owned::Set => match child {
            Value::Object(_) => Err("associative list without keys has an element that's a map type".into()),
            Value::Array(_) => Err("not supported: associative list with lists as elements".into()),
            Value::Null => Err("associative list without keys has an element that's an explicit null".into()),
            scalar => Ok(Element::Value(scalar.clone())),
        },
        Owned::Keyed(keys) => keyed(keys, child),
    }
}

fn keyed(keys: &[Key], child: &Value) -> Result<Element, String> {
    let fields = match child {
        Value::Object(fields) => fields,
        Value::Null => return Err("associative list with keys may not have a null element".into()),
        _ => return Err("associative list with keys may not have non-map elements".into()),
    };
    let value = |key: &Key| {
        let value = fields.get(&*key.name).or(key.default.as_ref())?;
        Some((Box::from(&*key.name), value.clone()))
    };
    let mut values: Vec<(Box<str>, Value)> = keys.iter().filter_map(value).collect();
    if values.is_empty() && !keys.is_empty() {
        let names: Vec<_> = keys.iter().map(|key| format!("{:?}", key.name)).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values \
             for any key fields)",
            names.join(" ")
        ));
    }
    values.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(Element::Key(values.into()))
}

/// The elements of a list with what tells them apart.
pub(super) fn elements<'v>(list: &List, values: &'v [Value]) -> Result<Vec<(Element, &'v Value)>, Problems> {
    let element = |(index, value)| match identity(list, value) {
        Ok(element) => Ok((element, value)),
        Err(message) => Err(Problems::one(format!("element {index}: {message}"))),
    };
    values.iter().enumerate().map(element).collect()
}

/// Checks a value against its type. No element of a list may stand twice.
pub fn validate(value: &Value, schema: &Schema) -> Result<(), Problems> {
    let mut problems = Vec::new();
    check(value, schema, &mut String::new(), &mut problems);
    if problems.is_empty() { Ok(()) } else { Err(Problems(problems)) }
}

fn check(value: &Value, schema: &Schema, path: &mut String, problems: &mut Vec<Problem>) {
    let mut wrong = |path: &str, message: String| problems.push(Problem { path: path.to_owned(), message });
    // Source: `%v` of a pointer to a struct.
    let shown = || format!("&{{{}}}", go::plain(value));
    match (Kind::of(schema, Some(value)), value) {
        (_, Value::Null) => {}
        (Kind::Scalar(scalar), value) => match (scalar, value) {
            (Scalar::String, Value::String(_)) | (Scalar::Numeric, Value::Number(_)) => {}
            (Scalar::Boolean, Value::Bool(_)) => {}
            (Scalar::Untyped, Value::String(_) | Value::Number(_) | Value::Bool(_)) => {}
            (Scalar::String, _) => {
                wrong(path, format!("expected string, got &value.valueUnstructured{{Value:{}}}", go::syntax(value)));
            }
            (Scalar::Numeric, _) => {
                wrong(path, format!("expected numeric (int or float), got {}", go::type_name(value)));
            }
            (Scalar::Boolean, _) => wrong(path, format!("expected boolean, got {}", shown())),
            (Scalar::Untyped, _) => wrong(path, format!("expected any scalar, got {}", shown())),
        },
        (Kind::Object(fields), Value::Object(values)) => {
            for (name, value) in values {
                let length = path.len();
                path.push('.');
                path.push_str(name);
                match fields.child(name) {
                    Some((schema, _)) => check(value, schema, path, problems),
                    None => problems
                        .push(Problem { path: path.clone(), message: "field not declared in schema".to_owned() }),
                }
                path.truncate(length);
            }
        }
        (Kind::Object(_), _) => wrong(path, format!("expected map, got {}", shown())),
        (Kind::List(Some(list)), Value::Array(values)) => check_list(values, list, path, problems),
        (Kind::List(_), Value::Array(_)) => {}
        (Kind::List(_), _) => wrong(path, format!("expected list, got {}", shown())),
    }
}

fn check_list(values: &[Value], list: &List, path: &mut String, problems: &mut Vec<Problem>) {
    let mut seen = std::collections::BTreeSet::new();
    for (index, value) in values.iter().enumerate() {
        let element = match &list.owned {
            Owned::Whole => Element::Index(i64::try_from(index).unwrap_or_default()),
            _ => match identity(list, value) {
                Ok(element) => element,
                Err(message) => {
                    let message = format!("element {index}: {message}");
                    problems.push(Problem { path: path.clone(), message });
                    return;
                }
            },
        };
        let step = element.to_string();
        if !seen.insert(element) {
            let message = format!("duplicate entries for key {step}");
            problems.push(Problem { path: path.clone(), message });
        }
        let length = path.len();
        path.push_str(&step);
        check(value, &list.element, path, problems);
        path.truncate(length);
    }
}

/// What an object mentions: all that a manager owns which applies it.
pub fn field_set(value: &Value, schema: &Schema) -> Set {
    below(value, schema).1
}

/// The value itself is a member; and what below it is.
fn below(value: &Value, schema: &Schema) -> (bool, Set) {
    match (Kind::of(schema, Some(value)), value) {
        (Kind::Scalar(_) | Kind::List(None), _) => (true, Set::default()),
        (Kind::Object(fields), _) if fields.is_atomic() => (true, Set::default()),
        (Kind::Object(fields), Value::Object(values)) => (false, fields_below(values, fields)),
        (Kind::List(Some(List { owned: Owned::Whole, .. })), _) => (true, Set::default()),
        (Kind::List(Some(list)), Value::Array(values)) => (false, elements_below(values, list)),
        _ => (false, Set::default()),
    }
}

fn fields_below(values: &Map<String, Value>, fields: Fields) -> Set {
    let mut set = Set::default();
    for (name, value) in values {
        let Some((schema, known)) = fields.child(name) else { continue };
        let (member, below) = below(value, schema);
        let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
        set.attach(Element::field(name), member || empty || !known, below);
    }
    set
}

/// Elements that stand twice are owned as one.
fn elements_below(values: &[Value], list: &List) -> Set {
    let mut set = Set::default();
    let elements = elements(list, values).unwrap_or_default();
    let mut sorted: Vec<_> = elements.iter().map(|(element, _)| element).collect();
    sorted.sort_unstable();
    for (element, value) in &elements {
        let places =
            sorted.partition_point(|other| *other < element)..sorted.partition_point(|other| *other <= element);
        let below = if places.len() > 1 { Set::default() } else { below(value, &list.element).1 };
        set.attach(element.clone(), true, below);
    }
    set
}

/// Adds the known fields on the way to the members of a set. Source: `EnsureNamedFieldsAreMembers`.
pub(super) fn with_named_fields(set: &Set, schema: Option<&Schema>) -> Set {
    let mut whole = Set::default();
    for (element, member, below) in set.iter() {
        let (child, known) = match (schema.map(Schema::form), element) {
            (Some(Form::Object(object)), Element::Field(name)) => match object.field(name) {
                Some(field) => (Some(&field.schema), !below.is_empty()),
                None => (object.rest(), false),
            },
            (Some(Form::Any), Element::Field(_)) => (schema, false),
            (Some(Form::List(list)), Element::Key(_)) => (Some(&list.element), false),
            _ => (None, false),
        };
        whole.attach(element.clone(), member || known, with_named_fields(below, child));
    }
    whole
}
