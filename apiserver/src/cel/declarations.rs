//! The functions there are. Source: cel-spec's standard definitions, cel-go's `ext`, and `k8s.io/apiserver/pkg/cel`:
//! the environment of v1.37.

use std::{collections::HashMap, sync::LazyLock};

use super::kinds::{Bindings, Type};

/// One signature of a function.
#[derive(Debug)]
pub struct Overload {
    /// The first of `args` stands before the dot.
    pub method: bool,
    /// What it takes.
    pub args: Vec<Type>,
    /// What it makes.
    pub result: Type,
}

/// One function a line; a method's target stands before a colon.
const TABLE: &str = include_str!("declarations.txt");

static FUNCTIONS: LazyLock<HashMap<&'static str, Vec<Overload>>> = LazyLock::new(|| {
    let mut functions: HashMap<_, Vec<_>> = HashMap::new();
    for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some((name, overload)) = declaration(line) {
            functions.entry(name).or_default().push(overload);
        }
    }
    functions
});

/// The signatures of the function with this name.
pub fn find(name: &str) -> Option<&'static [Overload]> {
    FUNCTIONS.get(name).map(Vec::as_slice)
}

/// The signatures that these arguments fit, and what each makes of them. A method's target is the first argument.
pub fn fitting(name: &str, args: &[Type], method: bool) -> Vec<(&'static Overload, Type)> {
    let overloads = find(name).unwrap_or_default().iter();
    let fits = |overload: &'static Overload| {
        let mut bindings = Bindings::default();
        let arguments = overload.method == method && overload.args.len() == args.len();
        let fits = arguments && args.iter().zip(&overload.args).all(|(given, wanted)| bindings.fits(given, wanted));
        fits.then(|| (overload, bindings.apply(&overload.result)))
    };
    overloads.filter_map(fits).collect()
}

/// The one type that all signatures make; else it is known only when there is a value.
pub fn result(fitting: &[(&'static Overload, Type)]) -> Type {
    match fitting {
        [(_, first), rest @ ..] if rest.iter().all(|(_, kind)| kind == first) => first.clone(),
        _ => Type::Dyn,
    }
}

fn declaration(line: &'static str) -> Option<(&'static str, Overload)> {
    let (head, result) = line.rsplit_once(" -> ")?;
    let (target, head) = match head.split_once(" : ") {
        Some((target, head)) => (Some(target), head),
        None => (None, head),
    };
    let (name, args) = head.split_once('(')?;
    let args = split(args.strip_suffix(')')?);
    let args = target.into_iter().chain(args).map(kind).collect::<Option<_>>()?;
    Some((name, Overload { method: target.is_some(), args, result: kind(result)? }))
}

/// The parts between commas that stand in no parentheses.
fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut begin) = (Vec::new(), 0, 0);
    for (i, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(text[begin..i].trim());
                begin = i + 1;
            }
            _ => {}
        }
    }
    parts.push(text[begin..].trim());
    parts.retain(|part| !part.is_empty());
    parts
}

fn kind(text: &str) -> Option<Type> {
    if let Some((name, args)) = text.split_once('(') {
        let mut args = split(args.strip_suffix(')')?).into_iter().map(kind);
        return match name {
            "list" => Some(Type::list(args.next()??)),
            "optional" => Some(Type::optional(args.next()??)),
            "map" => Some(Type::map(args.next()??, args.next()??)),
            _ => None,
        };
    }
    Some(match text {
        "dyn" => Type::Dyn,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "type" => Type::Type,
        parameter if parameter.len() == 1 => Type::Parameter(parameter.chars().next()?),
        name => Type::Named(name.into()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_a_declaration() {
        for line in TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            assert!(declaration(line).is_some(), "{line}");
        }
    }
}
