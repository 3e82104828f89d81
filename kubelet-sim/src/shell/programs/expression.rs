//! Regular expressions as POSIX writes them, basic and extended, in the words of the `regex` crate.

use regex::{Regex, RegexBuilder};

/// The largest compiled expression, in bytes.
const MAX_SIZE: usize = 1 << 20;

/// Compiles an expression; `None` if it is none.
pub fn compile(pattern: &str, extended: bool, any_case: bool) -> Option<Regex> {
    let pattern = if extended { pattern.to_owned() } else { from_basic(pattern) };
    RegexBuilder::new(&pattern).case_insensitive(any_case).size_limit(MAX_SIZE).build().ok()
}

/// A basic expression as an extended one: there the backslash makes `(`, `|`, `+` and their kin special, here it takes
/// that from them.
fn from_basic(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut chars = pattern.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(special @ ('(' | ')' | '{' | '}' | '|' | '+' | '?')) => out.push(special),
                Some(other) => out.extend(['\\', other]),
                None => out.push_str("\\\\"),
            },
            '(' | ')' | '{' | '}' | '|' | '+' | '?' => out.extend(['\\', c]),
            // A star that repeats nothing stands for itself.
            '*' if out.is_empty() || out == "^" => out.push_str("\\*"),
            '[' => {
                out.push('[');
                // A bracket right after the opening one is a member.
                if let Some(not) = chars.next_if_eq(&'^') {
                    out.push(not);
                }
                if chars.next_if_eq(&']').is_some() {
                    out.push_str("\\]");
                }
                for c in chars.by_ref() {
                    out.push(c);
                    if c == ']' {
                        break;
                    }
                }
            }
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn basic_and_extended_expressions_differ_in_their_backslashes() {
        for (pattern, extended, text, matches) in [
            ("a.c", false, "abc", true),
            ("a+", false, "a+", true),
            ("a+", false, "aa", false),
            ("a\\+", false, "aa", true),
            ("a+$", true, "aa", true),
            ("^web|^db", true, "db-0", true),
            ("web\\|db", false, "db-0", true),
            ("*x", false, "*x", true),
            ("[0-9][0-9]*$", false, "mysql-12", true),
            ("(x)", false, "(x)", true),
        ] {
            assert_eq!(compile(pattern, extended, false).unwrap().is_match(text), matches, "{pattern} {text}");
        }
        assert!(compile("(", true, false).is_none());
        assert!(compile("WEB", false, true).unwrap().is_match("web"));
    }
}
