//! How each message is written: its fields in order, where each of an object's members goes, and what stands there when
//! the object lacks it. Go's encoder writes fields that are no pointers even when they are zero.

use std::{collections::HashMap, sync::LazyLock};

use prost::encoding::{WireType, encode_key, encode_varint};

use super::{Field, MESSAGES, Many};

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Type {
    Text,
    Int,
    Bool,
    Double,
    Bytes,
    Time,
    MicroTime,
    Quantity,
    IntOrString,
    /// JSON within a message, as it stands: `RawExtension`, `FieldsV1`, `JSON`.
    Raw,
    /// A schema, a list of schemas or a list of names: the unions of `apiextensions.k8s.io`.
    SchemaOrList,
    /// A schema, or whether anything is allowed.
    SchemaOrBool,
    /// A message, by its place among the plans.
    Message(usize),
}

impl Type {
    fn of(kind: &str) -> Self {
        match kind {
            "string" => Self::Text,
            "int" => Self::Int,
            "bool" => Self::Bool,
            "double" => Self::Double,
            "bytes" => Self::Bytes,
            "meta/v1.Time" => Self::Time,
            "meta/v1.MicroTime" => Self::MicroTime,
            "api/resource.Quantity" => Self::Quantity,
            "util/intstr.IntOrString" => Self::IntOrString,
            "runtime.RawExtension" | "meta/v1.FieldsV1" | "apiextensions/v1.JSON" => Self::Raw,
            "apiextensions/v1.JSONSchemaPropsOrArray" | "apiextensions/v1.JSONSchemaPropsOrStringArray" => {
                Self::SchemaOrList
            }
            "apiextensions/v1.JSONSchemaPropsOrBool" => Self::SchemaOrBool,
            message => PLANS_BY_NAME.get(message).map_or(Self::Raw, |at| Self::Message(*at)),
        }
    }
}

/// A field that an object's member fills.
#[derive(Debug)]
pub struct Slot {
    pub number: u32,
    pub kind: Type,
    pub many: Many,
    /// What is written where the object lacks it.
    pub absent: Vec<u8>,
}

/// What stands at one place of a message.
#[derive(Debug)]
pub enum Node {
    /// A field.
    Slot(usize),
    /// A message whose fields are the outer object's members.
    Embedded(u32, Vec<Node>),
}

/// How one message is written.
#[derive(Debug, Default)]
pub struct Plan {
    /// All fields that members fill, those of embedded messages too.
    pub slots: Vec<Slot>,
    /// Where a member goes.
    pub members: HashMap<&'static str, usize>,
    /// The order of the fields.
    pub order: Vec<Node>,
    /// The message stands for a list of these.
    pub list: Option<Type>,
}

static NAMES: LazyLock<Vec<&'static str>> = LazyLock::new(|| {
    let mut names: Vec<_> = MESSAGES.keys().copied().collect();
    names.sort_unstable();
    names
});
static PLANS_BY_NAME: LazyLock<HashMap<&'static str, usize>> =
    LazyLock::new(|| NAMES.iter().enumerate().map(|(at, name)| (*name, at)).collect());
static PLANS: LazyLock<Vec<Plan>> = LazyLock::new(|| NAMES.iter().map(|name| plan(name)).collect());

/// The plan of a message.
pub fn named(message: &str) -> Option<&'static Plan> {
    PLANS_BY_NAME.get(message).and_then(|at| PLANS.get(*at))
}

/// The plan at a place, as [`Type::Message`] has it.
pub fn at(place: usize) -> &'static Plan {
    &PLANS[place]
}

fn plan(message: &str) -> Plan {
    let mut plan = Plan::default();
    plan.order = order(message, &mut plan);
    if let [Field { name: "", kind, many: Many::List, .. }] = fields(message) {
        plan.list = Some(Type::of(kind));
    }
    plan
}

fn fields(message: &str) -> &'static [Field] {
    MESSAGES.get(message).map_or(&[], Vec::as_slice)
}

fn order(message: &str, plan: &mut Plan) -> Vec<Node> {
    let mut nodes = Vec::new();
    for field in fields(message) {
        if !field.name.is_empty() {
            plan.members.insert(field.name, plan.slots.len());
            nodes.push(Node::Slot(plan.slots.len()));
            let absent = absent(field);
            plan.slots.push(Slot { number: field.number, kind: Type::of(field.kind), many: field.many, absent });
        } else if field.many == Many::One {
            nodes.push(Node::Embedded(field.number, order(field.kind, plan)));
        }
    }
    nodes
}

/// A field at its zero value, where Go writes that.
fn absent(field: &Field) -> Vec<u8> {
    let mut out = Vec::new();
    if field.many != Many::One || !field.omit_zero {
        return out;
    }
    match field.kind {
        "bytes" | "runtime.RawExtension" => {}
        "int" | "bool" => {
            encode_key(field.number, WireType::Varint, &mut out);
            out.push(0);
        }
        "double" => {
            encode_key(field.number, WireType::SixtyFourBit, &mut out);
            out.extend_from_slice(&[0; 8]);
        }
        kind => {
            encode_key(field.number, WireType::LengthDelimited, &mut out);
            let empty = empty(kind);
            encode_varint(empty.len() as u64, &mut out);
            out.extend_from_slice(&empty);
        }
    }
    out
}

/// A message of which nothing is set.
fn empty(kind: &str) -> Vec<u8> {
    match kind {
        "api/resource.Quantity" => b"\x0a\x010".to_vec(),
        "util/intstr.IntOrString" => b"\x08\0\x10\0\x1a\0".to_vec(),
        message => {
            let mut out = Vec::new();
            for field in fields(message) {
                if field.name.is_empty() && field.many == Many::One {
                    encode_key(field.number, WireType::LengthDelimited, &mut out);
                    let inner = empty(field.kind);
                    encode_varint(inner.len() as u64, &mut out);
                    out.extend_from_slice(&inner);
                } else {
                    out.extend_from_slice(&absent(field));
                }
            }
            out
        }
    }
}
