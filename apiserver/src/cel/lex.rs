//! From text to tokens. Source: the lexical rules of cel-spec's `langdef.md`.

use std::sync::Arc;

use super::error::Issue;

/// A token, and the byte where it begins.
#[derive(Clone, Debug, PartialEq)]
pub struct Token {
    pub at: u32,
    pub kind: Kind,
}

/// What a token is.
#[derive(Clone, Debug, PartialEq)]
pub enum Kind {
    Ident(Arc<str>),
    /// An identifier in backticks: any field.
    Quoted(Arc<str>),
    Int(i64),
    /// 2⁶³, which only a minus sign makes an integer.
    Least,
    Uint(u64),
    Double(f64),
    String(Arc<str>),
    Bytes(Arc<[u8]>),
    Symbol(&'static str),
    End,
}

const SYMBOLS: [&str; 27] = [
    "&&", "||", "==", "!=", "<=", ">=", "(", ")", "[", "]", "{", "}", ".", ",", ":", "?", "<", ">", "+", "-", "*", "/",
    "%", "!", "=", "&", "|",
];

/// The tokens of a text, an end at last.
pub fn tokens(source: &str) -> Result<Vec<Token>, Issue> {
    let mut lexer = Lexer { source, at: 0 };
    let mut tokens = Vec::new();
    loop {
        let token = lexer.next()?;
        let end = token.kind == Kind::End;
        tokens.push(token);
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    source: &'a str,
    at: usize,
}

impl Lexer<'_> {
    fn rest(&self) -> &str {
        &self.source[self.at..]
    }

    fn fail<T>(&self, at: usize, message: impl Into<String>) -> Result<T, Issue> {
        Err(Issue { at: at as u32, message: message.into() })
    }

    fn next(&mut self) -> Result<Token, Issue> {
        loop {
            let blank = self.rest().len() - self.rest().trim_start_matches([' ', '\t', '\n', '\r', '\x0c']).len();
            self.at += blank;
            if !self.rest().starts_with("//") {
                break;
            }
            self.at += self.rest().find('\n').unwrap_or(self.rest().len());
        }
        let at = self.at as u32;
        let kind = self.kind()?;
        Ok(Token { at, kind })
    }

    fn kind(&mut self) -> Result<Kind, Issue> {
        let begin = self.at;
        let mut chars = self.rest().chars();
        let Some(first) = chars.next() else { return Ok(Kind::End) };
        let second = chars.next().unwrap_or(' ');
        if first.is_ascii_digit() || first == '.' && second.is_ascii_digit() {
            return self.number();
        }
        let prefix: String = self.rest().chars().take(2).take_while(|c| "rRbB".contains(*c)).collect();
        let quote = self.rest()[prefix.len()..].chars().next();
        if let Some(quote @ ('"' | '\'')) = quote {
            let raw = prefix.contains(['r', 'R']);
            let bytes = prefix.contains(['b', 'B']);
            self.at += prefix.len();
            return self.text(begin, quote, raw, bytes);
        }
        if first.is_ascii_alphabetic() || first == '_' {
            let rest = self.rest();
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let name = Arc::from(&rest[..end]);
            self.at += end;
            return Ok(Kind::Ident(name));
        }
        if first == '`' {
            let rest = &self.rest()[1..];
            let allowed = |c: char| c.is_ascii_alphanumeric() || "_.-/ ".contains(c);
            if let Some(end) = rest.find('`').filter(|end| *end > 0 && rest[..*end].chars().all(allowed)) {
                let name = Arc::from(&rest[..end]);
                self.at += end + 2;
                return Ok(Kind::Quoted(name));
            }
        }
        match SYMBOLS.into_iter().find(|symbol| self.rest().starts_with(symbol)) {
            Some(symbol) if !matches!(symbol, "=" | "&" | "|") => {
                self.at += symbol.len();
                Ok(Kind::Symbol(symbol))
            }
            _ => {
                let shown: String = self.rest().chars().take(2).collect();
                let shown = shown.trim_end();
                self.fail(begin, format!("Syntax error: token recognition error at: '{shown}'"))
            }
        }
    }

    fn number(&mut self) -> Result<Kind, Issue> {
        let begin = self.at;
        let rest = self.rest();
        if let Some(digits) = rest.strip_prefix("0x").or_else(|| rest.strip_prefix("0X")) {
            let end = digits.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(digits.len());
            let text = digits[..end].to_owned();
            self.at += 2 + end;
            let value = u64::from_str_radix(&text, 16);
            return self.whole(begin, value.ok());
        }
        let digits = |text: &str| text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let mut end = digits(rest);
        let mut real = false;
        if rest[end..].starts_with('.') && rest[end + 1..].starts_with(|c: char| c.is_ascii_digit()) {
            end += 1 + digits(&rest[end + 1..]);
            real = true;
        }
        if let Some(exponent) = rest[end..].strip_prefix(['e', 'E']) {
            let unsigned = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            if unsigned.starts_with(|c: char| c.is_ascii_digit()) {
                end += 1 + (exponent.len() - unsigned.len()) + digits(unsigned);
                real = true;
            }
        }
        let text = rest[..end].to_owned();
        self.at += end;
        if real {
            return match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Kind::Double(value)),
                _ => self.fail(begin, "invalid double literal"),
            };
        }
        self.whole(begin, text.parse().ok())
    }

    fn whole(&mut self, begin: usize, value: Option<u64>) -> Result<Kind, Issue> {
        if self.rest().starts_with(['u', 'U']) {
            self.at += 1;
            return value.map_or_else(|| self.fail(begin, "invalid uint literal"), |value| Ok(Kind::Uint(value)));
        }
        match value {
            Some(value) if value == i64::MIN.unsigned_abs() => Ok(Kind::Least),
            Some(value) if i64::try_from(value).is_ok() => Ok(Kind::Int(value as i64)),
            _ => self.fail(begin, "invalid int literal"),
        }
    }

    fn text(&mut self, begin: usize, quote: char, raw: bool, bytes: bool) -> Result<Kind, Issue> {
        let triple = [quote; 3].iter().collect::<String>();
        let (open, close) = match self.rest().starts_with(&triple) {
            true => (3, triple),
            false => (1, quote.to_string()),
        };
        self.at += open;
        let mut found = Vec::new();
        loop {
            let rest = self.rest();
            if rest.starts_with(&close) {
                self.at += close.len();
                break;
            }
            let Some(c) = rest.chars().next().filter(|c| open == 3 || !matches!(c, '\n' | '\r')) else {
                let shown = &self.source[begin..self.at];
                return self.fail(begin, format!("Syntax error: token recognition error at: '{shown}'"));
            };
            self.at += c.len_utf8();
            if c == '\\' && !raw {
                self.escape(bytes, &mut found)?;
            } else if c == '\\' {
                found.push(b'\\');
                if let Some(next) = self.rest().chars().next() {
                    found.extend(next.to_string().as_bytes());
                    self.at += next.len_utf8();
                }
            } else {
                found.extend(c.to_string().as_bytes());
            }
        }
        if bytes {
            return Ok(Kind::Bytes(found.into()));
        }
        match String::from_utf8(found) {
            Ok(text) => Ok(Kind::String(text.into())),
            Err(_) => self.fail(begin, "Syntax error: invalid UTF-8 in a string"),
        }
    }

    fn escape(&mut self, bytes: bool, found: &mut Vec<u8>) -> Result<(), Issue> {
        let begin = self.at;
        let Some(c) = self.rest().chars().next() else { return self.fail(begin, "unable to unescape string") };
        self.at += c.len_utf8();
        let simple = match c {
            'a' => 7,
            'b' => 8,
            'f' => 12,
            'n' => b'\n',
            'r' => b'\r',
            't' => b'\t',
            'v' => 11,
            '\\' | '\'' | '"' | '`' | '?' => c as u8,
            'x' | 'X' | 'u' | 'U' | '0'..='3' => {
                let (length, radix) = match c {
                    'x' | 'X' => (2, 16),
                    'u' => (4, 16),
                    'U' => (8, 16),
                    _ => (3, 8),
                };
                let from = if radix == 8 { begin } else { self.at };
                let digits = self.source.get(from..from + length).unwrap_or_default();
                let Some(code) = u32::from_str_radix(digits, radix).ok().filter(|_| digits.len() == length) else {
                    return self.fail(begin, "unable to unescape string");
                };
                self.at = from + length;
                if bytes && matches!(c, 'x' | 'X' | '0'..='3') {
                    found.push(code as u8);
                    return Ok(());
                }
                let Some(c) = char::from_u32(code) else { return self.fail(begin, "invalid unicode code point") };
                found.extend(c.to_string().as_bytes());
                return Ok(());
            }
            _ => return self.fail(begin, "unable to unescape string"),
        };
        found.push(simple);
        Ok(())
    }
}
