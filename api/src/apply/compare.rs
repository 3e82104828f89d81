//! What differs between two states of an object, by its type. Source: `typed/compare.go` of
//! `sigs.k8s.io/structured-merge-diff`.

use serde_json::{Map, Value};

use super::{
    element::{Element, equal},
    set::Set,
    typed::{Fields, Kind, Problems, elements},
};
use crate::patch::schema::{List, Owned, Schema};

/// No path is in more than one of the sets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Only in the old state.
    pub removed: Set,
    /// In both, and different.
    pub modified: Set,
    /// Only in the new state.
    pub added: Set,
}

impl Comparison {
    /// Without paths in `ignored` and those below them.
    #[must_use]
    pub fn without(self, ignored: &Set) -> Self {
        if ignored.is_empty() {
            return self;
        }
        Self {
            removed: self.removed.without_trees(ignored),
            modified: self.modified.without_trees(ignored),
            added: self.added.without_trees(ignored),
        }
    }

    /// What the new state brought.
    pub fn changed(&self) -> Set {
        if self.modified.is_empty() {
            return self.added.clone();
        }
        self.modified.union(&self.added)
    }

    fn attach(&mut self, element: Element, change: Option<Change>, below: Comparison) {
        let parts = [
            (&mut self.removed, Change::Removed, below.removed),
            (&mut self.modified, Change::Modified, below.modified),
            (&mut self.added, Change::Added, below.added),
        ];
        for (set, kind, below) in parts {
            let member = change == Some(kind);
            if member || !below.is_empty() {
                set.attach(element.clone(), member, below);
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Removed,
    Modified,
    Added,
}

/// One state of a value.
#[derive(Clone, Copy)]
enum Side<'a> {
    Absent,
    /// Not written, and there all the same: the zero of its Go type.
    Zero,
    Here(&'a Value),
}

impl<'a> Side<'a> {
    fn value(self) -> Option<&'a Value> {
        match self {
            Self::Here(value) => Some(value),
            Self::Absent | Self::Zero => None,
        }
    }

    fn is_absent(self) -> bool {
        matches!(self, Self::Absent)
    }

    fn equals(self, other: Self) -> bool {
        match (self, other) {
            (Self::Here(a), Self::Here(b)) => equal(a, b),
            (Self::Here(value), Self::Zero) | (Self::Zero, Self::Here(value)) => match value {
                Value::Null => true,
                Value::Bool(truth) => !truth,
                Value::Number(number) => number.as_f64() == Some(0.0),
                Value::String(text) => text.is_empty(),
                Value::Object(fields) => fields.is_empty(),
                Value::Array(_) => false,
            },
            (Self::Absent, Self::Absent) | (Self::Zero, Self::Zero) => true,
            _ => false,
        }
    }

    fn fields(self) -> Option<&'a Map<String, Value>> {
        self.value().and_then(Value::as_object)
    }

    fn elements(self) -> &'a [Value] {
        self.value().and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }
}

/// Compares the states of an object; an old one of `None` is an object of its type with nothing in it.
pub fn compare(old: Option<&Value>, new: &Value, schema: &Schema) -> Result<Comparison, Problems> {
    let old = old.map_or(Side::Zero, Side::Here);
    Ok(walk(old, Side::Here(new), schema)?.1)
}

type Walked = (Option<Change>, Comparison);

fn walk(old: Side, new: Side, schema: &Schema) -> Result<Walked, Problems> {
    // A shortcut: most of an object stays the same.
    if let (Side::Here(a), Side::Here(b)) = (old, new)
        && a == b
    {
        return Ok((None, Comparison::default()));
    }
    let (was, is) = (Kind::of(schema, old.value()), Kind::of(schema, new.value()));
    match (old.value(), new.value()) {
        (_, None) => of_kind(was, old, new),
        (None, _) => of_kind(is, old, new),
        (Some(_), Some(_)) if was.is_like(is) => of_kind(is, old, new),
        (Some(_), Some(_)) => {
            let (one, mut below) = of_kind(was, old, new)?;
            let (two, more) = of_kind(is, old, new)?;
            below.removed = below.removed.union(&more.removed);
            below.modified = below.modified.union(&more.modified);
            below.added = below.added.union(&more.added);
            Ok((one.or(two), below))
        }
    }
}

fn of_kind(kind: Kind, old: Side, new: Side) -> Result<Walked, Problems> {
    let whole = match kind {
        Kind::Scalar(_) | Kind::List(None | Some(List { owned: Owned::Whole, .. })) => true,
        Kind::Object(fields) => {
            let empty = |side: Side| side.fields().is_none_or(Map::is_empty);
            fields.is_atomic() || (empty(old) && empty(new))
        }
        Kind::List(Some(_)) => old.elements().is_empty() && new.elements().is_empty(),
    };
    let change = match (old, new) {
        _ if old.is_absent() => Some(Change::Added),
        _ if new.is_absent() => Some(Change::Removed),
        _ if whole && !old.equals(new) => Some(Change::Modified),
        _ => None,
    };
    let below = match kind {
        _ if whole => Comparison::default(),
        Kind::Object(fields) => compare_fields(fields, old, new)?,
        Kind::List(Some(list)) => compare_elements(list, old.elements(), new.elements())?,
        Kind::List(None) | Kind::Scalar(_) => Comparison::default(),
    };
    Ok((change, below))
}

fn compare_fields(fields: Fields, old: Side, new: Side) -> Result<Comparison, Problems> {
    let mut comparison = Comparison::default();
    let none = Map::new();
    let (was, is) = (old.fields().unwrap_or(&none), new.fields().unwrap_or(&none));
    // What is not written and there all the same.
    let missing = |side: Side, name: &str| {
        let always = match fields {
            Fields::Known(object) => object.field(name).is_some_and(|field| field.always),
            Fields::Any(_) => false,
        };
        if always && !side.is_absent() { Side::Zero } else { Side::Absent }
    };
    let mut one = |name: &str, old: Side, new: Side| {
        let Some((schema, _)) = fields.child(name) else { return Ok(()) };
        let element = Element::field(name);
        let (change, below) = walk(old, new, schema).map_err(|problems| problems.under(&element))?;
        comparison.attach(element, change, below);
        Ok(())
    };
    let (mut before, mut after) = (was.iter().peekable(), is.iter().peekable());
    loop {
        match (before.peek(), after.peek()) {
            (Some((a, x)), Some((b, y))) if a == b => {
                if x != y {
                    one(a, Side::Here(x), Side::Here(y))?;
                }
                before.next();
                after.next();
            }
            (Some((a, x)), other) if other.is_none_or(|(b, _)| a < b) => {
                one(a, Side::Here(x), missing(new, a))?;
                before.next();
            }
            (_, Some((b, y))) => {
                one(b, missing(old, b), Side::Here(y))?;
                after.next();
            }
            _ => break,
        }
    }
    // An object that comes or goes has also what is not written.
    if let (Fields::Known(object), true) = (fields, old.is_absent() != new.is_absent()) {
        for (name, _) in object.always().filter(|(name, _)| !was.contains_key(*name) && !is.contains_key(*name)) {
            one(name, missing(old, name), missing(new, name))?;
        }
    }
    Ok(comparison)
}

fn compare_elements(list: &List, old: &[Value], new: &[Value]) -> Result<Comparison, Problems> {
    let mut comparison = Comparison::default();
    let (old, new) = (grouped(list, old)?, grouped(list, new)?);
    let mut one = |element: &Element, change: Option<Change>, old: Option<&Value>, new: Option<&Value>| {
        let (mut own, mut below) = (None, Comparison::default());
        if old.is_some() || new.is_some() {
            let side = |value: Option<_>| value.map_or(Side::Absent, Side::Here);
            (own, below) = walk(side(old), side(new), &list.element).map_err(|problems| problems.under(element))?;
        }
        comparison.attach(element.clone(), own, below);
        comparison.attach(element.clone(), change, Comparison::default());
        Ok::<_, Problems>(())
    };
    let none = Vec::new();
    let of = |groups: &Groups, element: &Element| groups.binary_search_by(|(other, _)| other.cmp(element)).ok();
    let mut all: Vec<&Element> = old.iter().chain(&new).map(|(element, _)| element).collect();
    all.sort_unstable();
    all.dedup();
    for element in all {
        let was = of(&old, element).map_or(&none, |at| &old[at].1);
        let is = of(&new, element).map_or(&none, |at| &new[at].1);
        match (was.as_slice(), is.as_slice()) {
            ([] | [_], [] | [_]) => one(element, None, was.first().copied(), is.first().copied())?,
            // Elements that stand several times are compared as one.
            ([_, _, ..], [_, _, ..]) => {
                let same = was.len() == is.len() && was.iter().zip(is).all(|(a, b)| equal(a, b));
                one(element, (!same).then_some(Change::Modified), None, None)?;
            }
            ([_, _, ..], _) => one(element, Some(Change::Removed), None, is.first().copied())?,
            (_, _) => one(element, Some(Change::Added), was.first().copied(), None)?,
        }
    }
    Ok(comparison)
}

type Groups<'a> = Vec<(Element, Vec<&'a Value>)>;

/// The elements of a list by what tells them apart, in order.
fn grouped<'a>(list: &List, values: &'a [Value]) -> Result<Groups<'a>, Problems> {
    let mut sorted = elements(list, values)?;
    sorted.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut groups: Groups = Vec::with_capacity(sorted.len());
    for (element, value) in sorted {
        match groups.last_mut() {
            Some((last, values)) if *last == element => values.push(value),
            _ => groups.push((element, vec![value])),
        }
    }
    Ok(groups)
}
