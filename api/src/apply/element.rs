//! One step of a path into an object. Source of the order and of both texts: `fieldpath/element.go`,
//! `fieldpath/serialize-pe.go` of `sigs.k8s.io/structured-merge-diff`.

use std::{cmp::Ordering, fmt};

use serde_json::{Map, Number, Value};

/// A field, or an element of a list.
#[derive(Clone, Debug)]
pub enum Element {
    /// `f:name`: a field of an object or a key of a map.
    Field(Box<str>),
    /// `k:{"name":"x"}`: the element of a list with these values in its keys, sorted by name.
    Key(Box<[(Box<str>, Value)]>),
    /// `v:"x"`: the element of a set.
    Value(Value),
    /// `i:3`: the element at a place.
    Index(i64),
}

/// A text is no path element.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no path element")]
pub struct NoElement(String);

impl Element {
    /// A field.
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// The element that a key of FieldsV1 names; `None` for sorts of elements that this version does not know.
    pub fn parse(text: &str) -> Result<Option<Self>, NoElement> {
        let no_element = || NoElement(text.to_owned());
        let (sort, rest) = text.split_once(':').filter(|(sort, _)| sort.len() == 1).ok_or_else(no_element)?;
        Ok(match sort {
            "f" => Some(Self::field(rest)),
            "v" => Some(Self::Value(serde_json::from_str(rest).map_err(|_| no_element())?)),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).map_err(|_| no_element())?;
                Some(Self::Key(keys.into_iter().map(|(name, value)| (name.into(), value)).collect()))
            }
            "i" => Some(Self::Index(rest.parse().map_err(|_| no_element())?)),
            _ => None,
        })
    }

    /// The key of FieldsV1 that names it.
    pub fn to_text(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => {
                let mut text = "k:{".to_owned();
                for (i, (name, value)) in keys.iter().enumerate() {
                    text += if i > 0 { "," } else { "" };
                    text += &json(&Value::from(&**name));
                    text.push(':');
                    text += &json(value);
                }
                text + "}"
            }
            Self::Value(value) => format!("v:{}", json(value)),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

/// JSON as Go writes it by default: fit for HTML.
fn json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['<', '>', '&']) {
        return text;
    }
    text.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

impl Ord for Element {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => {
                let pairs = a.iter().zip(b.iter());
                let differing = pairs.map(|((a, x), (b, y))| a.cmp(b).then_with(|| compare_values(x, y)));
                differing.fold(Ordering::Equal, Ordering::then).then(a.len().cmp(&b.len()))
            }
            (Self::Value(a), Self::Value(b)) => compare_values(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for Element {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Element {}

/// Numbers come first, then texts, truths, lists, objects, and nothing. Source: `value.Compare`.
fn compare_values(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    };
    match (a, b) {
        (Value::Number(x), Value::Number(y)) => compare_numbers(x, y),
        (Value::String(x), Value::String(y)) => x.cmp(y),
        (Value::Bool(x), Value::Bool(y)) => x.cmp(y),
        (Value::Array(x), Value::Array(y)) => {
            let differing = x.iter().zip(y).map(|(x, y)| compare_values(x, y));
            differing.fold(Ordering::Equal, Ordering::then).then(x.len().cmp(&y.len()))
        }
        (Value::Object(x), Value::Object(y)) => {
            let differing = x.iter().zip(y).map(|((a, x), (b, y))| a.cmp(b).then_with(|| compare_values(x, y)));
            differing.fold(Ordering::Equal, Ordering::then).then(x.len().cmp(&y.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}

/// By the exact value: an order through `f64` would not be transitive, which sorting does not forgive.
fn compare_numbers(a: &Number, b: &Number) -> Ordering {
    let real = |number: &Number| number.as_f64().unwrap_or_default();
    match (a.as_i128(), b.as_i128()) {
        (Some(a), Some(b)) => a.cmp(&b),
        (Some(a), None) => whole_and_real(a, real(b)),
        (None, Some(b)) => whole_and_real(b, real(a)).reverse(),
        (None, None) => real(a).partial_cmp(&real(b)).unwrap_or(Ordering::Equal),
    }
}

fn whole_and_real(whole: i128, real: f64) -> Ordering {
    // What is larger than an `i128` is cut to its bounds, which no number of JSON's integers reaches.
    let fraction = real.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal);
    whole.cmp(&(real.trunc() as i128)).then(fraction.reverse())
}

/// Values are equal, numbers whatever they are written like.
pub(super) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(_), Value::Number(_)) => compare_values(a, b) == Ordering::Equal,
        (Value::Array(x), Value::Array(y)) => x.len() == y.len() && x.iter().zip(y).all(|(x, y)| equal(x, y)),
        (Value::Object(x), Value::Object(y)) => {
            x.len() == y.len() && x.iter().zip(y).all(|((a, x), (b, y))| a == b && equal(x, y))
        }
        _ => a == b,
    }
}

/// As messages write it: `.name`, `[name="x",port=80]`, `[="x"]`, `[3]`.
impl fmt::Display for Element {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(keys) => {
                f.write_str("[")?;
                for (i, (name, value)) in keys.iter().enumerate() {
                    write!(f, "{}{name}={value}", if i > 0 { "," } else { "" })?;
                }
                f.write_str("]")
            }
            Self::Value(value) => write!(f, "[={value}]"),
            Self::Index(index) => write!(f, "[{index}]"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn elements_are_written_as_upstream_does() {
        for (text, shown) in [
            ("f:replicas", ".replicas"),
            ("f:app.kubernetes.io/name", ".app.kubernetes.io/name"),
            (r#"k:{"containerPort":80,"protocol":"TCP"}"#, r#"[containerPort=80,protocol="TCP"]"#),
            (r#"k:{"name":"a\u0026b"}"#, r#"[name="a&b"]"#),
            (r#"v:"kubernetes.io/x""#, r#"[="kubernetes.io/x"]"#),
            ("v:1.5", "[=1.5]"),
            ("i:3", "[3]"),
        ] {
            let element = Element::parse(text).unwrap().unwrap();
            assert_eq!((element.to_text().as_str(), element.to_string().as_str()), (text, shown));
        }
        assert_eq!(Element::parse("x:new").unwrap(), None);
        for wrong in ["", "f", "fields:x", "k:1", "v:", "i:x", "."] {
            assert!(Element::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn numbers_have_one_order_however_they_are_written() {
        let texts = [
            "-1e300",
            "-9223372036854775808",
            "-0.5",
            "0",
            "9007199254740992",
            "9007199254740993",
            "18446744073709551615",
            "1e300",
        ];
        let numbers = texts.map(|text| serde_json::from_str::<Value>(text).unwrap());
        assert!(numbers.is_sorted_by(|a, b| compare_values(a, b).is_lt()));
        let real = serde_json::from_str("9007199254740992.0").unwrap();
        assert_eq!(compare_values(&numbers[4], &real), Ordering::Equal);
        assert_eq!(compare_values(&numbers[5], &real), Ordering::Greater);
        assert_eq!(compare_values(&numbers[3], &serde_json::from_str("-0.0").unwrap()), Ordering::Equal);
    }

    #[test]
    fn elements_have_an_order() {
        let ordered = [
            "f:a",
            "f:b",
            r#"k:{"name":"x"}"#,
            r#"k:{"port":80}"#,
            r#"k:{"port":80,"protocol":"TCP"}"#,
            r#"k:{"port":443}"#,
            "v:2",
            "v:10",
            r#"v:"a""#,
            "v:true",
            "i:2",
            "i:10",
        ];
        let elements: Vec<_> = ordered.map(|text| Element::parse(text).unwrap().unwrap()).into();
        assert!(elements.is_sorted());
        assert_eq!(Element::parse("v:1").unwrap(), Element::parse("v:1.0").unwrap(), "numbers are numbers");
    }
}
