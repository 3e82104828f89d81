//! One thing that is wrong with a value.

use serde_json::Value;

use crate::field::{Errors, Path};

/// What is wrong, as the field's error shows it.
pub enum Wrong {
    Required,
    Enum {
        value: Value,
        allowed: Vec<Value>,
    },
    TooLong(i64),
    TooMany {
        count: i64,
        max: i64,
    },
    Type(Value),
    Other(Value),
    /// It belongs to no field.
    Composite,
}

/// A thing that is wrong.
pub struct Fault {
    /// Where: `spec.list[0]`, or `.spec` for a missing field of the whole.
    pub name: String,
    /// All of it, in words.
    pub text: String,
    /// What kind of thing.
    pub wrong: Wrong,
}

impl Fault {
    /// `name in body <what>`.
    pub fn new(name: &str, what: String, wrong: Wrong) -> Self {
        Self { name: name.to_owned(), text: format!("{name} in body {what}"), wrong }
    }

    /// A value of the wrong type.
    pub fn of_type(name: &str, wanted: &str, given: &str) -> Self {
        Self::new(name, format!("must be of type {wanted}: {given:?}"), Wrong::Type(given.into()))
    }

    /// Something about several fields.
    pub fn composite(text: String) -> Self {
        Self { name: String::new(), text, wrong: Wrong::Composite }
    }

    /// Adds it to the errors of an object.
    pub fn tell(self, at: &Path, errors: &mut Errors) {
        let path = match self.name.trim_start_matches('.') {
            "" => at.clone(),
            name => at.child(name),
        };
        match self.wrong {
            Wrong::Required => errors.required(&path, ""),
            Wrong::Enum { value, allowed } => {
                let texts: Vec<String> = allowed
                    .into_iter()
                    .map(|value| match value {
                        Value::String(text) => text,
                        other => other.to_string(),
                    })
                    .collect();
                errors.not_among(&path, value, &texts);
            }
            Wrong::TooLong(max) => errors.too_long(&path, usize::try_from(max).unwrap_or_default()),
            Wrong::TooMany { count, max } => {
                let size = |number| usize::try_from(number).unwrap_or_default();
                errors.too_many(&path, size(count), size(max));
            }
            Wrong::Type(value) => errors.type_invalid(&path, value, &self.text),
            Wrong::Other(value) => errors.invalid(&path, value, &self.text),
            Wrong::Composite => errors.invalid(at, "", &self.text),
        }
    }
}
