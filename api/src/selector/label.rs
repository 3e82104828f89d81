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
        Parser::new(text).selector()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Open,
    Close,
    Comma,
    Not,
    Relation(Operator),
    Unknown(&'a str),
    End,
}

impl Token<'_> {
    fn text(self) -> String {
        match self {
            Token::Word(text) => text.to_owned(),
            Token::Open => "(".to_owned(),
            Token::Close => ")".to_owned(),
            Token::Comma => ",".to_owned(),
            Token::Not => "!".to_owned(),
            Token::Relation(operator) => match operator {
                Operator::DoubleEquals => "==",
                Operator::NotEquals => "!=",
                Operator::GreaterThan => ">",
                Operator::LessThan => "<",
                _ => "=",
            }
            .to_owned(),
            Token::Unknown(text) => format!("error expected: keyword found '{text}'"),
            Token::End => String::new(),
        }
    }
}

/// Recursive descent over `requirement {"," requirement}`. `in` and `notin` are words everywhere but between a key and
/// its values.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn new(text: &'a str) -> Self {
        Self { rest: text }
    }

    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn next(&mut self) -> Token<'a> {
        const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
        const SPECIAL: [char; 7] = ['=', '!', '(', ')', ',', '>', '<'];
        self.rest = self.rest.trim_start_matches(SPACE);
        for (text, token) in [
            ("==", Token::Relation(Operator::DoubleEquals)),
            ("!=", Token::Relation(Operator::NotEquals)),
            ("=", Token::Relation(Operator::Equals)),
            (">", Token::Relation(Operator::GreaterThan)),
            ("<", Token::Relation(Operator::LessThan)),
            ("!", Token::Not),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
        ] {
            if self.rest.starts_with(text) {
                self.take(text.len());
                return token;
            }
        }
        let end = self.rest.find(|c| SPACE.contains(&c) || SPECIAL.contains(&c)).unwrap_or(self.rest.len());
        match self.take(end) {
            "" => Token::End,
            word if word.contains('\0') => Token::Unknown(word),
            word => Token::Word(word),
        }
    }

    fn peek(&self) -> Token<'a> {
        Self { rest: self.rest }.next()
    }

    fn selector(mut self) -> Result<Selector, Error> {
        let mut requirements = Vec::new();
        match self.peek() {
            Token::End => return Ok(Selector::everything()),
            Token::Word(_) | Token::Not => {}
            token => {
                return Err(Error(format!("found '{}', expected: !, identifier, or 'end of string'", token.text())));
            }
        }
        loop {
            let requirement = self.requirement();
            requirements.push(requirement.map_err(|Error(why)| Error(format!("unable to parse requirement: {why}")))?);
            match self.next() {
                Token::End => return Ok(Selector::new(requirements)),
                Token::Comma => match self.peek() {
                    Token::Word(_) | Token::Not => {}
                    token => return Err(Error(format!("found '{}', expected: identifier after ','", token.text()))),
                },
                token => return Err(Error(format!("found '{}', expected: ',' or 'end of string'", token.text()))),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, Error> {
        let mut first = self.next();
        let negated = first == Token::Not;
        if negated {
            first = self.next();
        }
        let Token::Word(key) = first else {
            return Err(Error(format!("found '{}', expected: identifier", first.text())));
        };
        let mut errors = Errors::default();
        check_key(key, &Path::default(), &mut errors);
        if !errors.is_empty() {
            return Err(Error(errors.to_string()));
        }
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        match self.next() {
            Token::Relation(operator) => {
                let value = self.exact_value()?;
                Requirement::new(key, operator, vec![value])
            }
            Token::Word("in") => {
                let values = self.values()?;
                Requirement::new(key, Operator::In, values)
            }
            Token::Word("notin") => {
                let values = self.values()?;
                Requirement::new(key, Operator::NotIn, values)
            }
            token => Err(Error(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", token.text()))),
        }
    }

    fn exact_value(&mut self) -> Result<String, Error> {
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(value) => Ok(value.to_owned()),
            token => Err(Error(format!("found '{}', expected: identifier", token.text()))),
        }
    }

    /// `(a,b)`. A value may be empty: `()`, `(,a)`, `(a,)`.
    fn values(&mut self) -> Result<Vec<String>, Error> {
        match self.next() {
            Token::Open => {}
            token => return Err(Error(format!("found '{}' expected: '('", token.text()))),
        }
        let mut values = Vec::new();
        loop {
            match self.peek() {
                Token::Word(value) => {
                    self.next();
                    values.push(value.to_owned());
                }
                Token::Comma | Token::Close => values.push(String::new()),
                token => {
                    return Err(Error(format!("found '{}', expected: ',', ')' or identifier", token.text())));
                }
            }
            match self.next() {
                Token::Close => return Ok(values),
                Token::Comma => {}
                token => return Err(Error(format!("found '{}', expected: ',' or ')'", token.text()))),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
    use proptest::prelude::*;

    use super::*;

    fn labels(text: &str) -> BTreeMap<String, String> {
        let pair = |pair: &str| pair.split_once('=').map(|(key, value)| (key.to_owned(), value.to_owned()));
        text.split(',').filter_map(pair).collect()
    }

    #[test]
    fn selectors_print_canonically() {
        for (text, canonical) in [
            ("", ""),
            ("  ", ""),
            ("a", "a"),
            ("!a", "!a"),
            ("a=1", "a=1"),
            ("a==1", "a==1"),
            ("a = 1 , b != 2", "a=1,b!=2"),
            ("b,a", "a,b"),
            ("x=", "x="),
            ("x=,z=1", "x=,z=1"),
            ("x in (c,a,b,a)", "x in (a,b,c)"),
            ("x notin (foo,,baz)", "x notin (,baz,foo)"),
            ("x in ()", "x in ()"),
            ("x in (,)", "x in ()"),
            ("in in (in,notin)", "in in (in,notin)"),
            ("in=notin", "in=notin"),
            ("a>1,b<3", "a>1,b<3"),
            ("example.com/a-b in (x)", "example.com/a-b in (x)"),
        ] {
            let selector: Selector = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(selector.to_string(), canonical, "{text:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_in_upstreams_words() {
        for (text, why) in [
            (",", "found ',', expected: !, identifier, or 'end of string'"),
            ("a,", "found '', expected: identifier after ','"),
            ("a=1 b", "found 'b', expected: ',' or 'end of string'"),
            ("!", "unable to parse requirement: found '', expected: identifier"),
            ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
            ("a in x", "unable to parse requirement: found 'x' expected: '('"),
            ("a in (x", "unable to parse requirement: found '', expected: ',' or ')'"),
            ("a=(", "unable to parse requirement: found '(', expected: identifier"),
            (
                "a>x",
                "unable to parse requirement: values[0]: Invalid value: \"x\": for 'Gt', 'Lt' operators, the value \
                 must be an integer",
            ),
            (
                "a=-",
                "unable to parse requirement: values[0][a]: Invalid value: \"-\": a valid label must be an empty \
                 string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
                 alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is \
                 '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')",
            ),
            ("/a", "unable to parse requirement: <nil>: Invalid value: \"/a\": prefix part must be non-empty"),
        ] {
            assert_eq!(text.parse::<Selector>(), Err(Error(why.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn selectors_select() {
        for (selector, object, selected) in [
            ("", "", true),
            ("a=1", "a=1,b=2", true),
            ("a=1", "a=2", false),
            ("a=1", "", false),
            ("a!=1", "", true),
            ("a!=1", "a=1", false),
            ("a in (1,2)", "a=2", true),
            ("a in (1,2)", "a=3", false),
            ("a notin (1,2)", "b=1", true),
            ("a", "a=", true),
            ("!a", "a=", false),
            ("a>1", "a=2", true),
            ("a>1", "a=x", false),
            ("a<1", "a=1", false),
            ("a=", "a=", true),
            ("a=", "", false),
        ] {
            let parsed: Selector = selector.parse().unwrap();
            assert_eq!(parsed.matches(Some(&labels(object))), selected, "{selector:?} on {object:?}");
        }
        assert!(!Selector::Nothing.matches(None));
    }

    fn typed(key: &str, operator: &str, values: &[&str]) -> LabelSelector {
        LabelSelector {
            match_labels: Some(labels("app=web")),
            match_expressions: Some(vec![LabelSelectorRequirement {
                key: key.into(),
                operator: operator.into(),
                values: Some(values.iter().map(|value| (*value).to_owned()).collect()),
            }]),
        }
    }

    #[test]
    fn typed_selectors_are_the_same_thing() {
        assert_eq!(Selector::from_typed(None), Ok(Selector::Nothing));
        assert_eq!(Selector::from_typed(Some(&LabelSelector::default())), Ok(Selector::everything()));
        let selector = Selector::from_typed(Some(&typed("tier", "In", &["b", "a"]))).unwrap();
        assert_eq!(selector.to_string(), "app=web,tier in (a,b)");
        assert_eq!(selector.exact("app"), Some("web"));
        assert_eq!(selector.exact("tier"), None);
        let why = Selector::from_typed(Some(&typed("tier", "Near", &[]))).unwrap_err();
        assert_eq!(why.to_string(), "\"Near\" is not a valid label selector operator");
    }

    #[test]
    fn typed_selectors_are_validated() {
        for (selector, why) in [
            (typed("a", "In", &["x"]), ""),
            (
                typed("a", "In", &[]),
                "spec.selector.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' \
                 or 'NotIn'",
            ),
            (
                typed("a", "Exists", &["x"]),
                "spec.selector.matchExpressions[0].values: Forbidden: may not be specified when `operator` is \
                 'Exists' or 'DoesNotExist'",
            ),
            (
                typed("a", "Near", &["x"]),
                "spec.selector.matchExpressions[0].operator: Invalid value: \"Near\": not a valid selector operator",
            ),
        ] {
            let mut errors = Errors::default();
            validate(&selector, &Path::new("spec").child("selector"), &mut errors);
            assert_eq!(if errors.is_empty() { String::new() } else { errors.to_string() }, why);
        }
    }

    fn word() -> impl Strategy<Value = String> {
        prop::sample::select(vec!["a", "b", "in", "notin", "x.y", "1"]).prop_map(str::to_owned)
    }

    fn requirement() -> impl Strategy<Value = Requirement> {
        let one = (word(), word(), 0..3u8).prop_map(|(key, value, operator)| {
            let operator = [Operator::Equals, Operator::DoubleEquals, Operator::NotEquals][usize::from(operator)];
            Requirement::new(&key, operator, vec![value]).unwrap()
        });
        let set = (word(), prop::collection::vec(word(), 1..4), any::<bool>()).prop_map(|(key, values, positive)| {
            Requirement::new(&key, if positive { Operator::In } else { Operator::NotIn }, values).unwrap()
        });
        let presence = (word(), any::<bool>()).prop_map(|(key, positive)| {
            let operator = if positive { Operator::Exists } else { Operator::DoesNotExist };
            Requirement::new(&key, operator, Vec::new()).unwrap()
        });
        prop_oneof![one, set, presence]
    }

    /// What the documentation says that each operator means, on sets of pairs.
    fn model(requirement: &Requirement, labels: &BTreeMap<String, String>) -> bool {
        let any_pair =
            requirement.values.iter().any(|value| labels.iter().any(|(k, v)| *k == requirement.key && v == value));
        let present = labels.keys().any(|key| *key == requirement.key);
        match requirement.operator {
            Operator::Equals | Operator::DoubleEquals | Operator::In => any_pair,
            Operator::NotEquals | Operator::NotIn => !any_pair,
            Operator::Exists => present,
            Operator::DoesNotExist => !present,
            Operator::GreaterThan | Operator::LessThan => unreachable!("not generated"),
        }
    }

    proptest! {
        #[test]
        fn printed_selectors_parse_to_themselves(requirements in prop::collection::vec(requirement(), 0..5)) {
            let selector = Selector::new(requirements);
            prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }

        #[test]
        fn matching_agrees_with_the_model(
            requirements in prop::collection::vec(requirement(), 0..4),
            labels in prop::collection::btree_map(word(), word(), 0..4),
        ) {
            let expected = requirements.iter().all(|requirement| model(requirement, &labels));
            prop_assert_eq!(Selector::new(requirements).matches(Some(&labels)), expected);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[ab=!(),<> in\\PC]{0,24}") {
            let _ = text.parse::<Selector>();
        }
    }
}
