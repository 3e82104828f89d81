//! Bounds of numbers. Source: `validate/values.go` of kube-openapi.

use serde_json::{Number, Value};

use super::{
    Outcome,
    fault::{Fault, Wrong},
    format, types,
};
use crate::structural::Schema;

/// A number as upstream holds it.
#[derive(Clone, Copy)]
enum Given {
    Whole(i64),
    Float(f64),
}

impl Given {
    fn float(self) -> f64 {
        match self {
            Given::Whole(number) => number as f64,
            Given::Float(number) => number,
        }
    }
}

/// Checks a number against all that the schema says of numbers.
pub fn check(number: &Number, schema: &Schema, name: &str, outcome: &mut Outcome) {
    let given = match number.as_i64() {
        Some(whole) => Given::Whole(whole),
        None => Given::Float(number.as_f64().unwrap_or_default()),
    };
    let shown = || Wrong::Other(Value::Number(number.clone()));
    let values = &schema.values;
    range(given, schema, "Checked", name, outcome);
    if let Some(factor) = values.multiple_of {
        range(Given::Float(factor), schema, "MultipleOf", name, outcome);
        check_multiple(given, factor, number, name, outcome);
    }
    for (bound, exclusive, prefix, is_max) in [
        (values.maximum, values.exclusive_maximum, "Maximum boundary", true),
        (values.minimum, values.exclusive_minimum, "Minimum boundary", false),
    ] {
        let Some(bound) = bound else { continue };
        range(Given::Float(bound), schema, prefix, name, outcome);
        let (outside, bound) = match given {
            Given::Whole(number) => {
                let bound = bound as i64;
                (is_outside(&number, &bound, exclusive, is_max), bound.to_string())
            }
            Given::Float(number) => (is_outside(&number, &bound, exclusive, is_max), go_float(bound)),
        };
        if outside {
            let relation = match (is_max, exclusive) {
                (true, false) => "less than or equal to",
                (true, true) => "less than",
                (false, false) => "greater than or equal to",
                (false, true) => "greater than",
            };
            outcome.fault(Fault::new(name, format!("should be {relation} {bound}"), shown()));
        }
    }
    outcome.matches += 1;
}

fn is_outside<T: PartialOrd>(given: &T, bound: &T, exclusive: bool, is_max: bool) -> bool {
    (exclusive && given == bound) || if is_max { given > bound } else { given < bound }
}

fn check_multiple(given: Given, factor: f64, number: &Number, name: &str, outcome: &mut Outcome) {
    let (positive, divides, factor) = match given {
        Given::Whole(number) => {
            let factor = factor as i64;
            (factor > 0, factor > 0 && number % factor == 0, factor.to_string())
        }
        Given::Float(number) => {
            let times = if factor < 1.0 { 1.0 / factor * number } else { number / factor };
            (factor > 0.0, (times - times.round()).abs() < 1e-9 * times.abs().max(1.0), go_float(factor))
        }
    };
    if !positive {
        let text = format!("factor MultipleOf declared for {name} must be positive: {factor}");
        let value = serde_json::from_str(&factor).unwrap_or_default();
        outcome.fault(Fault { text, ..Fault::new(name, String::new(), Wrong::Other(value)) });
    } else if !divides {
        let wrong = Wrong::Other(Value::Number(number.clone()));
        outcome.fault(Fault::new(name, format!("should be a multiple of {factor}"), wrong));
    }
}

/// The number can be held by the schema's type and format.
fn range(given: Given, schema: &Schema, prefix: &str, name: &str, outcome: &mut Outcome) {
    let kind = match types(schema) {
        kind @ ("integer" | "number") => kind,
        _ => return,
    };
    let format = format::effective(schema);
    let fits = match (kind, format, given) {
        ("integer", "int32", Given::Whole(number)) => i32::try_from(number).is_ok(),
        ("integer", _, Given::Whole(_)) => true,
        ("integer", format, Given::Float(number)) => {
            let limit = if format == "int32" { f64::from(i32::MAX) } else { i64::MAX as f64 };
            number.fract() == 0.0 && number.abs() <= limit
        }
        (_, "float", given) => given.float().abs() <= f64::from(f32::MAX),
        _ => true,
    };
    if !fits {
        let format = if format.is_empty() { "(default format)".to_owned() } else { format!("with format {format}") };
        outcome.fault(Fault::composite(format!("{prefix} value must be of type {kind} {format} in {name}")));
    }
}

/// A number as Go prints it.
fn go_float(number: f64) -> String {
    if number != 0.0 && !(1e-4..1e21).contains(&number.abs()) {
        let text = format!("{number:e}");
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let exponent: i32 = exponent.parse().unwrap_or_default();
        let sign = if exponent < 0 { '-' } else { '+' };
        return format!("{mantissa}e{sign}{:02}", exponent.abs());
    }
    number.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_in_go() {
        for (number, text) in [(10.0, "10"), (0.5, "0.5"), (1e21, "1e+21"), (1e-7, "1e-07"), (-2.25, "-2.25")] {
            assert_eq!(go_float(number), text);
        }
    }
}
