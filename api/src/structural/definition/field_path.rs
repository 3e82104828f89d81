//! Paths of fields that a schema knows: `.spec.color`, `.data['a.b']`. Source: `ValidFieldPath` of
//! `apiextensions-apiserver/pkg/apiserver/schema/cel`.

use crate::{
    field::Path,
    structural::{Additional, Schema},
};

/// The field to which a path leads, and its schema.
pub fn find<'a>(text: &str, schema: &'a Schema, with_brackets: bool) -> Result<(Path, &'a Schema), String> {
    let mut path = Path::default();
    let mut schema = schema;
    let mut tokens = tokens(text).into_iter();
    while let Some(token) = tokens.next() {
        let name = match token {
            "." => tokens.next().ok_or("unexpected end of JSON path")?.to_owned(),
            "[" if !with_brackets => return Err("array notation is not allowed".to_owned()),
            "[" => {
                let token = tokens.next().ok_or("unexpected end of JSON path")?;
                let quoted = token.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\''));
                let name = quoted.ok_or_else(|| format!("expected single quoted string but got {token}"))?;
                match tokens.next() {
                    Some("]") => name.replace("\\'", "'"),
                    Some(other) => return Err(format!("expected ] but got {other}")),
                    None => return Err("unexpected end of JSON path".to_owned()),
                }
            }
            other => return Err(format!("expected [ or . but got: {other}")),
        };
        (path, schema) = match (&schema.additional, schema.properties.get(&name)) {
            (_, Some(property)) => (path.child(&name), property),
            (Additional::Of(values), None) if schema.properties.is_empty() => (path.key(&name), &**values),
            _ => return Err("does not refer to a valid field".to_owned()),
        };
    }
    Ok((path, schema))
}

/// `.`, `[` and `]`, and what stands between; a text in single quotes is one token.
fn tokens(text: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let length = if let Some(quoted) = rest.strip_prefix('\'') {
            let mut escaped = false;
            let end = quoted.find(|c| {
                let ends = c == '\'' && !escaped;
                escaped = c == '\\';
                ends
            });
            end.map_or(rest.len(), |end| end + 2)
        } else {
            rest.find(['.', '[', ']']).map_or(rest.len(), |end| end.max(1))
        };
        let (token, after) = rest.split_at(length);
        tokens.push(token);
        rest = after;
    }
    tokens
}
