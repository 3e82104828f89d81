//! Calls of functions and operators, and what they cost. Source of the costs: cel-go's `interpreter/runtimecost.go` and
//! `k8s.io/apiserver/pkg/cel/library/cost.go`.

use std::{cmp::Ordering, sync::Arc};

use super::{Failure, authority, convert, evaluate::Evaluator, library, lists, operators, text, time, value::Value};

type Result<T = Value> = std::result::Result<T, Failure>;

/// A question to the authorizer. Two of them fit in an expression.
const CHECK: u64 = 350_000;

/// A tenth, as text is counted. Source: `StringTraversalCostFactor`.
fn tenth(size: usize) -> u64 {
    size.div_ceil(10) as u64
}

/// The value of a function or a method; a method's target is the first of `args`.
pub fn call(evaluator: &mut Evaluator<'_>, function: &str, method: bool, args: &[Value]) -> Result {
    evaluator.spend(cost(function, args))?;
    if let [Value::Authority(check), rest @ ..] = args {
        return authority::call(function, check, rest);
    }
    match (function, args) {
        ("_==_" | "_!=_", [a, b]) => {
            Ok((compared(evaluator, |left| a.equals(b, left).ok_or(Failure::Limit))? == (function == "_==_")).into())
        }
        ("@in", [value, container]) => {
            compared(evaluator, |left| operators::contains(container, value, left)).map(Into::into)
        }
        ("includes", [container, value]) if !matches!(container, Value::List(_)) => {
            compared(evaluator, |left| container.equals(value, left).ok_or(Failure::Limit)).map(Into::into)
        }
        ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) => {
            if matches!((a, b), (Value::Double(x), _) | (_, Value::Double(x)) if x.is_nan()) {
                return Ok(false.into());
            }
            let order = a.compare(b).ok_or_else(Failure::no_overload)?;
            Ok(match function {
                "_<_" => order == Ordering::Less,
                "_<=_" => order != Ordering::Greater,
                "_>_" => order == Ordering::Greater,
                _ => order != Ordering::Less,
            }
            .into())
        }
        ("_+_" | "_-_" | "_*_" | "_/_" | "_%_", [a, b]) => operators::binary(function, a, b),
        ("-_", [Value::Int(value)]) => {
            value.checked_neg().map(Value::Int).ok_or_else(|| Failure::new("integer overflow"))
        }
        ("-_", [Value::Double(value)]) => Ok(Value::Double(-value)),
        ("!_", [Value::Bool(value)]) => Ok((!value).into()),
        ("int" | "uint" | "double" | "string" | "bytes" | "bool" | "timestamp" | "duration", [value]) => {
            convert::convert(function, value)
        }
        ("type", [value]) => Ok(Value::Type(value.type_name().into())),
        ("dyn", [value]) => Ok(value.clone()),
        ("size", [Value::Bytes(bytes)]) => Ok(Value::Int(bytes.len() as i64)),
        ("size", [Value::List(list)]) => Ok(Value::Int(list.len() as i64)),
        ("size", [Value::Map(map)]) => Ok(Value::Int(map.len() as i64)),
        ("optional.of", [value]) => Ok(Value::Optional(Some(Arc::new(value.clone())))),
        ("optional.ofNonZeroValue", [value]) => {
            Ok(Value::Optional((!value.is_zero()).then(|| Arc::new(value.clone()))))
        }
        ("optional.none", []) => Ok(Value::Optional(None)),
        ("value", [Value::Optional(value)]) => {
            value.as_deref().cloned().ok_or_else(|| Failure::new("optional.none() dereference"))
        }
        ("hasValue", [Value::Optional(value)]) => Ok(value.is_some().into()),
        ("or" | "orValue", [Value::Optional(None), other]) => Ok(other.clone()),
        ("matches" | "find" | "findAll", [Value::String(text), Value::String(pattern), rest @ ..]) => {
            let limit = if let [Value::Int(limit)] = rest { *limit } else { -1 };
            let pattern = evaluator.pattern(pattern)?;
            Ok(text::search(function, text, &pattern, limit))
        }
        ("format", [text, list]) => {
            weigh(evaluator, list)?;
            library::format(text, list)
        }
        (_, [value @ (Value::Timestamp(_) | Value::Duration(_))]) => time::part(function, value, None),
        (_, [value @ Value::Timestamp(_), Value::String(zone)]) => time::part(function, value, Some(zone)),
        _ => other(evaluator, function, method, args),
    }
}

fn other(evaluator: &mut Evaluator<'_>, function: &str, method: bool, args: &[Value]) -> Result {
    let libraries = matches!(args.first(), Some(Value::Library(_)));
    if !libraries {
        if let Some(found) = text::call(function, args) {
            return found;
        }
        let found = compared(evaluator, |left| lists::call(function, args, left).transpose());
        if let Some(found) = found? {
            return Ok(found);
        }
    }
    for arg in args {
        weigh(evaluator, arg)?;
    }
    library::call(function, method, args)
}

/// Pays for going through all of a value.
fn weigh(evaluator: &mut Evaluator<'_>, value: &Value) -> Result<()> {
    let weight = value.weight(evaluator.left()).ok_or(Failure::Limit)?;
    evaluator.spend(weight)
}

/// Pays for comparisons.
fn compared<T>(evaluator: &mut Evaluator<'_>, work: impl FnOnce(&mut u64) -> Result<T>) -> Result<T> {
    let before = evaluator.left();
    let mut left = before;
    let found = work(&mut left);
    // The first step is in the cost of the call.
    evaluator.spend((before - left).saturating_sub(1))?;
    found
}

fn cost(function: &str, args: &[Value]) -> u64 {
    let size = |i: usize| args.get(i).map_or(0, Value::size);
    match (function, args) {
        ("check", _) => CHECK,
        ("matches" | "find" | "findAll", [_, pattern, ..]) => {
            let found = if function == "findAll" { size(0) as u64 } else { 0 };
            (1 + tenth(size(0))) * pattern.size().div_ceil(4).max(1) as u64 + found
        }
        ("_+_", [Value::String(_) | Value::Bytes(_), _]) => 1 + tenth(size(0) + size(1)),
        ("_+_", [Value::List(a), Value::List(b)]) => 1 + (a.len() + b.len()) as u64,
        ("_<_" | "_<=_" | "_>_" | "_>=_", [Value::String(_) | Value::Bytes(_), _]) => 1 + tenth(size(0).min(size(1))),
        ("contains", _) => 1 + tenth(size(0)) * tenth(size(1)).max(1),
        ("replace", [text, from, to, ..]) => 1 + tenth(text.size()) * 2 + grown(text.size(), from.size(), to.size()),
        ("join", [Value::List(list), by @ ..]) => {
            let by = by.first().map_or(0, Value::size);
            list.iter().map(|part| 1 + tenth(part.size() + by) * 2).sum()
        }
        ("split", [Value::String(text), ..]) => 1 + text.len() as u64,
        ("charAt" | "indexOf" | "lastIndexOf" | "substring", [Value::String(text), ..]) => 1 + text.len() as u64 / 5,
        (_, [Value::String(text), ..]) => 1 + tenth(text.len()),
        (
            "distinct" | "sort" | "sum" | "min" | "max" | "isSorted" | "reverse" | "flatten" | "slice",
            [Value::List(list), ..],
        ) => 1 + list.len() as u64,
        ("lists.range", [Value::Int(count)]) => 1 + u64::try_from(*count).unwrap_or_default(),
        _ => 1,
    }
}

/// What a replacement may add to a text, at a tenth.
fn grown(text: usize, from: usize, to: usize) -> u64 {
    let count = text.checked_div(from).unwrap_or(text + 1);
    tenth(count.saturating_mul(to))
}
