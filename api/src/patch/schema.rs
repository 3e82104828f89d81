//! Which list merges by which key: what strategic merge patch and server-side apply must know of the types.
//!
//! Two tables, joined here by type and field:
//! - `fields.tsv`: which fields hold objects, maps or lists, and of what. Made from the schemas of `k8s-openapi`; a test
//!   checks that it still agrees with them and, with `UPDATE_TABLES=1`, writes it anew.
//! - `list_types.tsv`: list and map types, their keys, patch strategies and merge keys. Facts from the `+listType`,
//!   `+listMapKey` markers and `patchStrategy`, `patchMergeKey` tags in upstream's Go types (Kubernetes v1.37), which
//!   neither `k8s-openapi` nor its schemas carry. A row without a field is about the type itself.

use std::{
    collections::{HashMap, HashSet},
    sync::LazyLock,
};

use crate::Resource;

/// A type, named by its group's first part and version: `apps/v1.Deployment`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Schema {
    name: &'static str,
    any_key: bool,
}

/// What a field holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Shape {
    /// A number, a text, or something without a schema.
    #[default]
    Leaf,
    /// A typed object.
    Object,
    /// Values by free keys.
    Map,
    /// Values in order.
    List,
}

/// What strategic merge patch does with a field that is there already.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strategy {
    /// Merges objects, replaces lists.
    #[default]
    Default,
    /// Merges lists too.
    Merge,
    /// Replaces objects too.
    Replace,
}

/// Who owns the parts of a list, a map or an object in server-side apply.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Topology {
    /// Objects and maps: each field. Lists: the whole.
    #[default]
    Default,
    /// The whole.
    Atomic,
    /// Each element of a list of scalars.
    Set,
    /// Each element of a list of objects, told apart by [`Field::keys`].
    Map,
    /// Each field.
    Granular,
}

/// What is known of a field.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Field {
    /// What it holds.
    pub shape: Shape,
    /// The type of the object, of the list's elements or of the map's values, where that is an object.
    pub element: Option<Schema>,
    /// How strategic merge patch treats it.
    pub strategy: Strategy,
    /// What tells elements apart in strategic merge patch; empty for none.
    pub merge_key: &'static str,
    /// How server-side apply treats it.
    pub topology: Topology,
    keys: &'static str,
}

impl Field {
    /// What tells elements apart in server-side apply.
    pub fn keys(self) -> impl Iterator<Item = &'static str> {
        self.keys.split(',').filter(|key| !key.is_empty())
    }
}

impl Schema {
    /// The type of a built-in resource's objects.
    pub fn of(resource: &Resource) -> Option<Self> {
        let group = match resource.group.split('.').next() {
            None | Some("") => "core",
            Some(group) => group,
        };
        let name = format!("{group}/{}.{}", resource.version, resource.kind);
        TABLE.get_key_value(name.as_str()).map(|(name, _)| Self { name, any_key: false })
    }

    /// `apps/v1.Deployment`
    pub fn name(self) -> &'static str {
        self.name
    }

    /// Server-side apply owns objects of this type as a whole.
    pub fn is_atomic(self) -> bool {
        !self.any_key && ATOMIC.contains(self.name)
    }

    /// A field that is an object, a map or a list; `None` for leaves and for fields that do not exist.
    pub fn field(self, name: &str) -> Option<Field> {
        if self.any_key {
            let element = Some(Self { any_key: false, ..self });
            return Some(Field { shape: Shape::Object, element, ..Field::default() });
        }
        let fields = TABLE.get(self.name)?;
        fields.binary_search_by_key(&name, |(name, _)| name).ok().map(|at| fields[at].1)
    }
}

type Fields = Vec<(&'static str, Field)>;

static TABLE: LazyLock<HashMap<&'static str, Fields>> = LazyLock::new(|| {
    let mut table: HashMap<&'static str, Fields> = HashMap::new();
    for row in rows(include_str!("fields.tsv")) {
        let [name, field, shape, element, ..] = row;
        let (shape, any_key) = match shape {
            "object" => (Shape::Object, false),
            "map" => (Shape::Map, true),
            _ => (Shape::List, false),
        };
        let element = (!element.is_empty()).then_some(Schema { name: element, any_key });
        table.entry(name).or_default().push((field, Field { shape, element, ..Field::default() }));
    }
    for fields in table.values_mut() {
        fields.sort_unstable_by_key(|(name, _)| *name);
    }
    for row in list_types() {
        let [name, field, topology, keys, strategy, merge_key] = row;
        let Some(fields) = table.get_mut(name) else { continue };
        let Ok(at) = fields.binary_search_by_key(&field, |(name, _)| name) else { continue };
        let field = &mut fields[at].1;
        field.topology = match topology.rsplit(':').next() {
            Some("atomic") => Topology::Atomic,
            Some("set") => Topology::Set,
            Some("map") => Topology::Map,
            Some("granular") => Topology::Granular,
            _ => Topology::Default,
        };
        field.keys = keys;
        field.merge_key = merge_key;
        // `retainKeys` only matters to those who make patches: a patch says itself which keys it retains.
        field.strategy = match strategy.split(',').next() {
            Some("merge") => Strategy::Merge,
            Some("replace") => Strategy::Replace,
            _ => Strategy::Default,
        };
    }
    table
});

static ATOMIC: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    let types = list_types().filter(|[_, field, topology, ..]| field.is_empty() && *topology == "struct:atomic");
    types.map(|[name, ..]| name).collect()
});

/// The rows of `list_types.tsv`: type, field, list or map type, keys, patch strategy, merge key. OpenAPI shows them too.
pub fn list_types() -> impl Iterator<Item = [&'static str; 6]> {
    rows(include_str!("list_types.tsv"))
}

fn rows(text: &'static str) -> impl Iterator<Item = [&'static str; 6]> {
    text.lines().filter(|line| !line.starts_with('#')).map(|line| {
        let mut cells = line.split('\t');
        std::array::from_fn(|_| cells.next().unwrap_or_default())
    })
}

#[cfg(test)]
mod tests;
