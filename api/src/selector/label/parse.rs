//! From text to selector: recursive descent over `requirement {"," requirement}`. Source: `Lexer` and `Parser` in
//! `k8s.io/apimachinery/pkg/labels`.

use super::{Operator, Requirement, Selector, check_key};
use crate::{
    field::{Errors, Path},
    selector::Error,
};

/// The selector that a text stands for.
pub(super) fn selector(text: &str) -> Result<Selector, Error> {
    Parser { rest: text }.selector()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token<'a> {
    Word(&'a str),
    Open,
    Close,
    Comma,
    Not,
    Relation(Operator),
    Unknown(&'a str),
    End,
}

impl Token<'_> {
    fn text(self) -> String {
        match self {
            Token::Word(text) => text.to_owned(),
            Token::Open => "(".to_owned(),
            Token::Close => ")".to_owned(),
            Token::Comma => ",".to_owned(),
            Token::Not => "!".to_owned(),
            Token::Relation(operator) => match operator {
                Operator::DoubleEquals => "==",
                Operator::NotEquals => "!=",
                Operator::GreaterThan => ">",
                Operator::LessThan => "<",
                _ => "=",
            }
            .to_owned(),
            Token::Unknown(text) => format!("error expected: keyword found '{text}'"),
            Token::End => String::new(),
        }
    }
}

/// `in` and `notin` are words everywhere but between a key and its values.
struct Parser<'a> {
    rest: &'a str,
}

impl<'a> Parser<'a> {
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(length);
        self.rest = rest;
        taken
    }

    fn next(&mut self) -> Token<'a> {
        const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];
        const SPECIAL: [char; 7] = ['=', '!', '(', ')', ',', '>', '<'];
        self.rest = self.rest.trim_start_matches(SPACE);
        for (text, token) in [
            ("==", Token::Relation(Operator::DoubleEquals)),
            ("!=", Token::Relation(Operator::NotEquals)),
            ("=", Token::Relation(Operator::Equals)),
            (">", Token::Relation(Operator::GreaterThan)),
            ("<", Token::Relation(Operator::LessThan)),
            ("!", Token::Not),
            ("(", Token::Open),
            (")", Token::Close),
            (",", Token::Comma),
        ] {
            if self.rest.starts_with(text) {
                self.take(text.len());
                return token;
            }
        }
        let end = self.rest.find(|c| SPACE.contains(&c) || SPECIAL.contains(&c)).unwrap_or(self.rest.len());
        match self.take(end) {
            "" => Token::End,
            word if word.contains('\0') => Token::Unknown(word),
            word => Token::Word(word),
        }
    }

    fn peek(&self) -> Token<'a> {
        Self { rest: self.rest }.next()
    }

    fn selector(mut self) -> Result<Selector, Error> {
        let mut requirements = Vec::new();
        match self.peek() {
            Token::End => return Ok(Selector::everything()),
            Token::Word(_) | Token::Not => {}
            token => {
                return Err(Error(format!("found '{}', expected: !, identifier, or 'end of string'", token.text())));
            }
        }
        loop {
            let requirement = self.requirement();
            requirements.push(requirement.map_err(|Error(why)| Error(format!("unable to parse requirement: {why}")))?);
            match self.next() {
                Token::End => return Ok(Selector::new(requirements)),
                Token::Comma => match self.peek() {
                    Token::Word(_) | Token::Not => {}
                    token => return Err(Error(format!("found '{}', expected: identifier after ','", token.text()))),
                },
                token => return Err(Error(format!("found '{}', expected: ',' or 'end of string'", token.text()))),
            }
        }
    }

    fn requirement(&mut self) -> Result<Requirement, Error> {
        let mut first = self.next();
        let negated = first == Token::Not;
        if negated {
            first = self.next();
        }
        let Token::Word(key) = first else {
            return Err(Error(format!("found '{}', expected: identifier", first.text())));
        };
        let mut errors = Errors::default();
        check_key(key, &Path::default(), &mut errors);
        if !errors.is_empty() {
            return Err(Error(errors.to_string()));
        }
        if negated {
            return Requirement::new(key, Operator::DoesNotExist, Vec::new());
        }
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Requirement::new(key, Operator::Exists, Vec::new());
        }
        match self.next() {
            Token::Relation(operator) => {
                let value = self.exact_value()?;
                Requirement::new(key, operator, vec![value])
            }
            Token::Word("in") => {
                let values = self.values()?;
                Requirement::new(key, Operator::In, values)
            }
            Token::Word("notin") => {
                let values = self.values()?;
                Requirement::new(key, Operator::NotIn, values)
            }
            token => Err(Error(format!("found '{}', expected: in, notin, =, ==, !=, gt, lt", token.text()))),
        }
    }

    fn exact_value(&mut self) -> Result<String, Error> {
        if matches!(self.peek(), Token::End | Token::Comma) {
            return Ok(String::new());
        }
        match self.next() {
            Token::Word(value) => Ok(value.to_owned()),
            token => Err(Error(format!("found '{}', expected: identifier", token.text()))),
        }
    }

    /// `(a,b)`. A value may be empty: `()`, `(,a)`, `(a,)`.
    fn values(&mut self) -> Result<Vec<String>, Error> {
        match self.next() {
            Token::Open => {}
            token => return Err(Error(format!("found '{}' expected: '('", token.text()))),
        }
        let mut values = Vec::new();
        loop {
            match self.peek() {
                Token::Word(value) => {
                    self.next();
                    values.push(value.to_owned());
                }
                Token::Comma | Token::Close => values.push(String::new()),
                token => {
                    return Err(Error(format!("found '{}', expected: ',', ')' or identifier", token.text())));
                }
            }
            match self.next() {
                Token::Close => return Ok(values),
                Token::Comma => {}
                token => return Err(Error(format!("found '{}', expected: ',' or ')'", token.text()))),
            }
        }
    }
}
