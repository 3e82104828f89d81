//! Go's regular expressions, matched by Rust's: nearly the same language, apart from what is rewritten here.
//! Source: <https://github.com/google/re2/wiki/Syntax>.

use std::fmt::Write;

use regex::{Regex, RegexBuilder};

/// A compiled pattern may take so many bytes, so that a schema cannot use memory without bound.
const SIZE_LIMIT: usize = 1024 * 1024;

/// A pattern of a schema, compiled once.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: String,
    regex: Option<Regex>,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Pattern {
    /// Compiles a pattern; one that does not compile matches nothing.
    pub fn new(text: &str) -> Self {
        Self { text: text.to_owned(), regex: compile(text).ok() }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// It matches some part of `value`.
    pub fn matches(&self, value: &str) -> bool {
        self.regex.as_ref().is_some_and(|regex| regex.is_match(value))
    }
}

/// Compiles a pattern as Go understands it.
pub fn compile(text: &str) -> Result<Regex, String> {
    compile_within(text, SIZE_LIMIT)
}

/// The same, with another bound.
pub fn compile_within(text: &str, size_limit: usize) -> Result<Regex, String> {
    RegexBuilder::new(&translate(text)).size_limit(size_limit).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => "expression too large".to_owned(),
        error => {
            let text = error.to_string();
            text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
    })
}

/// In Go, `\d`, `\s` and `\w` are ASCII, and `[`, `&&`, `--` and `~~` mean nothing special within brackets.
fn translate(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 8);
    let mut chars = text.chars().peekable();
    let mut in_class = false;
    while let Some(c) = chars.next() {
        match c {
            '\\' => match (chars.next(), in_class) {
                (Some('d'), true) => out.push_str("0-9"),
                (Some('s'), true) => out.push_str(r"\t\n\f\r "),
                (Some('w'), true) => out.push_str("0-9A-Za-z_"),
                (Some('d'), false) => out.push_str("[0-9]"),
                (Some('s'), false) => out.push_str(r"[\t\n\f\r ]"),
                (Some('w'), false) => out.push_str("[0-9A-Za-z_]"),
                (Some('D'), false) => out.push_str("[^0-9]"),
                (Some('S'), false) => out.push_str(r"[^\t\n\f\r ]"),
                (Some('W'), false) => out.push_str("[^0-9A-Za-z_]"),
                (Some('b'), false) => out.push_str(r"(?-u:\b)"),
                (Some('Q'), false) => quote(&mut chars, &mut out),
                (Some(other), _) => {
                    // An escape in brackets ends them no more than outside.
                    let _ = write!(out, "\\{other}");
                }
                (None, _) => out.push('\\'),
            },
            '[' if !in_class => {
                in_class = true;
                out.push('[');
                if chars.next_if_eq(&'^').is_some() {
                    out.push('^');
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str(r"\]");
                }
            }
            '[' if chars.peek() == Some(&':') => {
                // A class by name: `[:alpha:]`.
                out.push('[');
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
            }
            ']' if in_class => {
                in_class = false;
                out.push(']');
            }
            c => out.push(c),
        }
    }
    out
}

/// `\Q…\E`: as it stands.
fn quote(chars: &mut std::iter::Peekable<std::str::Chars>, out: &mut String) {
    while let Some(c) = chars.next() {
        if c == '\\' && chars.next_if_eq(&'E').is_some() {
            return;
        }
        out.push_str(&regex::escape(c.encode_utf8(&mut [0; 4])));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_mean_what_they_mean_in_go() {
        for (pattern, value, expected) in [
            ("^a+$", "aaa", true),
            ("b", "abc", true),
            (r"^\d+$", "12", true),
            (r"^\d+$", "١٢", false),
            (r"^[\d.]+$", "1.2", true),
            (r"^\w$", "é", false),
            ("^[[]$", "[", true),
            ("^[a&&b]$", "&", true),
            ("^[]a]$", "]", true),
            ("^[[:alpha:]_]+$", "ab_", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\S+\.\S+$", "a.b", true),
        ] {
            assert_eq!(Pattern::new(pattern).matches(value), expected, "{pattern} {value}");
        }
        assert!(compile("a(b").is_err());
        assert_eq!(compile(r"(\w{900}){900}").unwrap_err(), "expression too large");
    }
}
