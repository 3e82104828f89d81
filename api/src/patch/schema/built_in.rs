//! The types of the built-in kinds, from tables that are joined by type and field:
//! - `fields.tsv`: every field, what it holds and of what. Made from the schemas of `k8s-openapi`; a test checks that it
//!   still agrees with them and, with `UPDATE_TABLES=1`, writes it anew.
//! - `list_types.tsv`: list and map types, their keys, patch strategies and merge keys. Facts from the `+listType`,
//!   `+listMapKey` markers and `patchStrategy`, `patchMergeKey` tags in upstream's Go types (Kubernetes v1.37), which
//!   neither `k8s-openapi` nor its schemas carry. A row without a field is about the type itself.
//! - `always.tsv`: fields of upstream's Go types that are written even where they are empty. Facts from the defaults in
//!   upstream's OpenAPI document.

use std::{collections::HashMap, sync::LazyLock};

use serde_json::{Value, json};

use super::{Field, Form, Handle, Key, List, Node, Object, Owned, Scalar, Schema, Strategy, Text};
use crate::Resource;

/// The scalars stand first in the table, after the type of which nothing is known.
const SCALARS: [(&str, Scalar); 4] = [
    ("string", Scalar::String),
    ("number", Scalar::Numeric),
    ("boolean", Scalar::Boolean),
    ("untyped", Scalar::Untyped),
];

/// Keys that upstream's types leave optional and without a default. All other keys have one: their type's zero, or `TCP`.
const WITHOUT_DEFAULT: [(&str, &str); 3] = [
    ("core/v1.ServiceAccount", "secrets"),
    ("flowcontrol/v1.FlowSchemaStatus", "conditions"),
    ("flowcontrol/v1.PriorityLevelConfigurationStatus", "conditions"),
];

pub(super) fn of(resource: &Resource) -> Option<Schema> {
    let group = match resource.group.split('.').next() {
        None | Some("") => "core",
        Some(group) => group,
    };
    named(&format!("{group}/{}.{}", resource.version, resource.kind))
}

pub(super) fn named(name: &str) -> Option<Schema> {
    TABLE.places.get(name).map(|place| at(*place))
}

pub(super) fn node(place: u32) -> &'static Node {
    &TABLE.nodes[place as usize]
}

/// Any value at all.
pub(super) fn any() -> Schema {
    at(0)
}

/// Any scalar of this sort.
pub(super) fn scalar(scalar: Scalar) -> Schema {
    let place = SCALARS.iter().position(|(_, other)| *other == scalar).unwrap_or_default();
    at(u32::try_from(place + 1).unwrap_or_default())
}

fn at(place: u32) -> Schema {
    Schema(Handle::BuiltIn(place))
}

struct Table {
    nodes: Vec<Node>,
    places: HashMap<&'static str, u32>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let facts: HashMap<(&str, &str), [&'static str; 6]> = list_types().map(|row| ((row[0], row[1]), row)).collect();
    let is_atomic = |name: &str| facts.get(&(name, "")).is_some_and(|row| row[2] == "struct:atomic");

    let mut nodes: Vec<Node> = Vec::new();
    let mut places: HashMap<&'static str, u32> = HashMap::new();
    let scalars = SCALARS.map(|(name, scalar)| (name, Form::Scalar(scalar)));
    // Any object, owned as a whole: a RawExtension.
    let raw = ("raw", Form::Object(Object::new(Vec::new(), Some(any()), true)));
    for (name, form) in [("any", Form::Any)].into_iter().chain(scalars).chain([raw]) {
        places.insert(name, place(&nodes));
        nodes.push(Node { name: "".into(), form });
    }
    let fields: Vec<_> = rows(include_str!("../fields.tsv")).collect();
    for name in fields.iter().map(|row| row[0]) {
        places.entry(name).or_insert_with(|| {
            nodes.push(Node { name: name.into(), form: Form::Any });
            place(&nodes) - 1
        });
    }
    let mut objects: HashMap<&'static str, Vec<(Text, Field)>> = HashMap::new();
    for [name, field, shape, element, ..] in fields {
        let fact = facts.get(&(name, field)).copied().unwrap_or_default();
        let [_, _, topology, keys, strategy, merge_key] = fact;
        let of = at(places.get(element).copied().unwrap_or_default());
        let form = match shape {
            "map" => Form::Object(Object::new(Vec::new(), Some(of), topology == "map:atomic")),
            "list" => Form::List(List { element: of, owned: owned(name, field, topology, keys) }),
            simple => {
                let schema = if shape == "object" { of } else { at(places.get(simple).copied().unwrap_or_default()) };
                push(&mut objects, name, field, schema, strategy, merge_key);
                continue;
            }
        };
        let schema = at(place(&nodes));
        nodes.push(Node { name: element.into(), form });
        push(&mut objects, name, field, schema, strategy, merge_key);
    }
    for (name, fields) in objects {
        nodes[places[name] as usize].form = Form::Object(Object::new(fields, None, is_atomic(name)));
    }
    for [name, fields, ..] in rows(include_str!("../always.tsv")) {
        let Some(Form::Object(object)) = places.get(name).map(|place| &mut nodes[*place as usize].form) else {
            continue;
        };
        for (_, field) in object.fields.iter_mut().filter(|(name, _)| fields.split(',').any(|other| name == other)) {
            field.always = true;
        }
    }
    granular(&mut nodes, &places, &facts);
    Table { nodes, places }
});

fn place(nodes: &[Node]) -> u32 {
    u32::try_from(nodes.len()).unwrap_or(u32::MAX)
}

fn push(
    objects: &mut HashMap<&'static str, Vec<(Text, Field)>>,
    name: &'static str,
    field: &'static str,
    schema: Schema,
    strategy: &str,
    merge_key: &'static str,
) {
    // `retainKeys` only matters to those who make patches: a patch says itself which keys it retains.
    let strategy = match strategy.split(',').next() {
        Some("merge") => Strategy::Merge,
        Some("replace") => Strategy::Replace,
        _ => Strategy::Default,
    };
    objects.entry(name).or_default().push((field.into(), Field { schema, strategy, merge_key, always: false }));
}

fn owned(name: &str, field: &str, topology: &str, keys: &'static str) -> Owned {
    match topology {
        "set" => Owned::Set,
        "map" => {
            let has_default = !WITHOUT_DEFAULT.contains(&(name, field));
            let key = |name: &'static str| Key { name: name.into(), default: has_default.then(|| key_default(name)) };
            Owned::Keyed(keys.split(',').map(key).collect())
        }
        _ => Owned::Whole,
    }
}

/// Source: the defaults in upstream's OpenAPI document.
fn key_default(name: &str) -> Value {
    match name {
        "protocol" => "TCP".into(),
        "containerPort" | "port" => json!(0),
        _ => "".into(),
    }
}

/// Fields that own the parts of an object whose type is owned as a whole elsewhere: a PersistentVolume's `claimRef`.
fn granular(
    nodes: &mut Vec<Node>,
    places: &HashMap<&'static str, u32>,
    facts: &HashMap<(&str, &str), [&'static str; 6]>,
) {
    for [name, field, ..] in facts.values().filter(|row| row[2] == "struct:granular") {
        let Some(parent) = places.get(name) else { continue };
        let Form::Object(object) = &nodes[*parent as usize].form else { continue };
        let Some(Handle::BuiltIn(whole)) = object.field(field).map(|field| field.schema.0.clone()) else { continue };
        let Node { name, form: Form::Object(whole) } = &nodes[whole as usize] else { continue };
        let parts = Node { name: name.clone(), form: Form::Object(Object { atomic: false, ..whole.clone() }) };
        let schema = at(place(nodes));
        nodes.push(parts);
        let Form::Object(object) = &mut nodes[*parent as usize].form else { continue };
        for (_, field) in object.fields.iter_mut().filter(|(name, _)| name == field) {
            field.schema = schema.clone();
        }
    }
}

/// The rows of `list_types.tsv`: type, field, list or map type, keys, patch strategy, merge key. OpenAPI shows them too.
pub fn list_types() -> impl Iterator<Item = [&'static str; 6]> {
    rows(include_str!("../list_types.tsv"))
}

pub(super) fn rows(text: &'static str) -> impl Iterator<Item = [&'static str; 6]> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut cells = line.split('\t');
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    })
}
