//! Values, and how they come from JSON and go back to it.

mod key;

use std::{cmp::Ordering, collections::BTreeMap, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use jiff::{SignedDuration, Timestamp};
use kube_cel::cel::objects::Opaque;
use serde_json::{Number, Value as Json};

pub use key::Key;

use super::{List, authority::Check, grouped::Grouping, kinds::Type, time};

/// A value that weighs more is not turned into JSON: the largest body of a request, and as much again in structure.
const JSON_LIMIT: u64 = 3 * 1024 * 1024 / 10 * 2;

/// A map's entries, in the order of their keys.
pub type Map = BTreeMap<Key, Value>;

/// A value. Cheap to clone.
#[derive(Clone)]
#[allow(missing_docs)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
    List(Arc<List>),
    Map(Arc<Map>),
    Duration(SignedDuration),
    Timestamp(Timestamp),
    Optional(Option<Arc<Value>>),
    /// The type of a value.
    Type(Arc<str>),
    /// A quantity, a URL, …: of Kubernetes' libraries.
    Library(Arc<dyn Opaque>),
    /// `authorizer`, and what is asked of it.
    Authority(Arc<Check>),
}

impl std::fmt::Debug for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Value::Null => f.write_str("null"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Int(value) => write!(f, "{value}"),
            Value::Uint(value) => write!(f, "{value}u"),
            Value::Double(value) => write!(f, "{value:?}"),
            Value::String(value) => write!(f, "{value:?}"),
            Value::Bytes(value) => write!(f, "b{value:?}"),
            Value::List(values) => f.debug_list().entries(values.iter()).finish(),
            Value::Map(map) => f.debug_map().entries(map.iter().map(|(key, value)| (key.value(), value))).finish(),
            Value::Duration(value) => write!(f, "duration({value:?})"),
            Value::Timestamp(value) => write!(f, "timestamp({value})"),
            Value::Optional(Some(value)) => write!(f, "optional({value:?})"),
            Value::Optional(None) => f.write_str("optional.none()"),
            Value::Type(name) => f.write_str(name),
            Value::Library(value) => write!(f, "{:?}", value.as_debug()),
            Value::Authority(_) => f.write_str("authorizer"),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::String(text.into())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::String(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Value::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Value::Int(value)
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Value::List(Arc::new(values.into()))
    }
}

impl From<Map> for Value {
    fn from(map: Map) -> Self {
        Value::Map(Arc::new(map))
    }
}

impl Value {
    /// An empty string, list or map, zero, false or null, as `optional.ofNonZeroValue` sees it.
    pub fn is_zero(&self) -> bool {
        match self {
            Value::Null | Value::Optional(None) => true,
            Value::Bool(value) => !value,
            Value::Int(value) => *value == 0,
            Value::Uint(value) => *value == 0,
            Value::Double(value) => *value == 0.0,
            Value::String(value) => value.is_empty(),
            Value::Bytes(value) => value.is_empty(),
            Value::List(values) => values.is_empty(),
            Value::Map(map) => map.is_empty(),
            Value::Duration(value) => value.is_zero(),
            _ => false,
        }
    }

    /// cel-go's name of its type.
    pub fn type_name(&self) -> &str {
        match self {
            Value::Null => "null_type",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Uint(_) => "uint",
            Value::Double(_) => "double",
            Value::String(_) => "string",
            Value::Bytes(_) => "bytes",
            Value::List(_) => "list",
            Value::Map(_) => "map",
            Value::Duration(_) => "google.protobuf.Duration",
            Value::Timestamp(_) => "google.protobuf.Timestamp",
            Value::Optional(_) => "optional_type",
            Value::Type(_) => "type",
            Value::Library(value) => value.runtime_type_name(),
            Value::Authority(check) => check.type_name(),
        }
    }

    /// How much of it there is: bytes of text, elements, entries; 1 for the rest.
    pub fn size(&self) -> usize {
        match self {
            Value::String(value) => value.len(),
            Value::Bytes(value) => value.len(),
            Value::List(values) => values.len(),
            Value::Map(map) => map.len(),
            Value::Optional(Some(value)) => value.size(),
            _ => 1,
        }
    }

    /// JSON as a value without a schema.
    pub fn from_json(json: &Json) -> Self {
        Self::from_typed_json(json, &Type::Dyn)
    }

    /// JSON as a value of this type: a `date-time` is a timestamp where the schema says so. What does not fit stays as
    /// it is.
    pub fn from_typed_json(json: &Json, wanted: &Type) -> Self {
        match (json, wanted) {
            (Json::Null, _) => Value::Null,
            (Json::Bool(value), _) => Value::Bool(*value),
            (Json::Number(value), Type::Double) => Value::Double(value.as_f64().unwrap_or_default()),
            (Json::Number(value), _) => match (value.as_i64(), value.as_u64()) {
                (Some(value), _) => Value::Int(value),
                (None, Some(value)) => Value::Uint(value),
                (None, None) => Value::Double(value.as_f64().unwrap_or_default()),
            },
            (Json::String(text), Type::Timestamp) => {
                time::timestamp(text).map_or_else(|_| text.as_str().into(), Value::Timestamp)
            }
            (Json::String(text), Type::Duration) => {
                time::duration(text).map_or_else(|_| text.as_str().into(), Value::Duration)
            }
            (Json::String(text), Type::Bytes) => {
                STANDARD.decode(text).map_or_else(|_| text.as_str().into(), |bytes| Value::Bytes(bytes.into()))
            }
            (Json::String(text), _) => text.as_str().into(),
            (Json::Array(values), wanted) => {
                let (element, grouping) = match wanted {
                    Type::List(element, grouping) => (&**element, grouping.clone()),
                    _ => (&Type::Dyn, Grouping::Atomic),
                };
                let elements = values.iter().map(|value| Self::from_typed_json(value, element)).collect();
                Value::List(Arc::new(List::grouped(elements, grouping)))
            }
            (Json::Object(map), Type::Object(object)) => {
                let entry = |(name, value): (&String, &Json)| {
                    let field = object.named(name);
                    let (name, wanted) =
                        field.map_or((name.as_str(), &Type::Dyn), |(escaped, wanted)| (escaped, wanted));
                    (Key::from(name), Self::from_typed_json(value, wanted))
                };
                map.iter().map(entry).collect::<Map>().into()
            }
            (Json::Object(map), wanted) => {
                let element = if let Type::Map(_, element) = wanted { element } else { &Type::Dyn };
                let entry =
                    |(name, value): (&String, &Json)| (Key::from(name.as_str()), Self::from_typed_json(value, element));
                map.iter().map(entry).collect::<Map>().into()
            }
        }
    }

    /// What it costs to go through all of it; `None` where that is more than `limit`. A value may hold another many times.
    pub fn weight(&self, limit: u64) -> Option<u64> {
        let mut left = limit;
        self.weigh(&mut left).map(|()| limit - left)
    }

    fn weigh(&self, left: &mut u64) -> Option<()> {
        *left = left.checked_sub(1)?;
        match self {
            Value::String(text) => *left = left.checked_sub(text.len() as u64 / 10)?,
            Value::Bytes(bytes) => *left = left.checked_sub(bytes.len() as u64 / 10)?,
            Value::List(values) => values.iter().try_for_each(|value| value.weigh(left))?,
            Value::Map(map) => map.values().try_for_each(|value| value.weigh(left))?,
            Value::Optional(Some(value)) => value.weigh(left)?,
            _ => {}
        }
        Some(())
    }

    /// The value as JSON; `None` for what JSON cannot say, and for too much of it.
    pub fn to_json(&self) -> Option<Json> {
        self.weight(JSON_LIMIT)?;
        self.json()
    }

    fn json(&self) -> Option<Json> {
        Some(match self {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Int(value) => Json::from(*value),
            Value::Uint(value) => Json::from(*value),
            Value::Double(value) if value.fract() == 0.0 && value.abs() < 9.0e15 => Json::from(*value as i64),
            Value::Double(value) => Json::Number(Number::from_f64(*value)?),
            Value::String(value) => Json::String(value.to_string()),
            Value::Bytes(value) => Json::String(STANDARD.encode(value)),
            Value::List(values) => values.iter().map(Value::json).collect::<Option<Vec<_>>>()?.into(),
            Value::Map(map) => {
                let entry = |(key, value): (&Key, &Value)| Some((key.to_string(), value.json()?));
                Json::Object(map.iter().map(entry).collect::<Option<_>>()?)
            }
            Value::Duration(value) => Json::String(time::show_duration(*value)),
            Value::Timestamp(value) => Json::String(value.to_string()),
            Value::Optional(Some(value)) => value.json()?,
            Value::Optional(None) => Json::Null,
            Value::Type(_) | Value::Authority(_) => return None,
            Value::Library(_) => Json::String(super::library::text(self)?),
        })
    }
}

impl PartialEq for Value {
    fn eq(&self, other: &Self) -> bool {
        self.equals(other, &mut JSON_LIMIT.clone()).unwrap_or(false)
    }
}

impl Value {
    /// cel-go's equality: numbers by their value, whatever their types; different types are different. `None` where it
    /// takes more steps than are left.
    pub fn equals(&self, other: &Self, left: &mut u64) -> Option<bool> {
        *left = left.checked_sub(1)?;
        let mut text = |a: usize, b: usize| {
            *left = left.checked_sub(if a == b { a as u64 / 10 } else { 0 })?;
            Some(())
        };
        Some(match (self, other) {
            (Value::Null, Value::Null) => true,
            (Value::Bool(a), Value::Bool(b)) => a == b,
            (Value::String(a), Value::String(b)) => {
                text(a.len(), b.len())?;
                a == b
            }
            (Value::Bytes(a), Value::Bytes(b)) => {
                text(a.len(), b.len())?;
                a == b
            }
            (Value::List(a), Value::List(b)) => a.equals(b, left)?,
            (Value::Map(a), Value::Map(b)) => {
                if a.len() != b.len() {
                    return Some(false);
                }
                for ((a_key, a), (b_key, b)) in a.iter().zip(b.iter()) {
                    if a_key != b_key || !a.equals(b, left)? {
                        return Some(false);
                    }
                }
                true
            }
            (Value::Duration(a), Value::Duration(b)) => a == b,
            (Value::Timestamp(a), Value::Timestamp(b)) => a == b,
            (Value::Optional(Some(a)), Value::Optional(Some(b))) => a.equals(b, left)?,
            (Value::Optional(a), Value::Optional(b)) => a.is_none() && b.is_none(),
            (Value::Type(a), Value::Type(b)) => a == b,
            (Value::Library(a), Value::Library(b)) => a.opaque_eq(&**b),
            (Value::Authority(a), Value::Authority(b)) => Arc::ptr_eq(a, b),
            (a, b) => a.is_number() && b.is_number() && compare_numbers(a, b) == Some(Ordering::Equal),
        })
    }
}

impl Value {
    fn is_number(&self) -> bool {
        matches!(self, Value::Int(_) | Value::Uint(_) | Value::Double(_))
    }

    /// Which comes first; `None` for what has no order.
    pub fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => Some(a.cmp(b)),
            (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
            (Value::Bytes(a), Value::Bytes(b)) => Some(a.cmp(b)),
            (Value::Duration(a), Value::Duration(b)) => Some(a.cmp(b)),
            (Value::Timestamp(a), Value::Timestamp(b)) => Some(a.cmp(b)),
            (a, b) if a.is_number() && b.is_number() => compare_numbers(a, b),
            _ => None,
        }
    }
}

impl Value {
    /// As [`Value::compare`], but total, as sorting needs it: integers and floating-point numbers by their exact values.
    pub fn order(&self, other: &Self) -> Ordering {
        let whole = |value: &Value| match value {
            Value::Int(value) => Some(i128::from(*value)),
            Value::Uint(value) => Some(i128::from(*value)),
            _ => None,
        };
        // What is larger than an `i128` is cut to its bounds, which no integer reaches.
        let mixed = |whole: i128, real: f64| {
            let fraction = real.fract().partial_cmp(&0.0).unwrap_or(Ordering::Equal);
            whole.cmp(&(real.trunc() as i128)).then(fraction.reverse())
        };
        match (self, other, whole(self), whole(other)) {
            (Value::Double(a), _, _, Some(b)) => mixed(b, *a).reverse(),
            (_, Value::Double(b), Some(a), _) => mixed(a, *b),
            (a, b, ..) => a.compare(b).unwrap_or(Ordering::Equal),
        }
    }
}

fn compare_numbers(a: &Value, b: &Value) -> Option<Ordering> {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Uint(a), Value::Uint(b)) => Some(a.cmp(b)),
        (Value::Double(a), Value::Double(b)) => a.partial_cmp(b),
        (Value::Int(a), Value::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Uint(a), Value::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
        (Value::Int(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
        (Value::Uint(a), Value::Double(b)) => (*a as f64).partial_cmp(b),
        (Value::Double(a), Value::Int(b)) => a.partial_cmp(&(*b as f64)),
        (Value::Double(a), Value::Uint(b)) => a.partial_cmp(&(*b as f64)),
        _ => None,
    }
}
