//! Functions of lists and sets. Source: cel-go's `ext/lists.go` (version 3), `ext/sets.go`, and
//! `k8s.io/apiserver/pkg/cel/library/lists.go` (version 1).

use std::{cmp::Ordering, sync::Arc};

use super::{Failure, operators, value::Value};

type Result<T = Value> = std::result::Result<T, Failure>;

/// `lists.range(n)` makes no longer list. Source: the cost limit, at 1 for each element.
const RANGE: i64 = 100_000;

/// A function whose first argument is a list; `None` where it is no function of lists. Comparisons are paid from `left`.
pub fn call(function: &str, args: &[Value], left: &mut u64) -> Option<Result> {
    if let ("lists.range", [Value::Int(count)]) = (function, args) {
        return Some(range(*count));
    }
    let [Value::List(list), rest @ ..] = args else { return None };
    Some(match (function, rest) {
        ("isSorted", []) => sorted(list),
        ("sum", []) => sum(list),
        ("min", []) => extreme(list, Ordering::Less, "min"),
        ("max", []) => extreme(list, Ordering::Greater, "max"),
        ("indexOf", [value]) => position(list.iter().enumerate(), value, left),
        ("lastIndexOf", [value]) => position(list.iter().enumerate().rev(), value, left),
        ("includes", [value]) => operators::contains(&args[0], value, left).map(Into::into),
        ("slice", [Value::Int(from), Value::Int(to)]) => slice(list, *from, *to),
        ("flatten", []) => flatten(list, 1),
        ("flatten", [Value::Int(depth)]) => flatten(list, *depth),
        ("distinct", []) => distinct(list, left),
        ("reverse", []) => Ok(list.iter().rev().cloned().collect::<Vec<_>>().into()),
        ("sort", []) => sort(list),
        ("first", []) => Ok(Value::Optional(list.first().cloned().map(Arc::new))),
        ("last", []) => Ok(Value::Optional(list.last().cloned().map(Arc::new))),
        ("join", []) => join(list, ""),
        ("join", [Value::String(by)]) => join(list, by),
        ("unwrapOpt" | "optional.unwrap", []) => {
            let values = list.iter().filter_map(|value| match value {
                Value::Optional(Some(value)) => Some((**value).clone()),
                _ => None,
            });
            Ok(values.collect::<Vec<_>>().into())
        }
        ("sets.contains", [Value::List(part)]) => contains(list, part, left).map(Into::into),
        ("sets.equivalent", [Value::List(other)]) => {
            contains(list, other, left).and_then(|one| Ok((one && contains(other, list, left)?).into()))
        }
        ("sets.intersects", [Value::List(other)]) => intersects(list, other, left),
        _ => return None,
    })
}

fn range(count: i64) -> Result {
    if count > RANGE {
        return Err(Failure::Limit);
    }
    Ok((0..count).map(Value::Int).collect::<Vec<_>>().into())
}

fn sorted(list: &[Value]) -> Result {
    for pair in list.windows(2) {
        match pair[0].compare(&pair[1]) {
            Some(Ordering::Greater) => return Ok(false.into()),
            Some(_) => {}
            None => return Err(Failure::no_overload()),
        }
    }
    Ok(true.into())
}

fn sum(list: &[Value]) -> Result {
    let Some((first, rest)) = list.split_first() else { return Ok(Value::Int(0)) };
    rest.iter().try_fold(first.clone(), |sum, value| operators::binary("_+_", &sum, value))
}

fn extreme(list: &[Value], wanted: Ordering, name: &str) -> Result {
    let Some((first, rest)) = list.split_first() else {
        return Err(Failure::new(format!("{name} called on empty list")));
    };
    let mut found = first;
    for value in rest {
        match value.compare(found) {
            Some(order) if order == wanted => found = value,
            Some(_) => {}
            None => return Err(Failure::no_overload()),
        }
    }
    Ok(found.clone())
}

fn position<'a>(items: impl Iterator<Item = (usize, &'a Value)>, wanted: &Value, left: &mut u64) -> Result {
    for (i, value) in items {
        if value.equals(wanted, left).ok_or(Failure::Limit)? {
            return Ok(Value::Int(i as i64));
        }
    }
    Ok(Value::Int(-1))
}

fn slice(list: &[Value], from: i64, to: i64) -> Result {
    if from < 0 || to < 0 {
        return Err(Failure::new(format!("cannot slice({from}, {to}), negative indexes not supported")));
    }
    if from > to {
        return Err(Failure::new(format!(
            "cannot slice({from}, {to}), start index must be less than or equal to end index"
        )));
    }
    match list.get(from as usize..to as usize) {
        Some(part) => Ok(part.to_vec().into()),
        None => Err(Failure::new(format!("cannot slice({from}, {to}), list is length {}", list.len()))),
    }
}

fn flatten(list: &[Value], depth: i64) -> Result {
    if depth < 0 {
        return Err(Failure::new("level must be non-negative"));
    }
    let mut flat = list.to_vec();
    // Nothing is nested more deeply than an expression or an object may be.
    for _ in 0..depth.min(100) {
        let mut next = Vec::with_capacity(flat.len());
        let mut changed = false;
        for value in flat {
            match value {
                Value::List(inner) => {
                    changed = true;
                    next.extend(inner.iter().cloned());
                }
                value => next.push(value),
            }
            if next.len() > RANGE as usize {
                return Err(Failure::Limit);
            }
        }
        flat = next;
        if !changed {
            break;
        }
    }
    Ok(flat.into())
}

fn distinct(list: &[Value], left: &mut u64) -> Result {
    let mut found: Vec<Value> = Vec::new();
    'next: for value in list {
        for known in &found {
            if known.equals(value, left).ok_or(Failure::Limit)? {
                continue 'next;
            }
        }
        found.push(value.clone());
    }
    Ok(found.into())
}

fn sort(list: &[Value]) -> Result {
    if let Some(first) = list.first()
        && list.iter().any(|value| value.compare(first).is_none())
    {
        return Err(Failure::new("list elements must have the same type"));
    }
    let mut sorted = list.to_vec();
    sorted.sort_by(Value::order);
    Ok(sorted.into())
}

fn join(list: &[Value], by: &str) -> Result {
    let texts = list.iter().map(|value| match value {
        Value::String(text) => Ok(&**text),
        _ => Err(Failure::no_overload()),
    });
    Ok(texts.collect::<Result<Vec<_>>>()?.join(by).into())
}

fn contains(list: &[Value], part: &[Value], left: &mut u64) -> Result<bool> {
    'next: for wanted in part {
        for value in list {
            if value.equals(wanted, left).ok_or(Failure::Limit)? {
                continue 'next;
            }
        }
        return Ok(false);
    }
    Ok(true)
}

fn intersects(a: &[Value], b: &[Value], left: &mut u64) -> Result {
    for a in a {
        for b in b {
            if a.equals(b, left).ok_or(Failure::Limit)? {
                return Ok(true.into());
            }
        }
    }
    Ok(false.into())
}
