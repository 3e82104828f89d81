//! Finds places in JSON text without building values.
//!
//! All functions take text that a JSON parser has accepted, or that a serializer wrote; on anything else they end early
//! and never panic.

use std::{borrow::Cow, ops::Range};

/// The members of the object that begins at `at`: each key, still escaped, and where its value stands.
pub fn members(json: &[u8], at: usize) -> Members<'_> {
    let at = skip_space(json, at);
    let at = if json.get(at) == Some(&b'{') { at + 1 } else { json.len() };
    Members { json, at }
}

/// See [`members`].
pub struct Members<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a [u8], Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let mut at = skip_space(self.json, self.at);
        if self.json.get(at) == Some(&b',') {
            at = skip_space(self.json, at + 1);
        }
        if self.json.get(at) != Some(&b'"') {
            return None;
        }
        let end = string_end(self.json, at)?;
        let key = &self.json[at + 1..end - 1];
        let colon = skip_space(self.json, end);
        if self.json.get(colon) != Some(&b':') {
            return None;
        }
        let start = skip_space(self.json, colon + 1);
        self.at = value_end(self.json, start)?;
        Some((key, start..self.at))
    }
}

/// Where the value of this member of the object at `at` stands.
pub fn member(json: &[u8], at: usize, name: &str) -> Option<Range<usize>> {
    members(json, at).find(|(key, _)| *key == name.as_bytes()).map(|(_, value)| value)
}

/// The value to which these names lead, if it is there.
pub fn at(json: &[u8], names: &[&str]) -> Option<Range<usize>> {
    let whole = 0..json.len();
    names.iter().try_fold(whole, |value, name| member(json, value.start, name))
}

/// The text without the member to which these names lead.
pub fn without<'a>(json: &'a [u8], names: &[&str]) -> Cow<'a, [u8]> {
    let cut = || {
        let (name, parents) = names.split_last()?;
        let object = at(json, parents)?.start;
        let mut before = None;
        let mut rest = members(json, object);
        while let Some((key, value)) = rest.next() {
            if key == name.as_bytes() {
                // With the comma before it; the first member, with the one behind it.
                return Some(match (before, rest.next()) {
                    (Some(end), _) => end..value.end,
                    (None, Some((next, _))) => key_start(json, key)..key_start(json, next),
                    (None, None) => key_start(json, key)..value.end,
                });
            }
            before = Some(value.end);
        }
        None
    };
    match cut() {
        Some(Range { start, end }) => Cow::Owned([&json[..start], &json[end..]].concat()),
        None => Cow::Borrowed(json),
    }
}

/// Where the quote before a key stands, which is a part of the text.
fn key_start(json: &[u8], key: &[u8]) -> usize {
    key.as_ptr().addr() - json.as_ptr().addr() - 1
}

/// The text of the string that stands at `value`.
pub fn text(json: &[u8], value: Range<usize>) -> Option<Cow<'_, str>> {
    let raw = json.get(value)?.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    unescape(raw)
}

/// A string without its quotes, its escapes undone.
pub fn unescape(raw: &[u8]) -> Option<Cow<'_, str>> {
    let raw_text = std::str::from_utf8(raw).ok()?;
    if raw.contains(&b'\\') {
        serde_json::from_str(&format!("\"{raw_text}\"")).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(raw_text))
    }
}

fn skip_space(json: &[u8], mut at: usize) -> usize {
    while matches!(json.get(at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
        at += 1;
    }
    at
}

/// Just past the string that begins at `at`.
pub fn string_end(json: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        match json.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// Just past the value that begins at `at`.
fn value_end(json: &[u8], at: usize) -> Option<usize> {
    let mut at = at;
    let mut depth = 0usize;
    loop {
        match json.get(at)? {
            b'"' => at = string_end(json, at)?,
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' => {
                depth = depth.checked_sub(1)?;
                at += 1;
            }
            b',' | b':' | b' ' | b'\n' | b'\r' | b'\t' => at += 1,
            _ => at += json[at..].iter().position(|byte| b",:]} \n\r\t".contains(byte)).unwrap_or(json.len() - at),
        }
        if depth == 0 {
            return Some(at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_cut_out() {
        for (json, names, rest) in [
            (r#"{"a":1,"b":{"c":[2],"d":"}"},"e":3}"#, &["b", "c"][..], r#"{"a":1,"b":{"d":"}"},"e":3}"#),
            (r#"{"a":1,"b":{"c":[2],"d":"}"},"e":3}"#, &["b", "d"], r#"{"a":1,"b":{"c":[2]},"e":3}"#),
            (r#"{"a":1,"b":2}"#, &["a"], r#"{"b":2}"#),
            (r#"{ "a" : 1 , "b" : 2 }"#, &["b"], r#"{ "a" : 1 }"#),
            (r#"{"a":{"b":2}}"#, &["a", "b"], r#"{"a":{}}"#),
            (r#"{"a":{"b":2}}"#, &["a", "c"], r#"{"a":{"b":2}}"#),
            (r#"{"a":1}"#, &["a", "b"], r#"{"a":1}"#),
        ] {
            assert_eq!(String::from_utf8_lossy(&without(json.as_bytes(), names)), rest, "{json} {names:?}");
        }
    }
}
