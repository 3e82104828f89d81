//! What looks like a call and is a loop. Source: cel-go's `parser/macro.go`, `ext/comprehensions.go`, `ext/lists.go`,
//! `cel/macro.go` and the optional types' library.

use std::sync::Arc;

use super::{
    ast::{Access, Comprehension, Expr, Fold, Node},
    error::Issue,
};

/// `has(a.b)`, or a call of a function.
pub fn function(at: u32, name: Arc<str>, mut args: Vec<Expr>) -> Result<Expr, Issue> {
    if &*name == "has" && args.len() == 1 {
        let argument = args.remove(0);
        return match argument.node {
            Node::Select { operand, field, access: Access::Plain } => {
                Ok(Expr { at, node: Node::Select { operand, field, access: Access::Test } })
            }
            _ => Err(Issue { at: argument.at, message: "invalid argument to has() macro".into() }),
        };
    }
    Ok(Expr { at, node: Node::Call { function: name, target: None, args } })
}

/// A loop, or a call of a method.
pub fn method(at: u32, target: Expr, name: Arc<str>, mut args: Vec<Expr>) -> Result<Expr, Issue> {
    let fold = match (&*name, args.len()) {
        ("all", 2 | 3) => Fold::All,
        ("exists", 2 | 3) => Fold::Exists,
        ("exists_one" | "existsOne", 2 | 3) => Fold::ExistsOne,
        ("map", 2 | 3) => Fold::List,
        ("filter", 2) => Fold::Filter,
        ("transformList", 3 | 4) => Fold::List,
        ("transformMap", 3 | 4) => Fold::TransformMap,
        ("transformMapEntry", 3 | 4) => Fold::TransformMapEntry,
        ("sortBy", 2) => Fold::SortBy,
        ("optMap", 2) => Fold::OptMap,
        ("optFlatMap", 2) => Fold::OptFlatMap,
        _ => return Ok(Expr { at, node: Node::Call { function: name, target: Some(Box::new(target)), args } }),
    };
    let two = match &*name {
        "all" | "exists" | "exists_one" | "existsOne" => args.len() == 3,
        name => name.starts_with("transform"),
    };
    let missing = || Issue { at, message: "argument must be a simple name".into() };
    let step = args.pop().ok_or_else(missing)?;
    let filter = match &*name {
        "map" if args.len() == 2 => args.pop(),
        name if name.starts_with("transform") && args.len() == 3 => args.pop(),
        _ => None,
    };
    let simple = |argument: Expr| match argument.node {
        Node::Ident(name) => Ok(name),
        _ => Err(Issue { at: argument.at, message: "argument must be a simple name".into() }),
    };
    let second = if two { Some(simple(args.pop().ok_or_else(missing)?)?) } else { None };
    let variable = simple(args.pop().ok_or_else(missing)?)?;
    if second.as_ref() == Some(&variable) {
        return Err(Issue { at, message: format!("duplicate variable name: {variable}") });
    }
    let comprehension = Comprehension { fold, range: target, variable, second, filter, step };
    Ok(Expr { at, node: Node::Comprehension(Box::new(comprehension)) })
}
