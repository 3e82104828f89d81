//! Lists, and how their elements belong together: of a set and of a map, the order says nothing. Source:
//! `unstructuredSetList`, `unstructuredMapList` in `k8s.io/apiserver/pkg/cel/common/valuesunstructured.go`.

use std::{
    collections::{HashMap, HashSet},
    fmt::Write,
    ops::Deref,
    sync::Arc,
};

use super::value::{Key, Value};

/// How the elements of a list belong together: `x-kubernetes-list-type`.
#[derive(Clone, Debug, Default)]
pub enum Grouping {
    /// The list is one value.
    #[default]
    Atomic,
    /// Each element stands once, wherever.
    Set,
    /// These fields tell the elements apart, under the names that expressions have for them.
    Map(Arc<[Arc<str>]>),
}

/// It says how values compare, and is no part of what a type is.
impl PartialEq for Grouping {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

/// The elements of a list.
#[derive(Clone, Debug, Default)]
pub struct List {
    elements: Vec<Value>,
    grouping: Grouping,
}

impl From<Vec<Value>> for List {
    fn from(elements: Vec<Value>) -> Self {
        Self { elements, grouping: Grouping::Atomic }
    }
}

impl Deref for List {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.elements
    }
}

impl List {
    /// Elements that belong together so.
    pub fn grouped(elements: Vec<Value>, grouping: Grouping) -> Self {
        Self { elements, grouping }
    }

    /// What an element is known by among the others; of an atomic list, nothing is.
    fn identity(&self, element: &Value) -> Option<String> {
        let mut identity = String::new();
        match &self.grouping {
            Grouping::Atomic => return None,
            // The form in which a value is printed also says its type: 1 is not 1.0.
            Grouping::Set => write!(identity, "{element:?}").ok()?,
            Grouping::Map(keys) => {
                for key in keys.iter() {
                    let found = match element {
                        Value::Map(map) => map.get(&Key::String(Arc::clone(key))),
                        _ => None,
                    };
                    write!(identity, "{found:?},").ok()?;
                }
            }
        }
        Some(identity)
    }

    /// The first list says how the two compare. `None` where that takes more steps than are left.
    pub fn equals(&self, other: &Self, left: &mut u64) -> Option<bool> {
        if self.len() != other.len() {
            return Some(false);
        }
        if matches!(self.grouping, Grouping::Atomic) {
            for (a, b) in self.iter().zip(other.iter()) {
                if !a.equals(b, left)? {
                    return Some(false);
                }
            }
            return Some(true);
        }
        *left = left.checked_sub(2 * self.len() as u64)?;
        let known: HashMap<_, _> = self.iter().map(|element| (self.identity(element), element)).collect();
        let mut seen = HashSet::with_capacity(known.len());
        for element in other.iter() {
            let identity = self.identity(element);
            match known.get(&identity) {
                Some(known) if known.equals(element, left)? => seen.insert(identity),
                _ => return Some(false),
            };
        }
        Some(seen.len() == known.len())
    }

    /// Both together. What stands in both stands once, at its old place, and as the second list has it.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        let mut elements = self.elements.clone();
        if matches!(self.grouping, Grouping::Atomic) {
            elements.extend(other.iter().cloned());
            return elements.into();
        }
        let mut places: HashMap<_, _> =
            self.iter().enumerate().map(|(place, element)| (self.identity(element), place)).collect();
        for element in other.iter() {
            match places.get(&self.identity(element)) {
                Some(place) => elements[*place] = element.clone(),
                None => {
                    places.insert(self.identity(element), elements.len());
                    elements.push(element.clone());
                }
            }
        }
        Self { elements, grouping: self.grouping.clone() }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cel::Type;

    fn list(json: serde_json::Value, grouping: Grouping) -> Value {
        Value::from_typed_json(&json, &Type::List(Type::Dyn.into(), grouping))
    }

    #[test]
    fn the_first_list_says_what_order_means() {
        let keyed = || Grouping::Map(["name".into()].into());
        let (a, b) = (json!([{"name": "a", "n": 1}, {"name": "b"}]), json!([{"name": "b"}, {"name": "a", "n": 1}]));
        for (first, second, grouping, equal) in [
            (json!([1, 2]), json!([2, 1]), Grouping::Atomic, false),
            (json!([1, 2]), json!([2, 1]), Grouping::Set, true),
            (json!([1, 2]), json!([1, 3]), Grouping::Set, false),
            (json!([1, 2]), json!([1, 1]), Grouping::Set, false),
            (json!(["a"]), json!(["a", "b"]), Grouping::Set, false),
            (a.clone(), b.clone(), Grouping::Atomic, false),
            (a.clone(), b.clone(), keyed(), true),
            (a.clone(), json!([{"name": "b"}, {"name": "a", "n": 2}]), keyed(), false),
            (a.clone(), json!([{"name": "b"}, {"name": "b"}]), keyed(), false),
        ] {
            let (one, other) = (list(first.clone(), grouping.clone()), list(second.clone(), Grouping::Atomic));
            assert_eq!(one == other, equal, "{first} {second} {grouping:?}");
        }
    }

    #[test]
    fn a_sum_holds_each_element_once() {
        let sum = |a, b, grouping| match (list(a, grouping), list(b, Grouping::Atomic)) {
            (Value::List(a), Value::List(b)) => Value::List(a.plus(&b).into()).to_json(),
            _ => None,
        };
        assert_eq!(sum(json!([1, 2]), json!([2, 3]), Grouping::Atomic), Some(json!([1, 2, 2, 3])));
        assert_eq!(sum(json!([1, 2]), json!([2, 3, 3]), Grouping::Set), Some(json!([1, 2, 3])));
        let keyed = Grouping::Map(["k".into()].into());
        let (a, b) = (json!([{"k": 1, "v": 1}, {"k": 2}]), json!([{"k": 3}, {"k": 1, "v": 9}]));
        assert_eq!(sum(a, b, keyed), Some(json!([{"k": 1, "v": 9}, {"k": 2}, {"k": 3}])));
    }
}
