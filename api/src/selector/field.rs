//! Field selectors: `spec.nodeName=node-1,status.phase!=Failed`. Source of grammar and wording: `k8s.io/apimachinery/pkg/fields`.

use std::{fmt, str::FromStr};

use super::Error;

/// One field is, or is not, a value.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Requirement {
    /// The field's path: `metadata.name`.
    pub field: String,
    /// It must be (`true`) or must not be (`false`) this value.
    pub equal: bool,
    /// The value.
    pub value: String,
}

/// All of its requirements must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Selector(Vec<Requirement>);

impl Selector {
    /// Selects what has this value in this field.
    pub fn equal(field: &str, value: &str) -> Self {
        Self(vec![Requirement { field: field.to_owned(), equal: true, value: value.to_owned() }])
    }

    /// What must hold.
    pub fn requirements(&self) -> &[Requirement] {
        &self.0
    }

    /// It selects everything.
    pub fn is_everything(&self) -> bool {
        self.0.is_empty()
    }

    /// The value that a field must have, if it must have one.
    pub fn exact(&self, field: &str) -> Option<&str> {
        self.0.iter().find(|wanted| wanted.equal && wanted.field == field).map(|wanted| wanted.value.as_str())
    }

    /// The object whose fields `value_of` tells is selected. A field that it does not know is empty.
    pub fn matches<'a>(&self, value_of: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|wanted| (value_of(&wanted.field).unwrap_or_default() == wanted.value) == wanted.equal)
    }

    /// Refuses fields that a kind cannot be selected by; `extra` are those besides its name and namespace.
    pub fn check(&self, extra: &[&str]) -> Result<(), Error> {
        let supported = |field: &str| matches!(field, "metadata.name" | "metadata.namespace") || extra.contains(&field);
        match self.0.iter().find(|wanted| !supported(&wanted.field)) {
            None => Ok(()),
            Some(wanted) if extra.is_empty() => Err(Error(format!(
                "{:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\"",
                wanted.field
            ))),
            Some(wanted) => Err(Error(format!("field label not supported: {}", wanted.field))),
        }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, Requirement { field, equal, value }) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            write!(f, "{comma}{field}{}{}", if *equal { "=" } else { "!=" }, escape(value))?;
        }
        Ok(())
    }
}

/// A value as it stands in a selector: `\`, `,` and `=` behind a backslash.
pub fn escape(value: &str) -> String {
    value.replace('\\', "\\\\").replace(',', "\\,").replace('=', "\\=")
}

fn unescape(text: &str) -> Result<String, Error> {
    let mut value = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(escaped @ ('\\' | ',' | '=')) => value.push(escaped),
                other => {
                    let sequence: String = [Some('\\'), other].into_iter().flatten().collect();
                    return Err(Error(format!("invalid field selector: invalid escape sequence: {sequence}")));
                }
            },
            // Upstream prints the character as a number.
            ',' | '=' => {
                return Err(Error(format!("invalid field selector: unescaped character in value: {}", u32::from(c))));
            }
            c => value.push(c),
        }
    }
    Ok(value)
}

/// The terms between commas that are not escaped.
fn terms(text: &str) -> Vec<&str> {
    let (mut terms, mut start, mut escaped) = (Vec::new(), 0, false);
    for (i, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            ',' => {
                terms.push(&text[start..i]);
                start = i + 1;
            }
            _ => {}
        }
    }
    terms.push(&text[start..]);
    terms
}

/// The field, whether it must be equal, and the value as written.
fn split(term: &str) -> Option<(&str, bool, &str)> {
    const OPERATORS: [(&str, bool); 3] = [("!=", false), ("==", true), ("=", true)];
    term.char_indices().find_map(|(at, _)| {
        let (field, rest) = term.split_at(at);
        OPERATORS.iter().find_map(|(operator, equal)| rest.strip_prefix(operator).map(|value| (field, *equal, value)))
    })
}

impl FromStr for Selector {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let mut terms = terms(text);
        terms.sort_unstable();
        let mut requirements = Vec::new();
        for term in terms.into_iter().filter(|term| !term.is_empty()) {
            let (field, equal, value) =
                split(term).ok_or_else(|| Error(format!("invalid selector: '{text}'; can't understand '{term}'")))?;
            requirements.push(Requirement { field: field.to_owned(), equal, value: unescape(value)? });
        }
        Ok(Self(requirements))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn selectors_parse_and_print() {
        for (text, printed) in [
            ("", ""),
            (",", ""),
            ("a=1", "a=1"),
            ("a==1", "a=1"),
            ("b!=2,a=1", "a=1,b!=2"),
            ("a=", "a="),
            (r"a=x\,y\=z\\", r"a=x\,y\=z\\"),
            ("spec.nodeName!=,metadata.name=web", "metadata.name=web,spec.nodeName!="),
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().to_string(), printed, "{text:?}");
        }
    }

    #[test]
    fn nonsense_is_refused_in_upstreams_words() {
        for (text, why) in [
            ("a", "invalid selector: 'a'; can't understand 'a'"),
            ("a=1,b", "invalid selector: 'a=1,b'; can't understand 'b'"),
            ("a=b=c", "invalid field selector: unescaped character in value: 61"),
            (r"a=\x", r"invalid field selector: invalid escape sequence: \x"),
            (r"a=\", r"invalid field selector: invalid escape sequence: \"),
        ] {
            assert_eq!(text.parse::<Selector>(), Err(Error(why.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn selectors_select() {
        let fields = |name: &str| match name {
            "metadata.name" => Some("web"),
            "spec.nodeName" => Some(""),
            _ => None,
        };
        for (text, selected) in [
            ("", true),
            ("metadata.name=web", true),
            ("metadata.name!=web", false),
            ("metadata.name=web,spec.nodeName=", true),
            ("spec.nodeName!=", false),
        ] {
            assert_eq!(text.parse::<Selector>().unwrap().matches(fields), selected, "{text:?}");
        }
        let selector: Selector = "spec.x=1".parse().unwrap();
        let why = selector.check(&["spec.nodeName"]).unwrap_err();
        assert_eq!(why.to_string(), "field label not supported: spec.x");
        let why = selector.check(&[]).unwrap_err().to_string();
        assert_eq!(why, "\"spec.x\" is not a known field selector: only \"metadata.name\", \"metadata.namespace\"");
    }

    proptest! {
        #[test]
        fn any_value_survives_printing(value in "\\PC{0,12}") {
            let selector = Selector::equal("metadata.name", &value);
            prop_assert_eq!(selector.to_string().parse::<Selector>(), Ok(selector));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[a!=,\\\\é]{0,16}") {
            let _ = text.parse::<Selector>();
        }
    }
}
