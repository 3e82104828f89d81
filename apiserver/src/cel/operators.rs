//! Arithmetic, indexes and membership. Source: cel-spec's `langdef.md`; of the wording: cel-go's `common/types`.

use super::{
    Failure,
    value::{Key, Value},
};

type Result<T = Value> = std::result::Result<T, Failure>;

/// A binary operator on two values.
pub fn binary(operator: &str, a: &Value, b: &Value) -> Result {
    match (a, b) {
        (Value::Int(a), Value::Int(b)) => int(operator, *a, *b).map(Value::Int),
        (Value::Uint(a), Value::Uint(b)) => uint(operator, *a, *b).map(Value::Uint),
        (Value::Double(a), Value::Double(b)) => match operator {
            "_+_" => Ok(Value::Double(a + b)),
            "_-_" => Ok(Value::Double(a - b)),
            "_*_" => Ok(Value::Double(a * b)),
            "_/_" => Ok(Value::Double(a / b)),
            _ => Err(Failure::no_overload()),
        },
        _ => match operator {
            "_+_" => add(a, b),
            "_-_" => subtract(a, b),
            _ => Err(Failure::no_overload()),
        },
    }
}

fn int(operator: &str, a: i64, b: i64) -> Result<i64> {
    let found = match operator {
        "_+_" => a.checked_add(b),
        "_-_" => a.checked_sub(b),
        "_*_" => a.checked_mul(b),
        "_/_" if b == 0 => return Err(Failure::new("division by zero")),
        "_/_" => a.checked_div(b),
        "_%_" if b == 0 => return Err(Failure::new("modulus by zero")),
        "_%_" => a.checked_rem(b),
        _ => return Err(Failure::no_overload()),
    };
    found.ok_or_else(|| Failure::new("integer overflow"))
}

fn uint(operator: &str, a: u64, b: u64) -> Result<u64> {
    let found = match operator {
        "_+_" => a.checked_add(b),
        "_-_" => a.checked_sub(b),
        "_*_" => a.checked_mul(b),
        "_/_" if b == 0 => return Err(Failure::new("division by zero")),
        "_/_" => a.checked_div(b),
        "_%_" if b == 0 => return Err(Failure::new("modulus by zero")),
        "_%_" => a.checked_rem(b),
        _ => return Err(Failure::no_overload()),
    };
    found.ok_or_else(|| Failure::new("unsigned integer overflow"))
}

fn add(a: &Value, b: &Value) -> Result {
    let overflow = || Failure::new("timestamp overflow");
    match (a, b) {
        (Value::String(a), Value::String(b)) => Ok(Value::from([&**a, &**b].concat())),
        (Value::Bytes(a), Value::Bytes(b)) => Ok(Value::Bytes([&**a, &**b].concat().into())),
        (Value::List(a), Value::List(b)) => Ok(Value::List(a.plus(b).into())),
        (Value::Timestamp(time), Value::Duration(span)) | (Value::Duration(span), Value::Timestamp(time)) => {
            time.checked_add(*span).map(Value::Timestamp).map_err(|_| overflow())
        }
        (Value::Duration(a), Value::Duration(b)) => {
            a.checked_add(*b).map(Value::Duration).ok_or_else(|| Failure::new("duration overflow"))
        }
        _ => Err(Failure::no_overload()),
    }
}

fn subtract(a: &Value, b: &Value) -> Result {
    match (a, b) {
        (Value::Timestamp(a), Value::Timestamp(b)) => Ok(Value::Duration(a.duration_since(*b))),
        (Value::Timestamp(time), Value::Duration(span)) => {
            time.checked_sub(*span).map(Value::Timestamp).map_err(|_| Failure::new("timestamp overflow"))
        }
        (Value::Duration(a), Value::Duration(b)) => {
            a.checked_sub(*b).map(Value::Duration).ok_or_else(|| Failure::new("duration overflow"))
        }
        _ => Err(Failure::no_overload()),
    }
}

/// An element of a list, or a value of a map.
pub fn index(target: &Value, index: &Value) -> Result {
    match target {
        Value::List(list) => {
            let position = match Key::of(index) {
                Some(Key::Int(position)) => position,
                _ => return Err(Failure::no_overload()),
            };
            let found = usize::try_from(position).ok().and_then(|position| list.get(position));
            found.cloned().ok_or_else(|| Failure::new(format!("index out of bounds: {position}")))
        }
        Value::Map(map) => {
            let key = Key::of(index).ok_or_else(|| Failure::new("unsupported key type"))?;
            map.get(&key).cloned().ok_or_else(|| Failure::new(format!("no such key: {key}")))
        }
        _ => Err(Failure::no_overload()),
    }
}

/// What a list operation costs, and whether `value` is among the list's elements or the map's keys.
pub fn contains(container: &Value, value: &Value, left: &mut u64) -> Result<bool> {
    match container {
        Value::List(list) => {
            for element in list.iter() {
                if element.equals(value, left).ok_or(Failure::Limit)? {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        Value::Map(map) => Ok(Key::of(value).is_some_and(|key| map.contains_key(&key))),
        _ => Err(Failure::no_overload()),
    }
}
