//! Conversions between types. Source: cel-spec's `langdef.md`; cel-go's `common/types`.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::{Failure, library, time, value::Value};

/// `int(x)`, `string(x)`, ….
pub fn convert(to: &str, value: &Value) -> Result<Value, Failure> {
    let found = match to {
        "int" => int(value)?.map(Value::Int),
        "uint" => uint(value)?.map(Value::Uint),
        "double" => double(value).map(Value::Double),
        "string" => return string(value),
        "bytes" => match value {
            Value::Bytes(bytes) => Some(Value::Bytes(Arc::clone(bytes))),
            Value::String(text) => Some(Value::Bytes(text.as_bytes().into())),
            _ => None,
        },
        "bool" => match value {
            Value::Bool(value) => Some(Value::Bool(*value)),
            Value::String(text) => match &**text {
                "true" | "True" | "TRUE" | "t" | "1" => Some(Value::Bool(true)),
                "false" | "False" | "FALSE" | "f" | "0" => Some(Value::Bool(false)),
                _ => None,
            },
            _ => None,
        },
        "timestamp" => match value {
            Value::Timestamp(value) => Some(Value::Timestamp(*value)),
            Value::Int(seconds) => Timestamp::from_second(*seconds).ok().map(Value::Timestamp),
            Value::String(text) => return time::timestamp(text).map(Value::Timestamp),
            _ => None,
        },
        "duration" => match value {
            Value::Duration(value) => Some(Value::Duration(*value)),
            Value::Int(nanos) => Some(Value::Duration(SignedDuration::from_nanos(*nanos))),
            Value::String(text) => return time::duration(text).map(Value::Duration),
            _ => None,
        },
        _ => None,
    };
    found.ok_or_else(|| Failure::new(format!("type conversion error from '{}' to '{to}'", value.type_name())))
}

fn range<T>(value: Option<T>, message: &str) -> Result<Option<T>, Failure> {
    value.map(Some).ok_or_else(|| Failure::new(message))
}

fn int(value: &Value) -> Result<Option<i64>, Failure> {
    let overflow = "integer overflow";
    match value {
        Value::Int(value) => Ok(Some(*value)),
        Value::Uint(value) => range(i64::try_from(*value).ok(), overflow),
        // Source: `doubleToInt64Checked`: the ends are out of range, too.
        Value::Double(value) => range((value.abs() < 9.223_372_036_854_775e18).then_some(*value as i64), overflow),
        Value::String(text) => Ok(text.parse().ok()),
        Value::Timestamp(time) => Ok(Some(time.as_second())),
        Value::Duration(span) => range(i64::try_from(span.as_nanos()).ok(), overflow),
        _ => Ok(None),
    }
}

fn uint(value: &Value) -> Result<Option<u64>, Failure> {
    let overflow = "unsigned integer overflow";
    match value {
        Value::Uint(value) => Ok(Some(*value)),
        Value::Int(value) => range(u64::try_from(*value).ok(), overflow),
        Value::Double(value) => {
            range((0.0..1.844_674_407_370_955e19).contains(value).then_some(*value as u64), overflow)
        }
        Value::String(text) => Ok(text.parse().ok()),
        _ => Ok(None),
    }
}

fn double(value: &Value) -> Option<f64> {
    match value {
        Value::Double(value) => Some(*value),
        Value::Int(value) => Some(*value as f64),
        Value::Uint(value) => Some(*value as f64),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

fn string(value: &Value) -> Result<Value, Failure> {
    let text = match value {
        Value::String(text) => return Ok(Value::String(Arc::clone(text))),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Uint(value) => value.to_string(),
        Value::Double(value) => show_double(*value),
        Value::Bytes(bytes) => {
            let text = std::str::from_utf8(bytes)
                .map_err(|_| Failure::new("invalid UTF-8 in bytes, cannot convert to string"))?;
            text.to_owned()
        }
        Value::Timestamp(time) => time.to_string(),
        Value::Duration(span) => time::show_duration(*span),
        Value::Library(_) => return library::call("string", false, std::slice::from_ref(value)),
        value => {
            let message = format!("type conversion error from '{}' to 'string'", value.type_name());
            return Err(Failure::new(message));
        }
    };
    Ok(text.into())
}

/// Go's shortest form of a number.
pub fn show_double(value: f64) -> String {
    if value.is_nan() {
        "NaN".into()
    } else if value.is_infinite() {
        if value > 0.0 { "+Inf".into() } else { "-Inf".into() }
    } else if value != 0.0 && !(1e-4..1e6).contains(&value.abs()) {
        let text = format!("{value:e}");
        let (head, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(('+', exponent), |digits| ('-', digits));
        format!("{head}e{sign}{digits:0>2}")
    } else {
        value.to_string()
    }
}
