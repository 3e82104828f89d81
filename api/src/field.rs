//! Paths into an object, and what is wrong there, in upstream's words.
//! Source: `k8s.io/apimachinery/pkg/util/validation/field`.

use std::{collections::HashSet, fmt, panic::Location};

/// A path such as `spec.containers[0].name` or `data[key]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// The path of one root field.
    pub fn new(name: &str) -> Self {
        Self(name.to_owned())
    }

    /// A field below this one.
    #[must_use]
    pub fn child(&self, name: &str) -> Self {
        if self.0.is_empty() { Self(name.to_owned()) } else { Self(format!("{}.{name}", self.0)) }
    }

    /// An element of this list.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// A value of this map.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// The kind of a field's error; its name is the `reason` of the Status' cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The value is missing.
    Required,
    /// The value must be unique and is not.
    Duplicate,
    /// The value is malformed.
    Invalid,
    /// The value is none of those allowed.
    NotSupported,
    /// The value may not be set here.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// The list has too many elements.
    TooMany,
    /// The value refers to nothing.
    NotFound,
    /// The value has the wrong type.
    TypeInvalid,
}

impl Kind {
    /// The cause's reason.
    pub fn reason(self) -> &'static str {
        match self {
            Kind::Required => "FieldValueRequired",
            Kind::Duplicate => "FieldValueDuplicate",
            Kind::Invalid => "FieldValueInvalid",
            Kind::NotSupported => "FieldValueNotSupported",
            Kind::Forbidden => "FieldValueForbidden",
            Kind::TooLong => "FieldValueTooLong",
            Kind::TooMany => "FieldValueTooMany",
            Kind::NotFound => "FieldValueNotFound",
            Kind::TypeInvalid => "FieldValueTypeInvalid",
        }
    }
}

/// The place in the code that found an error. Errors are the same whoever finds them.
#[derive(Clone, Copy, Debug)]
pub struct Rule(pub &'static Location<'static>);

impl PartialEq for Rule {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Rule {}

/// One thing that is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// What kind of wrong.
    pub kind: Kind,
    /// Where.
    pub path: Path,
    /// What, without the path: `Invalid value: -1: must be greater than or equal to 0`.
    pub message: String,
    /// Which rule says so: by this, tests tell which rules no case has shown.
    pub rule: Rule,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// So many errors of one object are told; an answer must not be many times larger than what was asked.
const MAX_ERRORS: usize = 10_000;

/// What is wrong with an object, gathered while it is checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Errors(pub Vec<Error>);

impl Errors {
    #[track_caller]
    fn push(&mut self, kind: Kind, path: &Path, message: String) {
        if self.0.len() < MAX_ERRORS {
            self.0.push(Error { kind, path: path.clone(), message, rule: Rule(Location::caller()) });
        }
    }

    /// A value must be given. `detail` may be empty.
    #[track_caller]
    pub fn required(&mut self, path: &Path, detail: &str) {
        self.push(Kind::Required, path, with_detail("Required value".into(), detail));
    }

    /// A value is malformed. Text shows in quotes, numbers bare: pass `&json!(value)`.
    #[track_caller]
    pub fn invalid(&mut self, path: &Path, value: impl Into<serde_json::Value>, detail: &str) {
        self.push(Kind::Invalid, path, with_detail(format!("Invalid value: {}", shown(value.into())), detail));
    }

    /// A value is malformed, and too large to be shown. Source: `OmitValueType`.
    #[track_caller]
    pub fn invalid_unshown(&mut self, path: &Path, detail: &str) {
        self.push(Kind::Invalid, path, with_detail("Invalid value".into(), detail));
    }

    /// A value is none of the allowed ones, which are told in this order: upstream sorts some of its lists, not all.
    #[track_caller]
    pub fn not_supported(&mut self, path: &Path, value: &str, allowed: &[&str]) {
        let allowed: Vec<_> = allowed.iter().map(|value| format!("{value:?}")).collect();
        let message = format!("Unsupported value: {value:?}: supported values: {}", allowed.join(", "));
        self.push(Kind::NotSupported, path, message);
    }

    /// As [`Errors::not_supported`], of any value.
    #[track_caller]
    pub fn not_among<S: fmt::Debug>(&mut self, path: &Path, value: impl Into<serde_json::Value>, allowed: &[S]) {
        let allowed: Vec<_> = allowed.iter().map(|value| format!("{value:?}")).collect();
        let message = format!("Unsupported value: {}: supported values: {}", shown(value.into()), allowed.join(", "));
        self.push(Kind::NotSupported, path, message);
    }

    /// A value has the wrong type.
    #[track_caller]
    pub fn type_invalid(&mut self, path: &Path, value: impl Into<serde_json::Value>, detail: &str) {
        self.push(Kind::TypeInvalid, path, with_detail(format!("Invalid value: {}", shown(value.into())), detail));
    }

    /// A value stands twice.
    #[track_caller]
    pub fn duplicate(&mut self, path: &Path, value: impl Into<serde_json::Value>) {
        self.push(Kind::Duplicate, path, format!("Duplicate value: {}", value.into()));
    }

    /// A value may not be set, or not be changed.
    #[track_caller]
    pub fn forbidden(&mut self, path: &Path, detail: &str) {
        self.push(Kind::Forbidden, path, with_detail("Forbidden".into(), detail));
    }

    /// A text is longer than `limit` bytes.
    #[track_caller]
    pub fn too_long(&mut self, path: &Path, limit: usize) {
        self.push(Kind::TooLong, path, format!("Too long: may not be more than {limit} bytes"));
    }

    /// A list has more than `limit` elements.
    #[track_caller]
    pub fn too_many(&mut self, path: &Path, count: usize, limit: usize) {
        self.push(Kind::TooMany, path, format!("Too many: {count}: must have at most {limit} items"));
    }

    /// A value refers to nothing.
    #[track_caller]
    pub fn not_found(&mut self, path: &Path, value: impl Into<serde_json::Value>) {
        self.push(Kind::NotFound, path, format!("Not found: {}", value.into()));
    }

    /// Nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A value as errors show it. Source: `Error.ErrorBody`, for which no value is the text "null".
fn shown(value: serde_json::Value) -> serde_json::Value {
    if value.is_null() { "null".into() } else { value }
}

fn with_detail(message: String, detail: &str) -> String {
    if detail.is_empty() { message } else { format!("{message}: {detail}") }
}

impl fmt::Display for Errors {
    /// Upstream's aggregate: one error bare, several in brackets, each once.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut texts: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        let mut seen = HashSet::with_capacity(texts.len());
        texts.retain(|text| seen.insert(text.clone()));
        match texts.as_slice() {
            [one] => f.write_str(one),
            many => write!(f, "[{}]", many.join(", ")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_bounded() {
        let mut errors = Errors::default();
        (0..MAX_ERRORS * 2).for_each(|index| errors.required(&Path::new("list").index(index), ""));
        assert_eq!(errors.0.len(), MAX_ERRORS);
        assert!(errors.to_string().ends_with("list[9999]: Required value]"));
    }

    #[test]
    fn errors_read_as_upstreams() {
        let mut errors = Errors::default();
        let spec = Path::new("spec");
        errors.invalid(&spec.child("replicas"), -1, "must be greater than or equal to 0");
        assert_eq!(errors.to_string(), "spec.replicas: Invalid value: -1: must be greater than or equal to 0");
        errors.required(&spec.child("containers").index(0).child("name"), "");
        errors.not_supported(&spec.child("type"), "X", &["ClusterIP", "NodePort"]);
        assert_eq!(
            errors.to_string(),
            "[spec.replicas: Invalid value: -1: must be greater than or equal to 0, \
             spec.containers[0].name: Required value, \
             spec.type: Unsupported value: \"X\": supported values: \"ClusterIP\", \"NodePort\"]"
        );
    }
}
