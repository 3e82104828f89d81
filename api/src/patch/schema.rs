//! What strategic merge patch and server-side apply must know of the types: which list merges by which key, which map or
//! object is owned as a whole.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`built_in`] | the types of the built-in kinds, from two tables |
//! | [`structural`] | the types of custom resources, from the schema in their definition |
//!
//! A [`Schema`] is a handle on a type and cheap to clone. What a type looks like is its [`Form`].

mod built_in;
mod structural;

use std::{borrow::Cow, sync::Arc};

use serde_json::Value;

use crate::Resource;

pub use built_in::list_types;

type Text = Cow<'static, str>;

/// A type, or rather the way to it.
#[derive(Clone, Debug)]
pub struct Schema(Handle);

#[derive(Clone, Debug)]
enum Handle {
    /// A place in the table of built-in types.
    BuiltIn(u32),
    Custom(Arc<Node>),
}

#[derive(Debug)]
struct Node {
    name: Text,
    form: Form,
}

/// What the values of a type look like.
#[derive(Clone, Debug)]
pub enum Form {
    /// A number, a text or a truth.
    Scalar(Scalar),
    /// An object with known fields, or with free keys, or both.
    Object(Object),
    /// Values in order.
    List(List),
    /// Nothing is known: objects belong to managers field by field, lists as a whole.
    Any,
}

/// What a scalar may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Scalar {
    String,
    Numeric,
    Boolean,
    /// Any of them: an IntOrString, a Quantity, a time.
    Untyped,
}

/// An object or a map.
#[derive(Clone, Debug, Default)]
pub struct Object {
    /// The known fields, sorted by name.
    fields: Box<[(Text, Field)]>,
    /// The type of values under other keys; `None` if there may be none.
    rest: Option<Schema>,
    /// Server-side apply owns it as a whole.
    pub atomic: bool,
}

/// A list.
#[derive(Clone, Debug)]
pub struct List {
    /// The type of its elements.
    pub element: Schema,
    /// Who owns what of it in server-side apply.
    pub owned: Owned,
}

/// Who owns what of a list in server-side apply.
#[derive(Clone, Debug)]
pub enum Owned {
    /// One manager the whole (`x-kubernetes-list-type: atomic`).
    Whole,
    /// Each element, which is a scalar (`set`).
    Set,
    /// Each element, which is an object with these keys (`map`).
    Keyed(Box<[Key]>),
}

/// A field that tells elements apart.
#[derive(Clone, Debug)]
pub struct Key {
    /// The field's name.
    pub name: Text,
    /// Its value where an element lacks it.
    pub default: Option<Value>,
}

/// A field of an object.
#[derive(Clone, Debug)]
pub struct Field {
    /// The type of its value.
    pub schema: Schema,
    /// How strategic merge patch treats it.
    pub strategy: Strategy,
    /// What tells elements apart in strategic merge patch; empty for none.
    pub merge_key: &'static str,
    /// Upstream writes it even where it is empty, so an object that lacks it has it all the same.
    pub always: bool,
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

impl Schema {
    /// The type of a built-in resource's objects.
    pub fn of(resource: &Resource) -> Option<Self> {
        built_in::of(resource)
    }

    /// The built-in type with this name: `apps/v1.Deployment`.
    pub fn named(name: &str) -> Option<Self> {
        built_in::named(name)
    }

    /// The type that a custom resource's structural schema describes (`openAPIV3Schema` of a version of its
    /// CustomResourceDefinition). It is worked out once, here: keep the result and clone it.
    pub fn from_structural(schema: &Value) -> Self {
        structural::root(schema)
    }

    /// The type of objects of which nothing is known but that they have metadata.
    pub fn unknown() -> Self {
        structural::root(&Value::Bool(true))
    }

    fn custom(name: impl Into<Text>, form: Form) -> Self {
        Self(Handle::Custom(Arc::new(Node { name: name.into(), form })))
    }

    fn node(&self) -> &Node {
        match &self.0 {
            Handle::BuiltIn(at) => built_in::node(*at),
            Handle::Custom(node) => node,
        }
    }

    /// `apps/v1.Deployment`; empty for a type without a name.
    pub fn name(&self) -> &str {
        &self.node().name
    }

    /// What its values look like.
    pub fn form(&self) -> &Form {
        &self.node().form
    }

    /// Server-side apply owns values of this type as a whole.
    pub fn is_atomic(&self) -> bool {
        match self.form() {
            Form::Object(object) => object.atomic,
            Form::List(list) => matches!(list.owned, Owned::Whole),
            Form::Scalar(_) | Form::Any => false,
        }
    }

    /// A known field of an object.
    pub fn field(&self, name: &str) -> Option<&Field> {
        match self.form() {
            Form::Object(object) => object.field(name),
            _ => None,
        }
    }

    /// The type of what stands under a name in an object, be it a known field or not.
    pub fn child(&self, name: &str) -> Option<&Schema> {
        match self.form() {
            Form::Object(object) => object.field(name).map(|field| &field.schema).or(object.rest.as_ref()),
            Form::Any => Some(self),
            _ => None,
        }
    }

    /// The type of a list's elements.
    pub fn element(&self) -> Option<&Schema> {
        match self.form() {
            Form::List(list) => Some(&list.element),
            _ => None,
        }
    }
}

impl Object {
    fn new(mut fields: Vec<(Text, Field)>, rest: Option<Schema>, atomic: bool) -> Self {
        fields.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Self { fields: fields.into(), rest, atomic }
    }

    /// A known field.
    pub fn field(&self, name: &str) -> Option<&Field> {
        let at = self.fields.binary_search_by(|(other, _)| (**other).cmp(name)).ok()?;
        Some(&self.fields[at].1)
    }

    /// The fields that upstream writes even where they are empty, by name.
    pub fn always(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.fields.iter().filter(|(_, field)| field.always).map(|(name, field)| (&**name, field))
    }

    /// The type of values under keys that are no known fields; `None` if there may be none.
    pub fn rest(&self) -> Option<&Schema> {
        self.rest.as_ref()
    }
}

impl Field {
    fn new(schema: Schema) -> Self {
        Self { schema, strategy: Strategy::Default, merge_key: "", always: false }
    }
}

#[cfg(test)]
mod tests;
