//! JSON's syntax errors, as Go's parser words them.

/// What is wrong with text that is no JSON. Source: `encoding/json/scanner.go`.
pub fn wording(json: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".into();
    }
    let text = error.to_string();
    let place = match text.split(" at line ").next().unwrap_or_default() {
        "key must be a string" => "looking for beginning of object key string",
        "expected `,` or `}`" => "after object key:value pair",
        "expected `,` or `]`" => "after array element",
        "expected `:`" => "after object key",
        "trailing characters" => "after top-level value",
        "control character (\\u0000-\\u001F) found while parsing a string" => "in string literal",
        "invalid escape" => "in string escape code",
        "recursion limit exceeded" => return "exceeded max depth".into(),
        _ => "looking for beginning of value",
    };
    let offset = offset(json, error.line(), error.column());
    match json.get(offset) {
        Some(&byte) => format!("invalid character {} {place}", quoted(byte)),
        None => "unexpected end of JSON input".into(),
    }
}

fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".into(),
        b'"' => "'\"'".into(),
        byte => format!("'{}'", byte.escape_ascii()),
    }
}

/// The byte that the parser's line and column, both from 1, mean.
pub fn offset(json: &[u8], line: usize, column: usize) -> usize {
    let start = match line {
        0 | 1 => 0,
        line => json
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'\n')
            .nth(line - 2)
            .map_or(json.len(), |(newline, _)| newline + 1),
    };
    (start + column.saturating_sub(1)).min(json.len())
}

/// The beginning of a body: as it is if it looks like an object, else in hexadecimal.
/// Source: `summarizeData` in `endpoints/handlers/rest.go`.
pub fn summary(body: &[u8], limit: usize) -> String {
    let (shown, more) = if body.len() > limit { (&body[..limit], " ...") } else { (body, "") };
    match body.first() {
        None => "<empty>".into(),
        Some(b'{') => format!("{}{more}", String::from_utf8_lossy(shown)),
        Some(_) => {
            let hex: String = shown.iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{hex}{more}")
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use serde_json::Value;

    #[test]
    fn syntax_errors_read_as_gos() {
        let cases = [
            ("", "unexpected end of JSON input"),
            ("{\"a\":", "unexpected end of JSON input"),
            ("hello", "invalid character 'h' looking for beginning of value"),
            ("{\"a\" 1}", "invalid character '1' after object key"),
            ("{\"a\":1 \"b\"}", "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("{} x", "invalid character 'x' after top-level value"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            ("{\"a\":1,\n  b}", "invalid character 'b' looking for beginning of object key string"),
        ];
        for (json, words) in cases {
            let error = serde_json::from_str::<Value>(json).unwrap_err();
            assert_eq!(wording(json.as_bytes(), &error), words, "{json}: {error}");
        }
    }

    #[test]
    fn bodies_are_summed_up() {
        assert_eq!(summary(b"", 3), "<empty>");
        assert_eq!(summary(b"{\"a\":1}", 3), "{\"a ...");
        assert_eq!(summary(b"hi", 3), "6869");
    }
}
