//! The value of an expression. Source of the semantics: cel-spec's `langdef.md`; of the costs: cel-go's
//! `interpreter/runtimecost.go`.

use std::{cmp::Ordering, collections::HashMap, sync::Arc};

use regex::Regex;

use super::{
    Budget, Failure,
    ast::{Access, Comprehension, Element, Entry, Expr, Field, Fold, Node},
    call, operators, text,
    value::{Key, Map, Value},
};

/// The values of the variables.
#[derive(Clone, Copy, Default)]
pub struct Activation<'a> {
    variables: &'a [(&'a str, Value)],
    lazy: Option<&'a dyn Lazy>,
}

/// Variables whose values are made when they are first asked for: `variables.NAME`.
pub trait Lazy {
    /// The value of a variable, if there is one of this name.
    fn variable(&self, name: &str) -> Option<Result>;
}

impl<'a> Activation<'a> {
    /// These variables.
    pub fn new(variables: &'a [(&'a str, Value)]) -> Self {
        Self { variables, lazy: None }
    }

    /// And these, under `variables`.
    #[must_use]
    pub fn and(self, lazy: &'a dyn Lazy) -> Self {
        Self { lazy: Some(lazy), ..self }
    }
}

type Result<T = Value> = std::result::Result<T, Failure>;

/// What compiling a pattern costs, which takes long and much memory. cel-go does not count it.
const PATTERN: u64 = 5_000;
/// What a list costs to make. Source: `common.ListCreateBaseCost`.
const LIST: u64 = 10;
/// What a map costs to make. Source: `common.MapCreateBaseCost`.
const MAP: u64 = 30;
/// What an object costs to make. Source: `common.StructCreateBaseCost`.
const OBJECT: u64 = 40;

pub(super) struct Evaluator<'a> {
    activation: &'a Activation<'a>,
    locals: Vec<(Arc<str>, Value)>,
    patterns: HashMap<Arc<str>, Regex>,
    budget: &'a mut Budget,
}

impl<'a> Evaluator<'a> {
    pub fn new(activation: &'a Activation<'a>, budget: &'a mut Budget) -> Self {
        Self { activation, locals: Vec::new(), patterns: HashMap::new(), budget }
    }

    pub fn spend(&mut self, cost: u64) -> Result<()> {
        self.budget.spend(cost)
    }

    pub fn left(&self) -> u64 {
        self.budget.left
    }

    /// A compiled pattern: compiled once an evaluation, which is paid for.
    pub fn pattern(&mut self, pattern: &Arc<str>) -> Result<Regex> {
        if let Some(known) = self.patterns.get(pattern) {
            return Ok(known.clone());
        }
        self.spend(PATTERN)?;
        let compiled = text::compile(pattern)?;
        self.patterns.insert(Arc::clone(pattern), compiled.clone());
        Ok(compiled)
    }

    /// Every level of an expression is a frame of this function and of one below, so both are kept small.
    pub fn value(&mut self, expr: &Expr) -> Result {
        match &expr.node {
            Node::Literal(value) => Ok(value.clone()),
            Node::Ident(name) => self.ident(name),
            Node::Select { operand, field, access } => self.select(operand, field, *access),
            Node::Index { operand, index, optional } => self.index(operand, index, *optional),
            Node::Call { function, target, args } => self.call(function, target.as_deref(), args),
            Node::And(terms) => self.terms(terms, false),
            Node::Or(terms) => self.terms(terms, true),
            Node::Conditional(parts) => self.conditional(parts),
            Node::List(elements) => self.list(elements),
            Node::Map(entries) => self.map(entries),
            Node::Struct { fields, .. } => self.object(fields),
            Node::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    #[inline(never)]
    fn ident(&mut self, name: &Arc<str>) -> Result {
        self.spend(1)?;
        if let Some((_, value)) = self.locals.iter().rev().find(|(local, _)| local == name) {
            return Ok(value.clone());
        }
        if let Some((_, value)) = self.activation.variables.iter().find(|(known, _)| *known == &**name) {
            return Ok(value.clone());
        }
        if matches!(
            &**name,
            "bool" | "int" | "uint" | "double" | "string" | "bytes" | "list" | "map" | "null_type" | "type"
        ) {
            return Ok(Value::Type(Arc::clone(name)));
        }
        Err(Failure::new(format!("no such attribute(s): {name}")))
    }

    #[inline(never)]
    fn select(&mut self, operand: &Expr, field: &Arc<str>, access: Access) -> Result {
        if let (Node::Ident(name), Some(lazy)) = (&operand.node, self.activation.lazy)
            && &**name == "variables"
            && !self.locals.iter().any(|(local, _)| &**local == "variables")
        {
            self.spend(1)?;
            return match (lazy.variable(field), access) {
                (found, Access::Test) => Ok(found.is_some().into()),
                (Some(found), _) => found,
                (None, Access::Optional) => Ok(Value::Optional(None)),
                (None, Access::Plain) => Err(Failure::new(format!("no such key: {field}"))),
            };
        }
        let target = self.value(operand)?;
        if access != Access::Test {
            self.spend(1)?;
        }
        let (target, optional) = match target {
            Value::Optional(None) if access == Access::Test => return Ok(false.into()),
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(value)) => ((*value).clone(), true),
            target => (target, access == Access::Optional),
        };
        let Value::Map(map) = &target else {
            return match access {
                Access::Test if optional => Ok(false.into()),
                _ => Err(Failure::no_overload()),
            };
        };
        let found = map.get(&Key::String(Arc::clone(field)));
        match (found, access) {
            (found, Access::Test) => Ok(found.is_some().into()),
            (found, _) if optional => Ok(Value::Optional(found.cloned().map(Arc::new))),
            (Some(found), _) => Ok(found.clone()),
            (None, _) => Err(Failure::new(format!("no such key: {field}"))),
        }
    }

    #[inline(never)]
    fn index(&mut self, operand: &Expr, index: &Expr, optional: bool) -> Result {
        let target = self.value(operand)?;
        let index = self.value(index)?;
        self.spend(1)?;
        let (target, optional) = match target {
            Value::Optional(None) => return Ok(Value::Optional(None)),
            Value::Optional(Some(value)) => ((*value).clone(), true),
            target => (target, optional),
        };
        match (operators::index(&target, &index), optional) {
            (Ok(found), true) => Ok(Value::Optional(Some(Arc::new(found)))),
            (Err(_), true) => Ok(Value::Optional(None)),
            (found, false) => found,
        }
    }

    #[inline(never)]
    fn call(&mut self, function: &str, target: Option<&Expr>, args: &[Expr]) -> Result {
        let mut values = Vec::with_capacity(args.len() + 1);
        if let Some(target) = target {
            values.push(self.value(target)?);
        }
        // `optional.or` looks no further than it must.
        if let (Some(Value::Optional(Some(value))), "or" | "orValue") = (values.first(), function) {
            return Ok(if function == "or" { values[0].clone() } else { (**value).clone() });
        }
        for arg in args {
            values.push(self.value(arg)?);
        }
        call::call(self, function, target.is_some(), &values)
    }

    /// `&&` and `||`: a term that decides does so whatever is wrong with the others.
    #[inline(never)]
    fn terms(&mut self, terms: &[Expr], decides: bool) -> Result {
        let mut wrong = None;
        for term in terms {
            match self.value(term) {
                Ok(Value::Bool(found)) if found == decides => return Ok(decides.into()),
                Ok(Value::Bool(_)) => {}
                Ok(_) => wrong = wrong.or_else(|| Some(Failure::no_overload())),
                Err(Failure::Limit) => return Err(Failure::Limit),
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
        wrong.map_or(Ok((!decides).into()), Err)
    }

    #[inline(never)]
    fn conditional(&mut self, parts: &[Expr; 3]) -> Result {
        let [condition, yes, no] = parts;
        match self.value(condition)? {
            Value::Bool(true) => self.value(yes),
            Value::Bool(false) => self.value(no),
            _ => Err(Failure::no_overload()),
        }
    }

    #[inline(never)]
    fn list(&mut self, elements: &[Element]) -> Result {
        self.spend(LIST)?;
        let mut list = Vec::with_capacity(elements.len());
        for element in elements {
            match (self.value(&element.value)?, element.optional) {
                (Value::Optional(Some(value)), true) => list.push((*value).clone()),
                (Value::Optional(None), true) => {}
                (value, _) => list.push(value),
            }
        }
        Ok(list.into())
    }

    #[inline(never)]
    fn map(&mut self, entries: &[Entry]) -> Result {
        self.spend(MAP)?;
        let mut map = Map::new();
        for entry in entries {
            let key = self.value(&entry.key)?;
            let key = Key::of(&key).ok_or_else(|| Failure::new("unsupported key type"))?;
            let value = match (self.value(&entry.value)?, entry.optional) {
                (Value::Optional(Some(value)), true) => (*value).clone(),
                (Value::Optional(None), true) => continue,
                (value, _) => value,
            };
            if map.insert(key.clone(), value).is_some() {
                return Err(Failure::new(format!("duplicate map key: {key}")));
            }
        }
        Ok(map.into())
    }

    #[inline(never)]
    fn object(&mut self, fields: &[Field]) -> Result {
        self.spend(OBJECT)?;
        let mut map = Map::new();
        for field in fields {
            let value = match (self.value(&field.value)?, field.optional) {
                (Value::Optional(Some(value)), true) => (*value).clone(),
                (Value::Optional(None), true) => continue,
                (value, _) => value,
            };
            map.insert(Key::String(Arc::clone(&field.name)), value);
        }
        Ok(map.into())
    }

    #[inline(never)]
    fn comprehension(&mut self, comprehension: &Comprehension) -> Result {
        let range = self.value(&comprehension.range)?;
        let before = self.locals.len();
        let found = match (comprehension.fold, range) {
            (Fold::OptMap | Fold::OptFlatMap, Value::Optional(None)) => Ok(Value::Optional(None)),
            (fold @ (Fold::OptMap | Fold::OptFlatMap), Value::Optional(Some(value))) => {
                self.locals.push((Arc::clone(&comprehension.variable), (*value).clone()));
                let found = self.value(&comprehension.step);
                if fold == Fold::OptMap { found.map(|found| Value::Optional(Some(Arc::new(found)))) } else { found }
            }
            (_, Value::List(list)) => {
                let items = list.iter().enumerate().map(|(i, value)| (Value::Int(i as i64), value.clone()));
                self.fold(comprehension, items, true)
            }
            (_, Value::Map(map)) => {
                let items = map.iter().map(|(key, value)| (key.value(), value.clone()));
                self.fold(comprehension, items, false)
            }
            _ => Err(Failure::no_overload()),
        };
        self.locals.truncate(before);
        found
    }

    /// Folds items, each a key and a value. With one name, that is the value of a list and the key of a map.
    fn fold(&mut self, c: &Comprehension, items: impl Iterator<Item = (Value, Value)>, list: bool) -> Result {
        let mut folded = Folded::default();
        let before = self.locals.len();
        for (key, value) in items {
            self.spend(1)?;
            self.locals.truncate(before);
            match &c.second {
                None => self.locals.push((Arc::clone(&c.variable), if list { value.clone() } else { key.clone() })),
                Some(second) => {
                    self.locals.push((Arc::clone(&c.variable), key.clone()));
                    self.locals.push((Arc::clone(second), value.clone()));
                }
            }
            if let Some(filter) = &c.filter {
                match self.value(filter)? {
                    Value::Bool(true) => {}
                    Value::Bool(false) => continue,
                    _ => return Err(Failure::no_overload()),
                }
            }
            let found = self.value(&c.step);
            if let Some(decided) = folded.add(c.fold, found, key, if list { Some(value) } else { None })? {
                return Ok(decided);
            }
        }
        folded.end(c.fold)
    }
}

/// What a loop has come to so far.
#[derive(Default)]
struct Folded {
    count: u64,
    wrong: Option<Failure>,
    list: Vec<Value>,
    keys: Vec<Value>,
    map: Map,
}

impl Folded {
    /// Takes one step's value in. A value comes back where no later step can change it.
    fn add(&mut self, fold: Fold, found: Result, key: Value, value: Option<Value>) -> Result<Option<Value>> {
        match fold {
            Fold::All | Fold::Exists => match found {
                Ok(Value::Bool(found)) if found == (fold == Fold::Exists) => return Ok(Some(found.into())),
                Ok(Value::Bool(_)) => {}
                Err(Failure::Limit) => return Err(Failure::Limit),
                Ok(_) => self.wrong = self.wrong.take().or_else(|| Some(Failure::no_overload())),
                Err(error) => self.wrong = self.wrong.take().or(Some(error)),
            },
            Fold::ExistsOne => match found? {
                Value::Bool(found) => self.count += u64::from(found),
                _ => return Err(Failure::no_overload()),
            },
            Fold::Filter => match found? {
                Value::Bool(true) => self.list.push(value.unwrap_or(key)),
                Value::Bool(false) => {}
                _ => return Err(Failure::no_overload()),
            },
            Fold::List => self.list.push(found?),
            Fold::SortBy => {
                self.keys.push(found?);
                self.list.push(value.unwrap_or(key));
            }
            Fold::TransformMap => {
                let key = Key::of(&key).ok_or_else(|| Failure::new("unsupported key type"))?;
                self.map.insert(key, found?);
            }
            Fold::TransformMapEntry => match found? {
                Value::Map(entry) => {
                    for (key, value) in entry.iter() {
                        if self.map.insert(key.clone(), value.clone()).is_some() {
                            return Err(Failure::new(format!("insert failed: key {key} already exists")));
                        }
                    }
                }
                _ => return Err(Failure::no_overload()),
            },
            Fold::OptMap | Fold::OptFlatMap => return Err(Failure::no_overload()),
        }
        Ok(None)
    }

    fn end(self, fold: Fold) -> Result {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        Ok(match fold {
            Fold::All => true.into(),
            Fold::Exists => false.into(),
            Fold::ExistsOne => (self.count == 1).into(),
            Fold::TransformMap | Fold::TransformMapEntry => self.map.into(),
            Fold::SortBy => {
                let mut pairs: Vec<_> = self.keys.into_iter().zip(self.list).collect();
                if pairs.windows(2).any(|pair| pair[0].0.compare(&pair[1].0).is_none()) {
                    return Err(Failure::new("list elements must be comparable"));
                }
                pairs.sort_by(|a, b| a.0.order(&b.0));
                pairs.into_iter().map(|(_, value)| value).collect::<Vec<_>>().into()
            }
            _ => self.list.into(),
        })
    }
}
