//! What an expression costs at most, before there is a value: how often its loops may run and how long its texts may be, from
//! what the schema says of them. Source: cel-go's `checker/cost.go`, and the size estimator of
//! `apiextensions-apiserver/pkg/apiserver/schema/cel/compilation.go`. A definition is refused by this number, so it must be
//! upstream's, oddities included.

mod call;
mod loops;
mod range;

use std::{collections::BTreeMap, sync::Arc};

use self::{call::Call, range::Range};
use super::{
    Environment, Program,
    ast::{Access, Expr, Node},
    declarations,
    kinds::Type,
    value::Value,
};

/// What a list, a map and an object cost to make. Source: cel-go's `common/cost.go`.
const LIST: Range = Range::of(10);
const MAP: Range = Range::of(30);
const OBJECT: Range = Range::of(40);
const ONE: Range = Range::of(1);
const NONE: Range = Range::of(0);

/// How much of something a request can hold: a value of a schema.
#[derive(Clone, Debug, Default)]
pub struct Bound {
    /// The most elements, entries or bytes of text; 0 of what has no length.
    pub most: u64,
    /// The fewest bytes that it takes in JSON.
    pub least_bytes: u64,
    /// Of an object, under the names that expressions use.
    pub fields: BTreeMap<Arc<str>, Bound>,
    /// Of a list or a map.
    pub values: Option<Box<Bound>>,
    /// It is a map, whose keys have no bound of their own.
    pub keyed: bool,
}

/// Where a value stands below `self`.
#[derive(Clone, Copy)]
enum Place<'a> {
    /// It was made by the expression.
    Nowhere,
    /// Where no schema leads.
    Lost,
    /// At a key of a map.
    Key,
    At(&'a Bound),
}

/// What is known of a part of an expression.
struct Part<'a> {
    cost: Range,
    size: Option<Range>,
    entries: Option<Entries>,
    kind: Type,
    place: Place<'a>,
}

impl Part<'_> {
    fn size(&self) -> Range {
        self.size.unwrap_or(Range::UNKNOWN)
    }
}

/// How large the entries of a list or a map are.
#[derive(Clone, Copy)]
struct Entries {
    list: bool,
    key: Range,
    value: Range,
}

impl Entries {
    fn or(self, other: Self) -> Self {
        Self { list: self.list, key: self.key.or(other.key), value: self.value.or(other.value) }
    }
}

struct Local<'a> {
    name: Arc<str>,
    kind: Type,
    place: Place<'a>,
    size: Option<Range>,
}

impl Local<'_> {
    fn size(&self) -> Option<Range> {
        Estimator::sized(self.place, &self.kind).or(self.size)
    }
}

/// Goes through one expression.
struct Estimator<'a> {
    environment: &'a Environment,
    root: &'a Bound,
    locals: Vec<Local<'a>>,
}

impl Program {
    /// The most that it may cost for a value within a bound. `environment` is the one it was compiled in.
    pub fn most_expensive(&self, environment: &Environment, root: &Bound) -> u64 {
        Estimator { environment, root, locals: Vec::new() }.part(&self.root).cost.max
    }
}

impl<'a> Estimator<'a> {
    fn below(&self, place: Place<'a>, step: Step<'_>) -> Place<'a> {
        let bound = match place {
            // The first step of a path is taken for the variable's name, whatever it is.
            Place::Nowhere => return Place::At(self.root),
            Place::At(bound) => bound,
            Place::Lost | Place::Key => return Place::Lost,
        };
        match step {
            Step::Values => bound.values.as_deref().map_or(Place::Lost, Place::At),
            Step::Keys if bound.keyed => Place::Key,
            Step::Keys => Place::Lost,
            Step::Field(name) => bound.fields.get(name).map_or(Place::Lost, Place::At),
        }
    }

    /// The size of what is not written out: by its place, else by its type.
    fn sized(place: Place<'_>, kind: &Type) -> Option<Range> {
        match place {
            Place::At(bound) => Some(Range { min: 0, max: bound.most }),
            Place::Key => Some(NONE),
            Place::Nowhere | Place::Lost => is_scalar(kind).then_some(ONE),
        }
    }

    /// The type and the size of a list's elements; of a map's keys.
    fn element(&self, list: &Part<'a>) -> Option<(Type, Range)> {
        let kind = match &list.kind {
            Type::List(element, _) | Type::Optional(element) => (**element).clone(),
            Type::Map(key, _) => (**key).clone(),
            _ => return None,
        };
        let size = match list.place {
            Place::Nowhere => None,
            place => match self.below(place, Step::Values) {
                Place::At(bound) => Some(Range { min: 0, max: bound.most }),
                _ => None,
            },
        };
        Some((kind, size.unwrap_or(Range::UNKNOWN)))
    }

    fn part(&mut self, expr: &Expr) -> Part<'a> {
        match &expr.node {
            Node::Literal(value) => literal(value),
            Node::Ident(name) => self.ident(name),
            Node::Select { operand, field, access } => self.select(operand, field, *access),
            Node::Index { operand, index, optional } => {
                let args = vec![self.part(operand), self.part(index)];
                let function = if *optional { "_[?_]" } else { "_[_]" };
                self.call(function, None, args, &[])
            }
            Node::Call { function, target, args } => {
                let target = target.as_deref().map(|target| self.part(target));
                let parts = args.iter().map(|arg| self.part(arg)).collect();
                self.call(function, target, parts, args)
            }
            Node::And(terms) | Node::Or(terms) => {
                let costs: Vec<_> = terms.iter().map(|term| self.part(term).cost).collect();
                let least = costs.first().map_or(0, |cost| cost.min);
                let cost = Range { min: least, ..costs.into_iter().fold(NONE, Range::plus) };
                made(cost, Type::Bool)
            }
            Node::Conditional(parts) => self.conditional(parts),
            Node::List(elements) => {
                let elements: Vec<_> = elements.iter().map(|element| self.part(&element.value)).collect();
                list(elements)
            }
            Node::Map(entries) => {
                let (mut cost, mut kinds) = (MAP, (Type::Dyn, Type::Dyn));
                let size = Range::of(entries.len() as u64);
                let (mut key, mut value) = (None, None);
                for entry in entries {
                    let (of, to) = (self.part(&entry.key), self.part(&entry.value));
                    cost = cost.plus(of.cost).plus(to.cost);
                    (key, value) = (either(key, of.size()), either(value, to.size()));
                    kinds = (of.kind, to.kind);
                }
                let entries = Entries { list: false, key: key.unwrap_or(NONE), value: value.unwrap_or(NONE) };
                Part { size: Some(size), entries: Some(entries), ..made(cost, Type::map(kinds.0, kinds.1)) }
            }
            Node::Struct { name, fields } => {
                let costs = fields.iter().map(|field| self.part(&field.value).cost);
                made(costs.fold(OBJECT, Range::plus), Type::Named(Arc::clone(name)))
            }
            Node::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn ident(&self, name: &Arc<str>) -> Part<'a> {
        let local = self.locals.iter().rev().find(|local| local.name == *name);
        if let Some(local) = local {
            return Part { size: local.size(), place: local.place, ..made(ONE, local.kind.clone()) };
        }
        let kind = self.environment.variable(name).cloned().unwrap_or(Type::Type);
        let place = Place::At(self.root);
        Part { size: Self::sized(place, &kind), place, ..made(ONE, kind) }
    }

    fn select(&mut self, operand: &Expr, field: &Arc<str>, access: Access) -> Part<'a> {
        let target = self.part(operand);
        // Whether a field is there costs nothing. Source: `PresenceTestHasCost(false)`.
        if access == Access::Test {
            return made(target.cost, Type::Bool);
        }
        let (of, optional) = match &target.kind {
            Type::Optional(of) => ((**of).clone(), true),
            of => (of.clone(), access == Access::Optional),
        };
        let found = match &of {
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => object.fields.get(field).cloned().unwrap_or(Type::Dyn),
            _ => Type::Dyn,
        };
        let kind = if optional { Type::optional(found) } else { found };
        if access == Access::Optional {
            return made(target.cost.plus(ONE), kind);
        }
        let counts = matches!(target.kind, Type::Map(..) | Type::Object(_) | Type::Named(_));
        let cost = if counts { target.cost.plus(ONE) } else { target.cost };
        let place = self.below(target.place, Step::Field(field));
        Part { size: Self::sized(place, &kind), place, ..made(cost, kind) }
    }

    fn conditional(&mut self, parts: &[Expr; 3]) -> Part<'a> {
        let [condition, yes, no] = parts.each_ref().map(|part| self.part(part));
        let cost = condition.cost.plus(yes.cost.or(no.cost));
        let entries = yes.entries.zip(no.entries).map(|(yes, no)| yes.or(no));
        let kind = if yes.kind == Type::Dyn { no.kind.clone() } else { yes.kind.clone() };
        Part { size: Some(yes.size().or(no.size())), entries, ..made(cost, kind) }
    }

    fn call(&self, function: &str, target: Option<Part<'a>>, args: Vec<Part<'a>>, written: &[Expr]) -> Part<'a> {
        if let ("dyn", [arg]) = (function, &*args) {
            return Part { size: arg.size, entries: arg.entries, ..made(arg.cost.plus(ONE), Type::Dyn) };
        }
        let kinds: Vec<Type> = target.iter().chain(&args).map(|part| part.kind.clone()).collect();
        let fitting = declarations::fitting(function, &kinds, target.is_some());
        let kind = declarations::result(&fitting);
        let mut found = Part { size: None, ..made(NONE, kind) };
        let mut own: Option<Range> = None;
        let mut size = None;
        for (overload, _) in &fitting {
            let call = Call { function, wanted: &overload.args, target: target.as_ref(), args: &args, written };
            let (cost, made) = call::estimate(self, &call);
            own = either(own, cost);
            if let Some(made) = made {
                size = either(size, made);
            }
            if function == "_[_]"
                && let Some(Type::List(..) | Type::Map(..)) = overload.args.first()
            {
                found.place = self.below(args[0].place, Step::Values);
                size = args[0].entries.map(|entries| entries.value);
            }
            size = size.or_else(|| Self::sized(found.place, &found.kind));
        }
        if function == "_+_" {
            found.entries =
                args[0].entries.zip(args.get(1).and_then(|arg| arg.entries)).map(|(one, other)| one.or(other));
        }
        found.size = size;
        found.cost = target.iter().chain(&args).map(|part| part.cost).fold(own.unwrap_or(NONE), Range::plus);
        found
    }
}

/// A step below a place.
enum Step<'a> {
    Values,
    Keys,
    Field(&'a str),
}

fn either(one: Option<Range>, other: Range) -> Option<Range> {
    Some(one.map_or(other, |one| one.or(other)))
}

/// What an expression makes itself.
fn made<'a>(cost: Range, kind: Type) -> Part<'a> {
    let size = is_scalar(&kind).then_some(ONE);
    Part { cost, size, entries: None, kind, place: Place::Nowhere }
}

fn literal<'a>(value: &Value) -> Part<'a> {
    let (kind, size) = match value {
        Value::String(text) => (Type::String, text.chars().count() as u64),
        Value::Bytes(bytes) => (Type::Bytes, bytes.len() as u64),
        Value::Bool(_) => (Type::Bool, 1),
        Value::Int(_) => (Type::Int, 1),
        Value::Uint(_) => (Type::Uint, 1),
        Value::Double(_) => (Type::Double, 1),
        Value::Null => (Type::Null, 1),
        _ => (Type::Dyn, 1),
    };
    Part { size: Some(Range::of(size)), ..made(NONE, kind) }
}

fn list(elements: Vec<Part<'_>>) -> Part<'_> {
    let cost = elements.iter().map(|element| element.cost).fold(LIST, Range::plus);
    let value = elements.iter().map(Part::size).reduce(Range::or).unwrap_or(NONE);
    let kind = elements.iter().map(|element| element.kind.clone()).find(|kind| *kind != Type::Null);
    let entries = Some(Entries { list: true, key: ONE, value });
    let size = Some(Range::of(elements.len() as u64));
    Part { size, entries, ..made(cost, Type::list(kind.unwrap_or(Type::Dyn))) }
}

/// Its size is known whatever its value. Source: `isScalar`.
fn is_scalar(kind: &Type) -> bool {
    match kind {
        Type::Bool | Type::Int | Type::Uint | Type::Double | Type::Duration | Type::Timestamp => true,
        Type::Optional(of) => is_scalar(of),
        _ => false,
    }
}
