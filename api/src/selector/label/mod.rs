//! Label selectors: `app=web,tier in (front,back),!canary`. Source of grammar, order and wording: `k8s.io/apimachinery/pkg/labels`.
//!
//! ```
//! use std::collections::BTreeMap;
//! use kubelab_api::selector::label::Selector;
//!
//! let selector: Selector = "tier in (front, back), !canary".parse()?;
//! let labels = BTreeMap::from([("tier".to_owned(), "back".to_owned())]);
//! assert!(selector.matches(Some(&labels)));
//! assert_eq!(selector.to_string(), "!canary,tier in (back,front)");
//! # Ok::<(), kubelab_api::selector::Error>(())
//! ```

mod parse;

use std::{collections::BTreeMap, fmt, str::FromStr};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;

use super::Error;
use crate::{
    field::{Errors, Path},
    name,
};

/// How a requirement relates a label to its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `key=value`
    Equals,
    /// `key==value`, the same
    DoubleEquals,
    /// `key!=value`: absent labels match.
    NotEquals,
    /// `key in (a,b)`
    In,
    /// `key notin (a,b)`: absent labels match.
    NotIn,
    /// `key`
    Exists,
    /// `!key`
    DoesNotExist,
    /// `key>1`
    GreaterThan,
    /// `key<1`
    LessThan,
}

/// What one label must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    key: String,
    operator: Operator,
    values: Vec<String>,
}

impl Requirement {
    /// A requirement whose key and values are well-formed.
    pub fn new(key: &str, operator: Operator, mut values: Vec<String>) -> Result<Self, Error> {
        let mut errors = Errors::default();
        let root = Path::default();
        check_key(key, &root.child("key"), &mut errors);
        let path = root.child("values");
        match operator {
            Operator::In | Operator::NotIn if values.is_empty() => {
                errors.invalid(&path, values.clone(), "for 'in', 'notin' operators, values set can't be empty");
            }
            Operator::Equals | Operator::DoubleEquals | Operator::NotEquals if values.len() != 1 => {
                errors.invalid(&path, values.clone(), "exact-match compatibility requires one single value");
            }
            Operator::Exists | Operator::DoesNotExist if !values.is_empty() => {
                errors.invalid(&path, values.clone(), "values set must be empty for exists and does not exist");
            }
            Operator::GreaterThan | Operator::LessThan => {
                if values.len() != 1 {
                    errors.invalid(&path, values.clone(), "for 'Gt', 'Lt' operators, exactly one value is required");
                }
                for (i, value) in values.iter().enumerate().filter(|(_, value)| value.parse::<i64>().is_err()) {
                    let detail = "for 'Gt', 'Lt' operators, the value must be an integer";
                    errors.invalid(&path.index(i), value.as_str(), detail);
                }
            }
            _ => {}
        }
        for (i, value) in values.iter().enumerate() {
            let wrong = name::label_value(value);
            if !wrong.is_empty() {
                errors.invalid(&path.index(i).key(key), value.as_str(), &wrong.join("; "));
            }
        }
        if !errors.is_empty() {
            return Err(Error(errors.to_string()));
        }
        values.sort();
        values.dedup();
        Ok(Self { key: key.to_owned(), operator, values })
    }

    /// The label that it is about.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The relation.
    pub fn operator(&self) -> Operator {
        self.operator
    }

    /// The values, sorted, each once.
    pub fn values(&self) -> &[String] {
        &self.values
    }

    /// The label is as required.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        let value = labels.and_then(|labels| labels.get(&self.key));
        match self.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => {
                value.is_some_and(|value| self.values.contains(value))
            }
            Operator::NotEquals | Operator::NotIn => value.is_none_or(|value| !self.values.contains(value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
            Operator::GreaterThan => self.compares(value, i64::gt),
            Operator::LessThan => self.compares(value, i64::lt),
        }
    }

    fn compares(&self, value: Option<&String>, relation: fn(&i64, &i64) -> bool) -> bool {
        let number = |text: Option<&String>| text.and_then(|text| text.parse::<i64>().ok());
        number(value).zip(number(self.values.first())).is_some_and(|(value, bound)| relation(&value, &bound))
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (key, values) = (&self.key, self.values.join(","));
        match self.operator {
            Operator::Equals => write!(f, "{key}={values}"),
            Operator::DoubleEquals => write!(f, "{key}=={values}"),
            Operator::NotEquals => write!(f, "{key}!={values}"),
            Operator::In => write!(f, "{key} in ({values})"),
            Operator::NotIn => write!(f, "{key} notin ({values})"),
            Operator::Exists => f.write_str(key),
            Operator::DoesNotExist => write!(f, "!{key}"),
            Operator::GreaterThan => write!(f, "{key}>{values}"),
            Operator::LessThan => write!(f, "{key}<{values}"),
        }
    }
}

/// All of its requirements must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Selector {
    /// Selects nothing: a typed selector that is absent.
    Nothing,
    /// Selects what meets every requirement; everything when there is none. Sorted by key.
    All(Vec<Requirement>),
}

impl Default for Selector {
    fn default() -> Self {
        Self::everything()
    }
}

impl Selector {
    /// Selects everything.
    pub const fn everything() -> Self {
        Self::All(Vec::new())
    }

    /// A conjunction.
    pub fn new(mut requirements: Vec<Requirement>) -> Self {
        requirements.sort_by(|a, b| a.key.cmp(&b.key));
        Self::All(requirements)
    }

    /// Exactly these labels: the selector of a Service or a ReplicationController. Not validated; no labels select
    /// everything.
    pub fn from_labels(labels: &BTreeMap<String, String>) -> Self {
        let equals = |(key, value): (&String, &String)| Requirement {
            key: key.clone(),
            operator: Operator::Equals,
            values: vec![value.clone()],
        };
        Self::All(labels.iter().map(equals).collect())
    }

    /// The typed selector of a Deployment or a NetworkPolicy: an absent one selects nothing, an empty one everything.
    pub fn from_typed(selector: Option<&LabelSelector>) -> Result<Self, Error> {
        let Some(selector) = selector else { return Ok(Self::Nothing) };
        let mut requirements = Vec::new();
        for (key, value) in selector.match_labels.iter().flatten() {
            requirements.push(Requirement::new(key, Operator::Equals, vec![value.clone()])?);
        }
        for expression in selector.match_expressions.iter().flatten() {
            let operator = typed_operator(&expression.operator)
                .ok_or_else(|| Error(format!("{:?} is not a valid label selector operator", expression.operator)))?;
            let values = expression.values.clone().unwrap_or_default();
            requirements.push(Requirement::new(&expression.key, operator, values)?);
        }
        Ok(Self::new(requirements))
    }

    /// These labels are selected.
    pub fn matches(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        match self {
            Self::Nothing => false,
            Self::All(requirements) => requirements.iter().all(|requirement| requirement.matches(labels)),
        }
    }

    /// It selects everything.
    pub fn is_everything(&self) -> bool {
        self.requirements().is_some_and(<[_]>::is_empty)
    }

    /// What must hold; `None` when nothing is selected.
    pub fn requirements(&self) -> Option<&[Requirement]> {
        match self {
            Self::Nothing => None,
            Self::All(requirements) => Some(requirements),
        }
    }

    /// The only value that the label `key` may have, where there is just one.
    pub fn exact(&self, key: &str) -> Option<&str> {
        self.requirements()?.iter().find_map(|requirement| {
            match (requirement.operator, requirement.values.as_slice()) {
                (Operator::Equals | Operator::DoubleEquals | Operator::In, [value]) if requirement.key == key => {
                    Some(value.as_str())
                }
                _ => None,
            }
        })
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, requirement) in self.requirements().unwrap_or_default().iter().enumerate() {
            write!(f, "{}{requirement}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// What is wrong with a typed selector. Source: `ValidateLabelSelector` in `apis/meta/v1/validation`.
pub fn validate(selector: &LabelSelector, path: &Path, errors: &mut Errors) {
    validate_labels(selector.match_labels.as_ref(), &path.child("matchLabels"), errors);
    for (i, expression) in selector.match_expressions.iter().flatten().enumerate() {
        let path = path.child("matchExpressions").index(i);
        let values = expression.values.as_deref().unwrap_or_default();
        match typed_operator(&expression.operator) {
            Some(Operator::In | Operator::NotIn) if values.is_empty() => {
                errors.required(&path.child("values"), "must be specified when `operator` is 'In' or 'NotIn'");
            }
            Some(Operator::Exists | Operator::DoesNotExist) if !values.is_empty() => {
                let detail = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.forbidden(&path.child("values"), detail);
            }
            Some(_) => {}
            None => {
                errors.invalid(&path.child("operator"), expression.operator.as_str(), "not a valid selector operator")
            }
        }
        for wrong in name::label_key(&expression.key) {
            errors.invalid(&path.child("key"), expression.key.as_str(), &wrong);
        }
        for (i, value) in values.iter().enumerate() {
            for wrong in name::label_value(value) {
                errors.invalid(&path.child("values").index(i), value.as_str(), &wrong);
            }
        }
    }
}

/// What is wrong with an object's labels, or a map selector.
pub fn validate_labels(labels: Option<&BTreeMap<String, String>>, path: &Path, errors: &mut Errors) {
    for (key, value) in labels.into_iter().flatten() {
        for wrong in name::label_key(key) {
            errors.invalid(path, key.as_str(), &wrong);
        }
        for wrong in name::label_value(value) {
            errors.invalid(path, value.as_str(), &wrong);
        }
    }
}

fn typed_operator(name: &str) -> Option<Operator> {
    match name {
        "In" => Some(Operator::In),
        "NotIn" => Some(Operator::NotIn),
        "Exists" => Some(Operator::Exists),
        "DoesNotExist" => Some(Operator::DoesNotExist),
        _ => None,
    }
}

fn check_key(key: &str, path: &Path, errors: &mut Errors) {
    let wrong = name::label_key(key);
    if !wrong.is_empty() {
        errors.invalid(path, key, &wrong.join("; "));
    }
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        parse::selector(text)
    }
}

#[cfg(test)]
mod tests;
