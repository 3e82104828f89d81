//! Which type an expression has, and whether its names mean anything. Source of the rules and the wording: cel-go's
//! `checker/checker.go` and `checker/errors.go`.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    ast::{Access, Comprehension, Expr, Fold, Node},
    declarations,
    error::Issue,
    kinds::{Bindings, Type},
    parse::qualified,
    time,
    value::Value,
};

/// What stands in an expression by a name.
pub struct Checker<'a> {
    variables: &'a BTreeMap<Arc<str>, Type>,
    mutations: bool,
    locals: Vec<(Arc<str>, Type)>,
    /// What is wrong.
    pub issues: Vec<Issue>,
}

/// The functions whose argument, where it is a literal, must parse.
const LITERALS: [&str; 3] = ["duration", "timestamp", "matches"];

impl<'a> Checker<'a> {
    /// With these variables, and the types that mutations make where they may.
    pub fn new(variables: &'a BTreeMap<Arc<str>, Type>, mutations: bool) -> Self {
        Self { variables, mutations, locals: Vec::new(), issues: Vec::new() }
    }

    fn issue(&mut self, at: u32, message: String) -> Type {
        self.issues.push(Issue { at, message });
        Type::Dyn
    }

    fn undeclared(&mut self, at: u32, name: &str) -> Type {
        self.issue(at, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn variable(&self, name: &str) -> Option<Type> {
        let local = self.locals.iter().rev().find(|(local, _)| &**local == name).map(|(_, kind)| kind.clone());
        local.or_else(|| self.variables.get(name).cloned())
    }

    /// The type of an expression. Names with dots in them are put together on the way.
    pub fn check(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        match &mut expr.node {
            Node::Literal(value) => literal(value),
            Node::Ident(name) => {
                let name = Arc::clone(name);
                self.ident(at, &name)
            }
            Node::Select { .. } => self.select(expr),
            Node::Index { operand, index, optional } => {
                let args = [self.check(operand), self.check(index)];
                let function = if *optional { "_[?_]" } else { "_[_]" };
                self.resolve(at, function, &args, false)
            }
            Node::Call { .. } => self.call(expr),
            Node::And(terms) => self.terms("_&&_", at, terms),
            Node::Or(terms) => self.terms("_||_", at, terms),
            Node::Conditional(parts) => {
                let [condition, yes, no] = &mut **parts;
                let args = [self.check(condition), self.check(yes), self.check(no)];
                self.resolve(at, "_?_:_", &args, false)
            }
            Node::List(elements) => {
                let mut kinds = Vec::new();
                for element in elements {
                    let at = element.value.at;
                    let kind = self.check(&mut element.value);
                    kinds.push((at, if element.optional { self.unwrapped(at, kind) } else { kind }));
                }
                Type::list(self.joined(kinds))
            }
            Node::Map(entries) => {
                let (mut keys, mut values) = (Vec::new(), Vec::new());
                for entry in entries {
                    let (at, key) = (entry.key.at, self.check(&mut entry.key));
                    // This also keeps types small: a map's key holds no map.
                    if !matches!(key, Type::Bool | Type::Int | Type::Uint | Type::String | Type::Dyn) {
                        self.issue(at, format!("unsupported map key type: {key}"));
                    }
                    keys.push((at, key));
                    let at = entry.value.at;
                    let kind = self.check(&mut entry.value);
                    values.push((at, if entry.optional { self.unwrapped(at, kind) } else { kind }));
                }
                Type::map(self.joined(keys), self.joined(values))
            }
            Node::Struct { .. } => self.object(expr),
            Node::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn ident(&mut self, at: u32, name: &str) -> Type {
        match self.variable(name) {
            Some(kind) => kind,
            None if type_name(name) => Type::Type,
            None => self.undeclared(at, name),
        }
    }

    fn terms(&mut self, function: &str, at: u32, terms: &mut [Expr]) -> Type {
        for term in terms.iter_mut() {
            let kind = self.check(term);
            if !Bindings::default().fits(&kind, &Type::Bool) {
                let message = format!("expected type 'bool' but found '{kind}'");
                let at = if term.at == 0 { at.min(term.at) } else { term.at };
                let _ = function;
                self.issue(at, message);
            }
        }
        Type::Bool
    }

    /// The element of an optional value.
    fn unwrapped(&mut self, at: u32, kind: Type) -> Type {
        match kind {
            Type::Optional(of) => (*of).clone(),
            Type::Dyn => Type::Dyn,
            kind => self.issue(at, format!("expected type 'optional_type({kind})' but found '{kind}'")),
        }
    }

    /// The one type of all elements of a literal. Source: `HomogeneousAggregateLiterals`.
    fn joined(&mut self, kinds: Vec<(u32, Type)>) -> Type {
        let mut kinds = kinds.into_iter();
        let Some((_, mut joined)) = kinds.next() else { return Type::Dyn };
        for (at, kind) in kinds {
            let mut bindings = Bindings::default();
            if bindings.fits(&kind, &joined) {
                if joined == Type::Null {
                    joined = kind;
                }
            } else if bindings.fits(&joined, &kind) {
                joined = kind;
            } else {
                self.issue(at, format!("expected type '{joined}' but found '{kind}'"));
            }
        }
        joined
    }

    fn select(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        // `authorizer.requestResource` is a name with a dot in it.
        if let Some(name) = qualified(expr)
            && let Some(kind) = self.variables.get(&*name).cloned()
            && !self.locals.iter().any(|(local, _)| name.split('.').next() == Some(local))
        {
            expr.node = Node::Ident(name.into());
            return kind;
        }
        let Node::Select { operand, field, access } = &mut expr.node else { return Type::Dyn };
        let (field, access) = (Arc::clone(field), *access);
        if let Node::Ident(name) = &operand.node
            && self.variable(name).is_none()
            && !type_name(name)
        {
            let name = Arc::clone(name);
            return self.undeclared(operand.at, &name);
        }
        let target = self.check(operand);
        let (of, optional) = match &target {
            Type::Optional(of) => ((**of).clone(), true),
            of => (of.clone(), access == Access::Optional),
        };
        let found = match &of {
            Type::Dyn => Type::Dyn,
            Type::Map(_, value) => (**value).clone(),
            Type::Object(object) => match object.fields.get(&field) {
                Some(kind) => kind.clone(),
                None => self.issue(at, format!("undefined field '{field}'")),
            },
            Type::Named(name) if self.mutations && (name.starts_with("Object") || &**name == "JSONPatch") => Type::Dyn,
            kind => self.issue(at, format!("type '{kind}' does not support field selection")),
        };
        match access {
            Access::Test => Type::Bool,
            _ if optional => Type::optional(found),
            _ => found,
        }
    }

    fn call(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        let Node::Call { function, target, args } = &mut expr.node else { return Type::Dyn };
        // `sets.contains(…)` is a function with a dot in its name.
        if let Some(before) = target.as_deref().and_then(qualified) {
            let name = format!("{before}.{function}");
            let first = before.split('.').next().unwrap_or_default();
            if self.variable(first).is_none() && declarations::find(&name).is_some() {
                *function = name.into();
                *target = None;
            }
        }
        let (function, method) = (Arc::clone(function), target.is_some());
        if declarations::find(&function).is_none() {
            self.undeclared(at, &function);
        }
        let mut kinds = Vec::new();
        if let Some(target) = target {
            kinds.push(self.check(target));
        }
        for arg in args.iter_mut() {
            kinds.push(self.check(arg));
        }
        if LITERALS.contains(&&*function)
            && let Some(Expr { at, node: Node::Literal(Value::String(text)) }) = args.last()
        {
            self.check_literal(*at, &function, text);
        }
        if declarations::find(&function).is_none() {
            return Type::Dyn;
        }
        self.resolve(at, &function, &kinds, method)
    }

    fn check_literal(&mut self, at: u32, function: &str, text: &str) {
        let wrong = match function {
            "duration" => time::duration(text).is_err(),
            "timestamp" => time::timestamp(text).is_err(),
            _ => super::text::compile(text).is_err(),
        };
        if wrong {
            let function = if function == "matches" { "regular expression" } else { function };
            self.issue(at, format!("invalid {function} argument: {text}"));
        }
    }

    /// The type of a call, by the signatures that fit.
    fn resolve(&mut self, at: u32, function: &str, args: &[Type], method: bool) -> Type {
        let fitting = declarations::fitting(function, args, method);
        if !fitting.is_empty() {
            return declarations::result(&fitting);
        }
        let shown = |args: &[Type]| args.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let applied = match args {
            [target, rest @ ..] if method => format!("{target}.({})", shown(rest)),
            args => format!("({})", shown(args)),
        };
        self.issue(at, format!("found no matching overload for '{function}' applied to '{applied}'"))
    }

    fn comprehension(&mut self, comprehension: &mut Comprehension) -> Type {
        let at = comprehension.range.at;
        let range = self.check(&mut comprehension.range);
        let two = comprehension.second.is_some();
        let (first, second) = match (&range, comprehension.fold) {
            (Type::Optional(of), Fold::OptMap | Fold::OptFlatMap) => ((**of).clone(), Type::Dyn),
            (Type::List(element, _), _) if two => (Type::Int, (**element).clone()),
            (Type::List(element, _), _) => ((**element).clone(), Type::Dyn),
            (Type::Map(key, value), _) => ((**key).clone(), (**value).clone()),
            (Type::Dyn, _) => (Type::Dyn, Type::Dyn),
            (other, _) => {
                let message = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                (self.issue(at, message), Type::Dyn)
            }
        };
        let before = self.locals.len();
        self.locals.push((Arc::clone(&comprehension.variable), first.clone()));
        if let Some(name) = &comprehension.second {
            self.locals.push((Arc::clone(name), second));
        }
        let boolean = |checker: &mut Self, expr: &mut Expr| {
            let kind = checker.check(expr);
            if !Bindings::default().fits(&kind, &Type::Bool) {
                let at = expr.at;
                checker.issue(at, format!("expected type 'bool' but found '{kind}'"));
            }
        };
        if let Some(filter) = &mut comprehension.filter {
            boolean(self, filter);
        }
        let result = match comprehension.fold {
            Fold::All | Fold::Exists | Fold::ExistsOne => {
                boolean(self, &mut comprehension.step);
                Type::Bool
            }
            Fold::Filter => {
                boolean(self, &mut comprehension.step);
                Type::list(first)
            }
            Fold::List => Type::list(self.check(&mut comprehension.step)),
            Fold::TransformMap => {
                let value = self.check(&mut comprehension.step);
                let key = if let Type::Map(key, _) = &range { (**key).clone() } else { Type::Int };
                Type::map(key, value)
            }
            Fold::TransformMapEntry => self.check(&mut comprehension.step),
            Fold::SortBy => {
                self.check(&mut comprehension.step);
                Type::list(first)
            }
            Fold::OptMap => Type::optional(self.check(&mut comprehension.step)),
            Fold::OptFlatMap => self.check(&mut comprehension.step),
        };
        self.locals.truncate(before);
        result
    }

    fn object(&mut self, expr: &mut Expr) -> Type {
        let at = expr.at;
        let Node::Struct { name, fields } = &mut expr.node else { return Type::Dyn };
        let name = Arc::clone(name);
        let patch = &*name == "JSONPatch";
        if !self.mutations || !(patch || &*name == "Object" || name.starts_with("Object.")) {
            for field in fields {
                self.check(&mut field.value);
            }
            return self.undeclared(at, &name);
        }
        for field in fields {
            let kind = self.check(&mut field.value);
            if patch {
                let wanted = match &*field.name {
                    "op" | "path" | "from" => Type::String,
                    "value" => Type::Dyn,
                    _ => {
                        let message = format!("undefined field '{}'", field.name);
                        self.issue(field.at, message);
                        continue;
                    }
                };
                if !Bindings::default().fits(&kind, &wanted) {
                    let message =
                        format!("expected type of field '{}' is '{wanted}' but provided type is '{kind}'", field.name);
                    self.issue(field.at, message);
                }
            } else if let Some(wrong) = misplaced(&name, &field.name, &kind) {
                self.issue(field.at, wrong);
            }
        }
        Type::Named(name)
    }
}

/// An object stands in the field that its type's name says. Source: `k8s.io/apiserver/pkg/cel/mutation`.
fn misplaced(parent: &str, field: &str, kind: &Type) -> Option<String> {
    match kind {
        Type::Named(name) if name.starts_with("Object") => {
            let wanted = format!("{parent}.{field}");
            (**name != *wanted).then(|| {
                format!(
                    "unexpected type name {name:?}, expected {wanted:?}, which matches field name path from root Object type"
                )
            })
        }
        Type::List(element, _) => misplaced(parent, field, element),
        Type::Map(_, value) => misplaced(parent, field, value),
        _ => None,
    }
}

fn type_name(name: &str) -> bool {
    matches!(name, "bool" | "int" | "uint" | "double" | "string" | "bytes" | "list" | "map" | "null_type" | "type")
}

fn literal(value: &Value) -> Type {
    match value {
        Value::Null => Type::Null,
        Value::Bool(_) => Type::Bool,
        Value::Int(_) => Type::Int,
        Value::Uint(_) => Type::Uint,
        Value::Double(_) => Type::Double,
        Value::String(_) => Type::String,
        Value::Bytes(_) => Type::Bytes,
        _ => Type::Dyn,
    }
}
