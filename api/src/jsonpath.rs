//! The paths by which columns, scales and selectable fields look into an object: the part of kubectl's JSONPath without
//! braces. Source: `k8s.io/client-go/util/jsonpath` and <https://kubernetes.io/docs/reference/kubectl/jsonpath/>.

use std::iter::Peekable;
use std::str::Chars;

use serde_json::Value;

/// A path has at most so many steps, so that `..` cannot be piled up.
const MAX_STEPS: usize = 64;
/// Filters stand within filters at most so deep: they are read, and followed, recursively.
const MAX_FILTERS: usize = 4;
/// A path leads to at most so many values.
const MAX_FOUND: usize = 10_000;

/// A parsed path.
#[derive(Clone, Debug, PartialEq)]
pub struct JsonPath(Vec<Step>);

#[derive(Clone, Debug, PartialEq)]
enum Step {
    /// `.name`, `['name']`.
    Field(String),
    /// `.*`, `[*]`.
    Wildcard,
    /// `[0]`, `[-1]`.
    Element(i64),
    /// `[0:2]`.
    Slice(Option<i64>, Option<i64>),
    /// `[0,2]`, `['a','b']`.
    Union(Vec<Step>),
    /// `..`: this value and all within it.
    Deep,
    /// `[?(@.type=="Ready")]`.
    Filter(Vec<Step>, Comparison),
}

#[derive(Clone, Debug, PartialEq)]
enum Comparison {
    Exists,
    With(&'static str, Value),
}

impl JsonPath {
    /// Parses a path such as `.status.conditions[?(@.type=="Ready")].status`.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut chars = text.chars().peekable();
        let steps = steps(&mut chars, None, 0)?;
        if steps.len() > MAX_STEPS {
            return Err(format!("a path of more than {MAX_STEPS} steps"));
        }
        Ok(Self(steps))
    }

    /// The values to which the path leads; none where a field is missing.
    pub fn find<'a>(&self, root: &'a Value) -> Vec<&'a Value> {
        follow(&self.0, root)
    }
}

fn steps(chars: &mut Peekable<Chars>, end: Option<fn(char) -> bool>, filters: usize) -> Result<Vec<Step>, String> {
    let mut steps = Vec::new();
    while let Some(&c) = chars.peek() {
        if end.is_some_and(|end| end(c)) {
            break;
        }
        match c {
            '$' | '@' if steps.is_empty() => {
                chars.next();
            }
            '.' => {
                chars.next();
                if chars.next_if_eq(&'.').is_some() {
                    steps.push(Step::Deep);
                }
                match chars.peek() {
                    Some('*') => {
                        chars.next();
                        steps.push(Step::Wildcard);
                    }
                    Some('[') | None => {}
                    Some(_) => steps.push(Step::Field(name(chars, end))),
                }
            }
            '[' => {
                chars.next();
                steps.push(bracket(chars, filters)?);
            }
            _ => steps.push(Step::Field(name(chars, end))),
        }
    }
    Ok(steps)
}

fn name(chars: &mut Peekable<Chars>, end: Option<fn(char) -> bool>) -> String {
    let mut name = String::new();
    while let Some(&c) = chars.peek() {
        if c == '.' || c == '[' || end.is_some_and(|end| end(c)) {
            break;
        }
        chars.next();
        match c {
            '\\' => name.extend(chars.next()),
            c => name.push(c),
        }
    }
    name
}

/// What stands in brackets, with the one that closes it.
fn bracket(chars: &mut Peekable<Chars>, filters: usize) -> Result<Step, String> {
    skip_space(chars);
    if chars.next_if_eq(&'?').is_some() {
        return filter(chars, filters + 1);
    }
    let mut parts = Vec::new();
    loop {
        skip_space(chars);
        parts.push(match chars.peek() {
            Some('*') => {
                chars.next();
                Step::Wildcard
            }
            Some('\'' | '"') => Step::Field(quoted(chars)?),
            Some(c) if c.is_ascii_digit() || matches!(c, '-' | ':') => range(chars)?,
            _ => return Err("invalid array index".to_owned()),
        });
        skip_space(chars);
        match chars.next() {
            Some(',') => {}
            Some(']') => break,
            _ => return Err("unterminated array".to_owned()),
        }
    }
    Ok(if parts.len() == 1 { parts.swap_remove(0) } else { Step::Union(parts) })
}

fn range(chars: &mut Peekable<Chars>) -> Result<Step, String> {
    let number = |chars: &mut Peekable<Chars>| -> Result<Option<i64>, String> {
        let mut digits = String::new();
        while let Some(c) = chars.next_if(|c| c.is_ascii_digit() || *c == '-') {
            digits.push(c);
        }
        match digits.as_str() {
            "" => Ok(None),
            digits => digits.parse().map(Some).map_err(|_| format!("invalid array index {digits}")),
        }
    };
    let first = number(chars)?;
    if chars.next_if_eq(&':').is_some() {
        return Ok(Step::Slice(first, number(chars)?));
    }
    first.map(Step::Element).ok_or_else(|| "invalid array index".to_owned())
}

fn filter(chars: &mut Peekable<Chars>, filters: usize) -> Result<Step, String> {
    if filters > MAX_FILTERS {
        return Err(format!("filters nested deeper than {MAX_FILTERS}"));
    }
    if chars.next() != Some('(') {
        return Err("unterminated filter".to_owned());
    }
    skip_space(chars);
    let path = steps(chars, Some(|c| c == ')' || c == ' ' || "=!<>".contains(c)), filters)?;
    skip_space(chars);
    let mut operator = String::new();
    while let Some(c) = chars.next_if(|c| "=!<>".contains(*c)) {
        operator.push(c);
    }
    let comparison = match ["==", "!=", "<=", ">=", "<", ">"].into_iter().find(|known| *known == operator) {
        Some(operator) => {
            skip_space(chars);
            Comparison::With(operator, operand(chars)?)
        }
        None if operator.is_empty() => Comparison::Exists,
        None => return Err(format!("unrecognized filter operator {operator}")),
    };
    skip_space(chars);
    if chars.next() != Some(')') || chars.next() != Some(']') {
        return Err("unterminated filter".to_owned());
    }
    Ok(Step::Filter(path, comparison))
}

fn operand(chars: &mut Peekable<Chars>) -> Result<Value, String> {
    if matches!(chars.peek(), Some('\'' | '"')) {
        return quoted(chars).map(Value::String);
    }
    let mut text = String::new();
    while let Some(c) = chars.next_if(|c| *c != ')' && *c != ' ') {
        text.push(c);
    }
    serde_json::from_str(&text).map_err(|_| format!("unrecognized operand {text}"))
}

fn quoted(chars: &mut Peekable<Chars>) -> Result<String, String> {
    let quote = chars.next();
    let mut text = String::new();
    loop {
        match chars.next() {
            None => return Err("unterminated quoted string".to_owned()),
            c if c == quote => return Ok(text),
            Some('\\') => text.extend(chars.next()),
            Some(c) => text.push(c),
        }
    }
}

fn skip_space(chars: &mut Peekable<Chars>) {
    while chars.next_if_eq(&' ').is_some() {}
}

fn follow<'a>(steps: &[Step], root: &'a Value) -> Vec<&'a Value> {
    let mut found = vec![root];
    for step in steps {
        let mut next = Vec::new();
        for value in found {
            take(step, value, &mut next);
        }
        next.truncate(MAX_FOUND);
        found = next;
    }
    found
}

fn take<'a>(step: &Step, value: &'a Value, out: &mut Vec<&'a Value>) {
    if out.len() >= MAX_FOUND {
        return;
    }
    match (step, value) {
        (Step::Field(name), Value::Object(fields)) => out.extend(fields.get(name)),
        (Step::Wildcard, Value::Object(fields)) => out.extend(fields.values()),
        (Step::Wildcard, Value::Array(elements)) => out.extend(elements),
        (Step::Element(index), Value::Array(elements)) => {
            out.extend(place(*index, elements.len()).and_then(|index| elements.get(index)));
        }
        (Step::Slice(from, to), Value::Array(elements)) => {
            let bound = |index: i64| place(index, elements.len()).unwrap_or(0).min(elements.len());
            let (from, to) = (from.map_or(0, bound), to.map_or(elements.len(), bound));
            out.extend(elements.get(from..to).into_iter().flatten());
        }
        (Step::Union(parts), value) => parts.iter().for_each(|part| take(part, value, out)),
        (Step::Deep, value) => {
            out.push(value);
            match value {
                Value::Object(fields) => fields.values().for_each(|value| take(step, value, out)),
                Value::Array(elements) => elements.iter().for_each(|value| take(step, value, out)),
                _ => {}
            }
        }
        (Step::Filter(path, comparison), Value::Array(elements)) => {
            out.extend(elements.iter().filter(|element| holds(path, comparison, element)));
        }
        _ => {}
    }
}

fn place(index: i64, length: usize) -> Option<usize> {
    let from_end = if index < 0 { i64::try_from(length).ok()? } else { 0 };
    usize::try_from(index + from_end).ok()
}

fn holds(path: &[Step], comparison: &Comparison, element: &Value) -> bool {
    let found = follow(path, element);
    match comparison {
        Comparison::Exists => !found.is_empty(),
        Comparison::With(operator, wanted) => found.first().is_some_and(|given| {
            let order = match (given, wanted) {
                (Value::String(given), Value::String(wanted)) => Some(given.cmp(wanted)),
                (Value::Bool(given), Value::Bool(wanted)) => Some(given.cmp(wanted)),
                (given, wanted) => given.as_f64().zip(wanted.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
            };
            order.is_some_and(|order| match *operator {
                "==" => order.is_eq(),
                "!=" => order.is_ne(),
                "<" => order.is_lt(),
                "<=" => order.is_le(),
                ">" => order.is_gt(),
                _ => order.is_ge(),
            })
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn paths_lead_to_values() {
        let object = json!({
            "metadata": {"labels": {"app.kubernetes.io/name": "web"}},
            "spec": {"replicas": 3, "list": [1, 2, 3], "a-b": "c"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}, {"type": "Live", "status": "False", "n": 2}]},
        });
        for (path, expected) in [
            (".spec.replicas", json!([3])),
            ("spec.replicas", json!([3])),
            ("$.spec['a-b']", json!(["c"])),
            (".spec.list[0]", json!([1])),
            (".spec.list[-1]", json!([3])),
            (".spec.list[0:2]", json!([1, 2])),
            (".spec.list[0,2]", json!([1, 3])),
            (".spec.list[*]", json!([1, 2, 3])),
            (r".metadata.labels.app\.kubernetes\.io/name", json!(["web"])),
            (r#".status.conditions[?(@.type=="Ready")].status"#, json!(["True"])),
            (r#".status.conditions[?(@.type == 'Live')].status"#, json!(["False"])),
            (".status.conditions[?(@.n>1)].type", json!(["Live"])),
            (".status.conditions[?(@.n)].type", json!(["Live"])),
            (".status.conditions[*].type", json!(["Ready", "Live"])),
            ("..type", json!(["Ready", "Live"])),
            (".spec.missing.more", json!([])),
            (".", json!([object.clone()])),
        ] {
            let found = JsonPath::parse(path).unwrap();
            assert_eq!(json!(found.find(&object)), expected, "{path}");
        }
        for (path, wrong) in [
            (".a[", "invalid array index"),
            (".a['b", "unterminated quoted string"),
            (".a[?(@.b==\"c\"", "unterminated filter"),
            (".a[0", "unterminated array"),
            (&*"[?(@".repeat(100_000), "filters nested deeper than 4"),
        ] {
            assert_eq!(JsonPath::parse(path), Err(wrong.to_owned()), "{path:.99}");
        }
    }
}
