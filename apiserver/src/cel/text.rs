//! Functions of strings. Source: cel-go's `ext/strings.go` (version 2) and `k8s.io/apiserver/pkg/cel/library/regex.go`.

use regex::{Regex, RegexBuilder};

use super::{Failure, value::Value};

/// A compiled pattern may use so much memory.
const PATTERN_BYTES: usize = 256 * 1024;

type Result<T = Value> = std::result::Result<T, Failure>;

/// A regular expression. Go's dialect is RE2's, as this one's is.
pub fn compile(pattern: &str) -> Result<Regex> {
    let wrong = |error: regex::Error| match error {
        regex::Error::CompiledTooBig(_) => Failure::new("error parsing regexp: expression too large"),
        error => {
            let message = error.to_string();
            let last = message.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Failure::new(format!("error parsing regexp: {last}: `{pattern}`"))
        }
    };
    RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).dfa_size_limit(PATTERN_BYTES).build().map_err(wrong)
}

/// A function whose first argument is a string; `None` where it is no function of strings.
pub fn call(function: &str, args: &[Value]) -> Option<Result> {
    let [Value::String(text), rest @ ..] = args else { return None };
    let chars = || text.chars().count() as i64;
    Some(match (function, rest) {
        ("size", []) => Ok(Value::Int(chars())),
        ("contains", [Value::String(part)]) => Ok(text.contains(&**part).into()),
        ("startsWith", [Value::String(part)]) => Ok(text.starts_with(&**part).into()),
        ("endsWith", [Value::String(part)]) => Ok(text.ends_with(&**part).into()),
        ("matches", [Value::String(pattern)]) => compile(pattern).map(|regex| regex.is_match(text).into()),
        ("find", [Value::String(pattern)]) => {
            compile(pattern).map(|regex| regex.find(text).map_or("", |found| found.as_str()).into())
        }
        ("findAll", [Value::String(pattern)]) => find_all(text, pattern, -1),
        ("findAll", [Value::String(pattern), Value::Int(limit)]) => find_all(text, pattern, *limit),
        ("charAt", [Value::Int(at)]) => char_at(text, *at),
        ("indexOf", [Value::String(part)]) => Ok(Value::Int(index_of(text, part, 0).unwrap_or(-1))),
        ("indexOf", [Value::String(part), Value::Int(from)]) => {
            if *from < 0 || *from > chars() {
                return Some(Err(Failure::new(format!("index out of range: {from}"))));
            }
            Ok(Value::Int(index_of(text, part, *from).unwrap_or(-1)))
        }
        ("lastIndexOf", [Value::String(part)]) => Ok(Value::Int(last_index_of(text, part, chars()).unwrap_or(-1))),
        ("lastIndexOf", [Value::String(part), Value::Int(from)]) => {
            if *from < 0 || *from > chars() {
                return Some(Err(Failure::new(format!("index out of range: {from}"))));
            }
            Ok(Value::Int(last_index_of(text, part, *from).unwrap_or(-1)))
        }
        ("lowerAscii", []) => Ok(text.to_ascii_lowercase().into()),
        ("upperAscii", []) => Ok(text.to_ascii_uppercase().into()),
        ("replace", [Value::String(from), Value::String(to)]) => Ok(text.replace(&**from, to).into()),
        ("replace", [Value::String(from), Value::String(to), Value::Int(limit)]) => {
            let limit = usize::try_from(*limit).unwrap_or(usize::MAX);
            Ok(text.replacen(&**from, to, limit).into())
        }
        ("split", [Value::String(by)]) => Ok(split(text, by, -1)),
        ("split", [Value::String(by), Value::Int(limit)]) => Ok(split(text, by, *limit)),
        ("substring", [Value::Int(from)]) => substring(text, *from, chars()),
        ("substring", [Value::Int(from), Value::Int(to)]) => substring(text, *from, *to),
        ("trim", []) => Ok(text.trim().into()),
        ("strings.quote", []) => Ok(quote(text).into()),
        ("jsonpatch.escapeKey", []) => Ok(text.replace('~', "~0").replace('/', "~1").into()),
        _ => return None,
    })
}

fn find_all(text: &str, pattern: &str, limit: i64) -> Result {
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let regex = compile(pattern)?;
    Ok(regex.find_iter(text).take(limit).map(|found| found.as_str().into()).collect::<Vec<Value>>().into())
}

fn byte_of(text: &str, position: i64) -> Option<usize> {
    let position = usize::try_from(position).ok()?;
    text.char_indices().map(|(byte, _)| byte).chain([text.len()]).nth(position)
}

fn char_at(text: &str, at: i64) -> Result {
    let out = || Failure::new(format!("index out of range: {at}"));
    let byte = byte_of(text, at).ok_or_else(out)?;
    Ok(text[byte..].chars().next().map(String::from).unwrap_or_default().into())
}

fn index_of(text: &str, part: &str, from: i64) -> Option<i64> {
    let from_byte = byte_of(text, from)?;
    let found = text[from_byte..].find(part)?;
    Some(from + text[from_byte..from_byte + found].chars().count() as i64)
}

fn last_index_of(text: &str, part: &str, from: i64) -> Option<i64> {
    // The part may begin at `from`, and end later.
    let end = (byte_of(text, from)? + part.len()).min(text.len());
    let end = (end..=text.len()).find(|end| text.is_char_boundary(*end))?;
    let found = text[..end].rfind(part)?;
    Some(text[..found].chars().count() as i64)
}

fn split(text: &str, by: &str, limit: i64) -> Value {
    if limit == 0 {
        return Vec::new().into();
    }
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if by.is_empty() {
        let mut parts: Vec<Value> = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            if parts.len() + 1 == limit {
                parts.push(rest.into());
                break;
            }
            let (head, tail) = rest.split_at(c.len_utf8());
            parts.push(head.into());
            rest = tail;
        }
        return parts.into();
    }
    text.splitn(limit, by).map(Value::from).collect::<Vec<_>>().into()
}

fn substring(text: &str, from: i64, to: i64) -> Result {
    let out = |at: i64| Failure::new(format!("index out of range: {at}"));
    if from > to {
        return Err(Failure::new(format!("invalid substring range. start: {from}, end: {to}")));
    }
    let (begin, end) = (byte_of(text, from).ok_or_else(|| out(from))?, byte_of(text, to).ok_or_else(|| out(to))?);
    Ok(text[begin..end].into())
}

fn quote(text: &str) -> String {
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '\x07' => quoted.push_str("\\a"),
            '\x08' => quoted.push_str("\\b"),
            '\x0c' => quoted.push_str("\\f"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\x0b' => quoted.push_str("\\v"),
            '\\' => quoted.push_str("\\\\"),
            '"' => quoted.push_str("\\\""),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
