//! Words: `$NAME`, `$(date)`, `$((1 + 1))`, `~`, `*`, and what quotes keep from them.

use std::sync::{Arc, Mutex, PoisonError};

use brush_parser::{
    ParserOptions,
    ast::{self, ExtendedTestExpr as Test},
    word::{self, Parameter, ParameterExpr as Expr, ParameterTestType, SpecialParameter, WordPiece},
};
use futures::{FutureExt, future::BoxFuture};
use regex::RegexBuilder;

use super::{
    evaluate::{Shell, status_of},
    files::normalize,
    pattern::Pattern,
    programs::test,
    streams::{Output, Streams},
};

/// The largest compiled regular expression, in bytes.
const MAX_EXPRESSION: usize = 1 << 20;

/// The most words that one word becomes.
const MAX_WORDS: usize = 10_000;

/// A word on its way to become several.
#[derive(Default)]
struct Fields {
    done: Vec<Pattern>,
    now: Pattern,
    /// There is a word, be it empty: it has quotes.
    begun: bool,
}

impl Fields {
    fn push(&mut self, text: &str, quoted: bool) {
        self.begun |= quoted || !text.is_empty();
        self.now.0.extend(text.chars().map(|c| (c, quoted)));
    }

    /// Text that splits at white space.
    fn split(&mut self, text: &str) {
        for c in text.chars() {
            if c.is_ascii_whitespace() {
                self.end();
            } else {
                self.push(c.encode_utf8(&mut [0; 4]), false);
            }
        }
    }

    fn end(&mut self) {
        if std::mem::take(&mut self.begun) && self.done.len() < MAX_WORDS {
            self.done.push(std::mem::take(&mut self.now));
        }
    }
}

fn options() -> ParserOptions {
    ParserOptions::default()
}

impl Shell {
    /// Words, expanded, split and matched against files.
    pub async fn words(&mut self, words: &[ast::Word], streams: &Streams) -> Vec<String> {
        let mut all = Vec::new();
        for word in words {
            let mut fields = Fields::default();
            self.expand(&word.value, &mut fields, true, streams).await;
            fields.end();
            for field in fields.done {
                if field.is_literal() {
                    all.push(field.text());
                    continue;
                }
                let text = field.text();
                let fixed =
                    text.find(['*', '?', '[']).and_then(|at| text[..at].rfind('/')).map_or("", |at| &text[..=at]);
                self.world.files.look(&normalize(&self.folder, fixed)).await;
                match self.glob(&field) {
                    found if found.is_empty() => all.push(field.text()),
                    found => all.extend(found),
                }
            }
        }
        all.truncate(MAX_WORDS);
        all
    }

    /// A word as one text.
    pub async fn text(&mut self, word: &ast::Word, streams: &Streams) -> String {
        self.pattern(word, streams).await.text()
    }

    /// A word as a pattern.
    pub async fn pattern(&mut self, word: &ast::Word, streams: &Streams) -> Pattern {
        self.expand_text(&word.value, streams).await
    }

    /// A text, expanded, as a pattern.
    pub async fn expand_text(&mut self, text: &str, streams: &Streams) -> Pattern {
        let mut fields = Fields::default();
        self.expand(text, &mut fields, false, streams).await;
        fields.now
    }

    fn expand<'a>(
        &'a mut self,
        text: &'a str,
        fields: &'a mut Fields,
        split: bool,
        streams: &'a Streams,
    ) -> BoxFuture<'a, ()> {
        async move {
            match word::parse(text, &options()) {
                Ok(pieces) => {
                    for piece in pieces {
                        self.piece(piece.piece, fields, false, split, streams).await;
                    }
                }
                // What cannot be taken apart stands for itself.
                Err(_) => fields.push(text, true),
            }
        }
        .boxed()
    }

    fn piece<'a>(
        &'a mut self,
        piece: WordPiece,
        fields: &'a mut Fields,
        quoted: bool,
        split: bool,
        streams: &'a Streams,
    ) -> BoxFuture<'a, ()> {
        async move {
            let value = match piece {
                WordPiece::Text(text) => return fields.push(&text, quoted),
                WordPiece::SingleQuotedText(text) => return fields.push(&text, true),
                WordPiece::AnsiCQuotedText(text) => return fields.push(&unescape(&text).0, true),
                WordPiece::EscapeSequence(text) => {
                    // A line that goes on is nothing at all.
                    let text = text.strip_prefix('\\').unwrap_or(&text);
                    if text != "\n" {
                        fields.push(text, true);
                    }
                    return;
                }
                WordPiece::DoubleQuotedSequence(pieces) | WordPiece::GettextDoubleQuotedSequence(pieces) => {
                    fields.begun = true;
                    for piece in pieces {
                        self.piece(piece.piece, fields, true, split, streams).await;
                    }
                    return;
                }
                WordPiece::TildeExpansion(tilde) => match tilde {
                    word::TildeExpr::Home => self.get("HOME").unwrap_or("/").to_owned(),
                    word::TildeExpr::UserHome(user) if user == "root" => "/root".to_owned(),
                    word::TildeExpr::UserHome(user) => format!("~{user}"),
                    _ => self.folder.clone(),
                },
                WordPiece::CommandSubstitution(script) | WordPiece::BackquotedCommandSubstitution(script) => {
                    self.substitute(&script, streams).await
                }
                WordPiece::ArithmeticExpression(expression) => {
                    let text = self.expand_text(&expression.value, streams).await.text();
                    match self.calculate(&text) {
                        Some(value) => value.to_string(),
                        None => {
                            let _ = streams.stderr.print(format!("{}: arithmetic syntax error\n", self.name)).await;
                            String::new()
                        }
                    }
                }
                WordPiece::ParameterExpansion(Expr::Parameter {
                    parameter: Parameter::Special(SpecialParameter::AllPositionalParameters { concatenate: false }),
                    ..
                }) if quoted && split => {
                    for (at, argument) in self.arguments.iter().enumerate() {
                        if at > 0 {
                            fields.end();
                        }
                        fields.push(argument, true);
                    }
                    fields.begun = !self.arguments.is_empty();
                    return;
                }
                WordPiece::ParameterExpansion(Expr::Parameter {
                    parameter: Parameter::NamedWithAllIndices { name, concatenate: false },
                    ..
                }) if quoted && split => {
                    let elements = self.elements(&name);
                    for (at, element) in elements.iter().enumerate() {
                        if at > 0 {
                            fields.end();
                        }
                        fields.push(element, true);
                    }
                    fields.begun = !elements.is_empty();
                    return;
                }
                WordPiece::ParameterExpansion(expression) => self.parameter(expression, streams).await,
            };
            if quoted || !split { fields.push(&value, quoted) } else { fields.split(&value) }
        }
        .boxed()
    }

    /// What `$(…)` stands for.
    async fn substitute(&mut self, script: &str, streams: &Streams) -> String {
        let buffer = Arc::new(Mutex::new(Vec::new()));
        let own = Streams { stdout: Output::Buffer(Arc::clone(&buffer)), ..streams.clone() };
        let mut inner = self.clone();
        inner.interactive = false;
        let outcome = inner.source(script, &own).await;
        self.status = status_of(outcome, &inner);
        let bytes = std::mem::take(&mut *buffer.lock().unwrap_or_else(PoisonError::into_inner));
        String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned()
    }

    fn value(&self, parameter: &Parameter) -> Option<String> {
        Some(match parameter {
            Parameter::Named(name) => self.get(name)?.to_owned(),
            Parameter::Positional(0) => self.name.clone(),
            Parameter::Positional(n) => self.arguments.get(*n as usize - 1)?.clone(),
            Parameter::Special(special) => match special {
                SpecialParameter::AllPositionalParameters { .. } => self.arguments.join(" "),
                SpecialParameter::PositionalParameterCount => self.arguments.len().to_string(),
                SpecialParameter::LastExitStatus => self.status.to_string(),
                SpecialParameter::CurrentOptionFlags => String::new(),
                SpecialParameter::ProcessId => if self.is_first { "1" } else { "7" }.to_owned(),
                SpecialParameter::LastBackgroundProcessId => self.jobs.last()?.to_string(),
                SpecialParameter::ShellName => self.name.clone(),
            },
            Parameter::NamedWithIndex { name, index } => self.elements(name).into_iter().nth(index.parse().ok()?)?,
            Parameter::NamedWithAllIndices { name, .. } => {
                self.variables.contains_key(name).then(|| self.elements(name).join(" "))?
            }
        })
    }

    async fn parameter(&mut self, expression: Expr, streams: &Streams) -> String {
        let is_missing = |value: &Option<String>, test: &ParameterTestType| match test {
            ParameterTestType::UnsetOrNull => value.as_deref().unwrap_or_default().is_empty(),
            ParameterTestType::Unset => value.is_none(),
        };
        match expression {
            Expr::Parameter { parameter, .. } => {
                let parameter = self.resolved(parameter, streams).await;
                self.value(&parameter).unwrap_or_default()
            }
            Expr::UseDefaultValues { parameter, test_type, default_value, .. } => {
                let value = self.value(&parameter);
                if is_missing(&value, &test_type) {
                    self.expand_text(&default_value.unwrap_or_default(), streams).await.text()
                } else {
                    value.unwrap_or_default()
                }
            }
            Expr::AssignDefaultValues { parameter, test_type, default_value, .. } => {
                let value = self.value(&parameter);
                if !is_missing(&value, &test_type) {
                    return value.unwrap_or_default();
                }
                let value = self.expand_text(&default_value.unwrap_or_default(), streams).await.text();
                if let Parameter::Named(name) = &parameter {
                    self.set(name, value.clone());
                }
                value
            }
            Expr::IndicateErrorIfNullOrUnset { parameter, test_type, error_message, .. } => {
                let value = self.value(&parameter);
                if is_missing(&value, &test_type) {
                    let message = error_message.unwrap_or_else(|| "parameter not set".to_owned());
                    let name = parameter.to_string();
                    let name = name.trim_matches(['$', '{', '}']);
                    let _ = streams.stderr.print(format!("{}: {name}: {message}\n", self.name)).await;
                    self.status = 1;
                }
                value.unwrap_or_default()
            }
            Expr::UseAlternativeValue { parameter, test_type, alternative_value, .. } => {
                if is_missing(&self.value(&parameter), &test_type) {
                    String::new()
                } else {
                    self.expand_text(&alternative_value.unwrap_or_default(), streams).await.text()
                }
            }
            Expr::ParameterLength { parameter: Parameter::NamedWithAllIndices { name, .. }, .. } => {
                self.elements(&name).len().to_string()
            }
            Expr::ParameterLength { parameter, .. } => {
                let parameter = self.resolved(parameter, streams).await;
                self.value(&parameter).unwrap_or_default().chars().count().to_string()
            }
            Expr::RemoveSmallestSuffixPattern { parameter, pattern, .. } => {
                self.cut(&parameter, pattern, streams, false, false).await
            }
            Expr::RemoveLargestSuffixPattern { parameter, pattern, .. } => {
                self.cut(&parameter, pattern, streams, false, true).await
            }
            Expr::RemoveSmallestPrefixPattern { parameter, pattern, .. } => {
                self.cut(&parameter, pattern, streams, true, false).await
            }
            Expr::RemoveLargestPrefixPattern { parameter, pattern, .. } => {
                self.cut(&parameter, pattern, streams, true, true).await
            }
            _ => {
                let _ = streams.stderr.print(format!("{}: bad substitution\n", self.name)).await;
                self.status = 1;
                String::new()
            }
        }
    }

    /// `${name#pattern}` and its kin.
    async fn cut(
        &mut self,
        parameter: &Parameter,
        pattern: Option<String>,
        streams: &Streams,
        prefix: bool,
        largest: bool,
    ) -> String {
        let value = self.value(parameter).unwrap_or_default();
        let pattern = self.expand_text(&pattern.unwrap_or_default(), streams).await;
        let mut places: Vec<usize> = value.char_indices().map(|(at, _)| at).chain([value.len()]).collect();
        // The longest part first: a prefix to a late place, a suffix from an early one.
        if prefix == largest {
            places.reverse();
        }
        for at in places {
            let (part, rest) = if prefix { value.split_at(at) } else { (&value[at..], &value[..at]) };
            if pattern.matches(part) {
                return rest.to_owned();
            }
        }
        value
    }

    /// The files that a pattern means.
    fn glob(&self, pattern: &Pattern) -> Vec<String> {
        let text = pattern.text();
        let absolute = text.starts_with('/');
        let mut found = vec![String::new()];
        for part in pattern.0.split(|c| c.0 == '/').filter(|part| !part.is_empty()) {
            let part = Pattern(part.to_vec());
            let mut next = Vec::new();
            for before in &found {
                let joined = |name: &str| if before.is_empty() { name.to_owned() } else { format!("{before}/{name}") };
                if part.is_literal() {
                    next.push(joined(&part.text()));
                    continue;
                }
                let folder = if absolute { format!("/{before}") } else { normalize(&self.folder, before) };
                let names = self.world.files.list(&folder).unwrap_or_default();
                let shown = names.iter().filter(|name| part.matches(name) && !name.starts_with('.'));
                next.extend(shown.map(|name| joined(name)));
            }
            found = next;
            found.truncate(MAX_WORDS);
        }
        let rooted = found.into_iter().map(|path| if absolute { format!("/{path}") } else { path });
        rooted.filter(|path| self.world.files.about(&normalize(&self.folder, path)).is_ok()).collect()
    }

    /// A here-document, with what it refers to.
    pub async fn expand_document(&mut self, text: &str, streams: &Streams) -> String {
        let Ok(pieces) = word::parse_heredoc(text, &options()) else { return text.to_owned() };
        let mut fields = Fields::default();
        for piece in pieces {
            self.piece(piece.piece, &mut fields, true, false, streams).await;
        }
        fields.now.text()
    }

    /// `[[ text =~ expression ]]`; what matched is in `BASH_REMATCH`.
    fn matches(&mut self, text: &str, expression: &str) -> bool {
        let Ok(expression) = RegexBuilder::new(expression).size_limit(MAX_EXPRESSION).build() else { return false };
        let found = expression.captures(text);
        let groups = found.iter().flat_map(|found| found.iter());
        let groups = groups.map(|group| group.map_or("", |group| group.as_str()).to_owned()).collect();
        let has_matched = found.is_some();
        self.set_elements("BASH_REMATCH", groups);
        has_matched
    }

    /// `[[ … ]]`
    pub fn extended_test<'a>(&'a mut self, expression: &'a Test, streams: &'a Streams) -> BoxFuture<'a, i32> {
        async move {
            match expression {
                Test::And(a, b) => match self.extended_test(a, streams).await {
                    0 => self.extended_test(b, streams).await,
                    failed => failed,
                },
                Test::Or(a, b) => match self.extended_test(a, streams).await {
                    0 => 0,
                    _ => self.extended_test(b, streams).await,
                },
                Test::Not(inner) => i32::from(self.extended_test(inner, streams).await == 0),
                Test::Parenthesized(inner) => self.extended_test(inner, streams).await,
                Test::UnaryTest(predicate, word) => {
                    let value = self.text(word, streams).await;
                    self.world.files.look_for(&self.folder, std::slice::from_ref(&value)).await;
                    i32::from(!test::unary(self, predicate, &value))
                }
                Test::BinaryTest(predicate, left, right) => {
                    let left = self.text(left, streams).await;
                    let right = self.pattern(right, streams).await;
                    use ast::BinaryPredicate as Is;
                    i32::from(!match predicate {
                        Is::StringExactlyMatchesPattern => right.matches(&left),
                        Is::StringDoesNotExactlyMatchPattern => !right.matches(&left),
                        Is::StringMatchesRegex => self.matches(&left, &right.text()),
                        predicate => test::binary(self, predicate, &left, &right.text()),
                    })
                }
            }
        }
        .boxed()
    }
}

/// Text with its backslash escapes resolved, and whether `\c` ended it.
pub fn unescape(text: &str) -> (String, bool) {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some('r') => out.push('\r'),
            Some('a') => out.push('\x07'),
            Some('b') => out.push('\x08'),
            Some('e' | 'E') => out.push('\x1b'),
            Some('f') => out.push('\x0c'),
            Some('v') => out.push('\x0b'),
            Some('\\') => out.push('\\'),
            Some('c') => return (out, true),
            Some(first @ ('0'..='7' | 'x')) => {
                let (radix, most) = if first == 'x' { (16, 2) } else { (8, 3) };
                let mut digits = if first == 'x' { String::new() } else { first.to_string() };
                while digits.len() < most && chars.peek().is_some_and(|c| c.is_digit(radix)) {
                    digits.extend(chars.next());
                }
                out.push(char::from((u32::from_str_radix(&digits, radix).unwrap_or(0) & 0xff) as u8));
            }
            Some(other) => out.extend(['\\', other]),
            None => out.push('\\'),
        }
    }
    (out, false)
}
