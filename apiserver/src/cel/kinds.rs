//! Types of expressions.

use std::{collections::BTreeMap, fmt, sync::Arc};

use super::grouped::Grouping;

/// A type.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs)]
pub enum Type {
    /// Known only when there is a value.
    Dyn,
    Null,
    Bool,
    Int,
    Uint,
    Double,
    String,
    Bytes,
    Timestamp,
    Duration,
    List(Arc<Type>, Grouping),
    Map(Arc<Type>, Arc<Type>),
    Optional(Arc<Type>),
    /// The type of types.
    Type,
    /// A record with known fields.
    Object(Arc<ObjectType>),
    /// A type of one of Kubernetes' libraries, or an object that a mutation makes: `kubernetes.URL`, `Object.spec`.
    Named(Arc<str>),
    /// Whatever fits, the same throughout a function's signature.
    Parameter(char),
}

/// A record.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct ObjectType {
    /// How errors name it.
    pub name: Arc<str>,
    /// Its fields, under the names that expressions use for them.
    pub fields: BTreeMap<Arc<str>, Type>,
    /// The names that objects use where they differ: `$ref` is written `__dollar__ref`… in an expression.
    pub escaped: BTreeMap<Arc<str>, Arc<str>>,
}

impl ObjectType {
    /// A record with these fields.
    pub fn new<'a>(name: &str, fields: impl IntoIterator<Item = (&'a str, Type)>) -> Self {
        let fields = fields.into_iter().map(|(name, kind)| (Arc::from(name), kind)).collect();
        Self { name: name.into(), fields, escaped: BTreeMap::new() }
    }

    /// The field that objects name so: how expressions name it, and its type.
    pub fn named(&self, name: &str) -> Option<(&str, &Type)> {
        let name = self.escaped.get(name).map_or(name, |escaped| escaped);
        self.fields.get_key_value(name).map(|(name, kind)| (&**name, kind))
    }
}

impl Type {
    /// A list of these.
    pub fn list(element: Type) -> Self {
        Type::List(Arc::new(element), Grouping::Atomic)
    }

    /// A map.
    pub fn map(key: Type, value: Type) -> Self {
        Type::Map(Arc::new(key), Arc::new(value))
    }

    /// A value of this type, or none.
    pub fn optional(of: Type) -> Self {
        Type::Optional(Arc::new(of))
    }

    /// A record.
    pub fn object(object: ObjectType) -> Self {
        Type::Object(Arc::new(object))
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Type::Dyn => f.write_str("dyn"),
            Type::Null => f.write_str("null"),
            Type::Bool => f.write_str("bool"),
            Type::Int => f.write_str("int"),
            Type::Uint => f.write_str("uint"),
            Type::Double => f.write_str("double"),
            Type::String => f.write_str("string"),
            Type::Bytes => f.write_str("bytes"),
            Type::Timestamp => f.write_str("timestamp"),
            Type::Duration => f.write_str("duration"),
            Type::List(element, _) => write!(f, "list({element})"),
            Type::Map(key, value) => write!(f, "map({key}, {value})"),
            Type::Optional(of) => write!(f, "optional_type({of})"),
            Type::Type => f.write_str("type"),
            Type::Object(object) => f.write_str(&object.name),
            Type::Named(name) => f.write_str(name),
            Type::Parameter(name) => write!(f, "{name}"),
        }
    }
}

/// What parameters stand for so far.
#[derive(Default)]
pub struct Bindings(Vec<(char, Type)>);

impl Bindings {
    /// `given` can be used where `wanted` is. Parameters of `wanted` are bound on the way.
    pub fn fits(&mut self, given: &Type, wanted: &Type) -> bool {
        match (given, wanted) {
            (given, Type::Parameter(name)) => match self.0.iter().position(|(bound, _)| bound == name) {
                None => {
                    self.0.push((*name, given.clone()));
                    true
                }
                Some(i) => {
                    let bound = self.0[i].1.clone();
                    // A more exact type takes the place of one that is open.
                    if matches!(bound, Type::Dyn | Type::Null) || open(&bound) {
                        if given != &Type::Null {
                            self.0[i].1 = given.clone();
                        }
                        return self.fits(&bound, given)
                            || bound == Type::Null && nullable(given)
                            || self.fits(given, &bound);
                    }
                    self.fits(given, &bound) || self.fits(&bound, given)
                }
            },
            (Type::Dyn, _) | (_, Type::Dyn) => true,
            (Type::List(given, _), Type::List(wanted, _)) => self.fits(given, wanted),
            (Type::Map(key, value), Type::Map(wanted_key, wanted_value)) => {
                self.fits(key, wanted_key) && self.fits(value, wanted_value)
            }
            (Type::Optional(given), Type::Optional(wanted)) => self.fits(given, wanted),
            (Type::Null, wanted) => nullable(wanted),
            (Type::Object(given), Type::Object(wanted)) => given.name == wanted.name,
            (given, wanted) => given == wanted,
        }
    }

    /// A type with the parameters replaced; `dyn` for those that nothing is known of.
    pub fn apply(&self, kind: &Type) -> Type {
        match kind {
            Type::Parameter(name) => {
                self.0.iter().find(|(bound, _)| bound == name).map_or(Type::Dyn, |(_, kind)| kind.clone())
            }
            Type::List(element, grouping) => Type::List(self.apply(element).into(), grouping.clone()),
            Type::Map(key, value) => Type::map(self.apply(key), self.apply(value)),
            Type::Optional(of) => Type::optional(self.apply(of)),
            kind => kind.clone(),
        }
    }
}

/// Something in it is open: an empty list.
fn open(kind: &Type) -> bool {
    match kind {
        Type::Dyn => true,
        Type::List(element, _) => open(element),
        Type::Map(key, value) => open(key) || open(value),
        Type::Optional(of) => open(of),
        _ => false,
    }
}

/// `null` may stand for a value of this type.
fn nullable(kind: &Type) -> bool {
    matches!(
        kind,
        Type::Null
            | Type::Dyn
            | Type::Timestamp
            | Type::Duration
            | Type::Object(_)
            | Type::Named(_)
            | Type::Optional(_)
    )
}
