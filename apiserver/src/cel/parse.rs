//! From tokens to an expression. Source of the grammar: cel-spec's `langdef.md`; of the wording: cel-go's parser.

use std::sync::Arc;

use super::{
    ast::{Access, Element, Entry, Expr, Field, Node},
    error::{CompileError, Issue},
    lex::{Kind, Token, tokens},
    macros,
    value::Value,
};

/// Deeper expressions are refused: as many frames fit in a thread's stack. cel-go allows 250.
const DEPTH: usize = 100;
/// Longer sources are refused. Source: cel-go's `expressionSizeCodePointLimit`.
const LENGTH: usize = 100_000;

const EXPECTED: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, \
                        BYTES, IDENTIFIER}";
/// Words that name nothing.
const RESERVED: [&str; 17] = [
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

type Parsed<T> = Result<T, Issue>;

/// The expression that a text is.
pub fn parse(source: &str) -> Result<Expr, CompileError> {
    let fail = |issue| CompileError::new(source, vec![issue]);
    let length = source.chars().count();
    if length > LENGTH {
        let message = format!("expression code point size exceeds limit: size: {length}, limit {LENGTH}");
        return Err(fail(Issue { at: 0, message }));
    }
    let tokens = tokens(source).map_err(fail)?;
    let mut parser = Parser { source, tokens, next: 0, depth: 0 };
    let whole = parser.expression().and_then(|expr| parser.end().map(|()| expr));
    whole.map_err(fail)
}

struct Parser<'a> {
    source: &'a str,
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

/// The binary operators, loosest first; `in` is among the relations.
const LEVELS: [&[(&str, &str)]; 3] = [
    &[("<", "_<_"), ("<=", "_<=_"), (">=", "_>=_"), (">", "_>_"), ("==", "_==_"), ("!=", "_!=_"), ("in", "@in")],
    &[("+", "_+_"), ("-", "_-_")],
    &[("*", "_*_"), ("/", "_/_"), ("%", "_%_")],
];

impl Parser<'_> {
    fn peek(&self) -> &Kind {
        &self.tokens[self.next].kind
    }

    fn at(&self) -> u32 {
        self.tokens[self.next].at
    }

    fn advance(&mut self) -> Token {
        let token = self.tokens[self.next].clone();
        if self.next + 1 < self.tokens.len() {
            self.next += 1;
        }
        token
    }

    fn take(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Kind::Symbol(found) if *found == symbol);
        if found {
            self.advance();
        }
        found
    }

    /// The next token as it was written.
    fn shown(&self) -> String {
        if *self.peek() == Kind::End {
            return "<EOF>".into();
        }
        let end = self.tokens.get(self.next + 1).map_or(self.source.len(), |token| token.at as usize);
        self.source[self.at() as usize..end].trim_end().to_owned()
    }

    fn fail<T>(&self, message: String) -> Parsed<T> {
        Err(Issue { at: self.at(), message })
    }

    fn expect(&mut self, symbol: &str) -> Parsed<()> {
        if self.take(symbol) {
            return Ok(());
        }
        match self.peek() {
            Kind::End => self.fail(format!("Syntax error: missing '{symbol}' at '<EOF>'")),
            _ => self.fail(format!("Syntax error: mismatched input '{}' expecting '{symbol}'", self.shown())),
        }
    }

    fn end(&mut self) -> Parsed<()> {
        match self.peek() {
            Kind::End => Ok(()),
            _ => self.fail(format!("Syntax error: extraneous input '{}' expecting <EOF>", self.shown())),
        }
    }

    fn deeper(&mut self) -> Parsed<()> {
        self.depth += 1;
        if self.depth > DEPTH {
            return self.fail(format!("expression recursion limit exceeded: {DEPTH}"));
        }
        Ok(())
    }

    fn expression(&mut self) -> Parsed<Expr> {
        self.deeper()?;
        let condition = self.either()?;
        let at = self.at();
        let whole = if self.take("?") {
            let yes = self.either()?;
            self.expect(":")?;
            let no = self.expression()?;
            Expr { at, node: Node::Conditional(Box::new([condition, yes, no])) }
        } else {
            condition
        };
        self.depth -= 1;
        Ok(whole)
    }

    fn either(&mut self) -> Parsed<Expr> {
        self.terms("||", Node::Or, |parser| parser.terms("&&", Node::And, |parser| parser.binary(0)))
    }

    fn terms(
        &mut self,
        symbol: &str,
        make: fn(Vec<Expr>) -> Node,
        term: impl Fn(&mut Self) -> Parsed<Expr>,
    ) -> Parsed<Expr> {
        let first = term(self)?;
        let at = self.at();
        let mut terms = vec![first];
        while self.take(symbol) {
            terms.push(term(self)?);
        }
        match terms.len() {
            1 => Ok(terms.remove(0)),
            _ => Ok(Expr { at, node: make(terms) }),
        }
    }

    fn binary(&mut self, level: usize) -> Parsed<Expr> {
        let Some(operators) = LEVELS.get(level) else { return self.unary() };
        let mut left = self.binary(level + 1)?;
        let depth = self.depth;
        loop {
            let text = match self.peek() {
                Kind::Symbol(symbol) => symbol,
                Kind::Ident(name) => &**name,
                _ => break,
            };
            let Some((_, function)) = operators.iter().find(|(operator, _)| *operator == text) else { break };
            let at = self.at();
            self.advance();
            self.deeper()?;
            let right = self.binary(level + 1)?;
            left =
                Expr { at, node: Node::Call { function: (*function).into(), target: None, args: vec![left, right] } };
        }
        self.depth = depth;
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Expr> {
        let (at, symbol) = (self.at(), self.peek().clone());
        let function = match symbol {
            Kind::Symbol("!") => "!_",
            Kind::Symbol("-") => {
                let literal = match self.tokens.get(self.next + 1).map(|token| &token.kind) {
                    Some(Kind::Int(value)) => Some(Value::Int(-value)),
                    Some(Kind::Least) => Some(Value::Int(i64::MIN)),
                    Some(Kind::Double(value)) => Some(Value::Double(-value)),
                    _ => None,
                };
                if let Some(value) = literal {
                    self.next += 2;
                    return self.members(Expr { at, node: Node::Literal(value) });
                }
                "-_"
            }
            _ => {
                let primary = self.primary()?;
                return self.members(primary);
            }
        };
        self.advance();
        self.deeper()?;
        let operand = self.unary()?;
        self.depth -= 1;
        Ok(Expr { at, node: Node::Call { function: function.into(), target: None, args: vec![operand] } })
    }

    fn primary(&mut self) -> Parsed<Expr> {
        let at = self.at();
        let literal = |value| Ok(Expr { at, node: Node::Literal(value) });
        match self.peek().clone() {
            Kind::Int(value) => self.literal(literal(Value::Int(value))),
            Kind::Least => self.fail("invalid int literal".into()),
            Kind::Uint(value) => self.literal(literal(Value::Uint(value))),
            Kind::Double(value) => self.literal(literal(Value::Double(value))),
            Kind::String(value) => self.literal(literal(Value::String(value))),
            Kind::Bytes(value) => self.literal(literal(Value::Bytes(value))),
            Kind::Ident(name) => match &*name {
                "true" => self.literal(literal(Value::Bool(true))),
                "false" => self.literal(literal(Value::Bool(false))),
                "null" => self.literal(literal(Value::Null)),
                "in" => self.unexpected(),
                _ => self.name(at, name),
            },
            Kind::Symbol("(") => {
                self.advance();
                let inner = self.expression()?;
                self.expect(")")?;
                Ok(inner)
            }
            Kind::Symbol("[") => self.list(at),
            Kind::Symbol("{") => self.map(at),
            Kind::Symbol(".") => {
                self.advance();
                match self.peek().clone() {
                    Kind::Ident(name) => self.name(at, name),
                    _ => self.fail(format!("Syntax error: mismatched input '{}' expecting IDENTIFIER", self.shown())),
                }
            }
            _ => self.unexpected(),
        }
    }

    fn literal(&mut self, literal: Parsed<Expr>) -> Parsed<Expr> {
        self.advance();
        literal
    }

    fn unexpected<T>(&self) -> Parsed<T> {
        self.fail(format!("Syntax error: mismatched input '{}' expecting {EXPECTED}", self.shown()))
    }

    fn name(&mut self, at: u32, name: Arc<str>) -> Parsed<Expr> {
        if RESERVED.contains(&&*name) {
            return self.fail(format!("reserved identifier: {name}"));
        }
        self.advance();
        if !self.take("(") {
            return Ok(Expr { at, node: Node::Ident(name) });
        }
        let open = self.tokens[self.next - 1].at;
        let args = self.arguments()?;
        macros::function(open, name, args)
    }

    fn arguments(&mut self) -> Parsed<Vec<Expr>> {
        let mut args = Vec::new();
        if self.take(")") {
            return Ok(args);
        }
        loop {
            args.push(self.expression()?);
            if !self.take(",") {
                self.expect(")")?;
                return Ok(args);
            }
        }
    }

    fn members(&mut self, mut operand: Expr) -> Parsed<Expr> {
        let depth = self.depth;
        loop {
            let at = self.at();
            if self.take(".") {
                self.deeper()?;
                let optional = self.take("?");
                let field = match self.peek().clone() {
                    Kind::Quoted(name) => name,
                    Kind::Ident(name) if !matches!(&*name, "in" | "true" | "false" | "null") => name,
                    _ => {
                        let shown = self.shown();
                        return self.fail(format!("Syntax error: mismatched input '{shown}' expecting IDENTIFIER"));
                    }
                };
                self.advance();
                let open = self.at();
                if !optional && self.take("(") {
                    let args = self.arguments()?;
                    operand = macros::method(open, operand, field, args)?;
                    continue;
                }
                let access = if optional { Access::Optional } else { Access::Plain };
                operand = Expr { at, node: Node::Select { operand: Box::new(operand), field, access } };
            } else if self.take("[") {
                self.deeper()?;
                let optional = self.take("?");
                let index = Box::new(self.expression()?);
                self.expect("]")?;
                operand = Expr { at, node: Node::Index { operand: Box::new(operand), index, optional } };
            } else if matches!(self.peek(), Kind::Symbol("{")) {
                let Some(name) = qualified(&operand) else { break };
                self.advance();
                let fields = self.fields()?;
                operand = Expr { at, node: Node::Struct { name: name.into(), fields } };
            } else {
                break;
            }
        }
        self.depth = depth;
        Ok(operand)
    }

    fn list(&mut self, at: u32) -> Parsed<Expr> {
        self.advance();
        let mut elements = Vec::new();
        while !self.take("]") {
            let optional = self.take("?");
            elements.push(Element { optional, value: self.expression()? });
            if !self.take(",") {
                self.expect("]")?;
                break;
            }
        }
        Ok(Expr { at, node: Node::List(elements) })
    }

    fn map(&mut self, at: u32) -> Parsed<Expr> {
        self.advance();
        let mut entries = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let key = self.expression()?;
            self.expect(":")?;
            entries.push(Entry { optional, key, value: self.expression()? });
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(Expr { at, node: Node::Map(entries) })
    }

    fn fields(&mut self) -> Parsed<Vec<Field>> {
        let mut fields = Vec::new();
        while !self.take("}") {
            let optional = self.take("?");
            let name = match self.peek().clone() {
                Kind::Ident(name) | Kind::Quoted(name) => name,
                _ => {
                    let shown = self.shown();
                    return self.fail(format!("Syntax error: mismatched input '{shown}' expecting IDENTIFIER"));
                }
            };
            self.advance();
            let at = self.at();
            self.expect(":")?;
            fields.push(Field { at, optional, name, value: self.expression()? });
            if !self.take(",") {
                self.expect("}")?;
                break;
            }
        }
        Ok(fields)
    }
}

/// `a.b.c`, where an expression is nothing but names.
pub fn qualified(expr: &Expr) -> Option<String> {
    match &expr.node {
        Node::Ident(name) => Some(name.to_string()),
        Node::Select { operand, field, access: Access::Plain } => Some(format!("{}.{field}", qualified(operand)?)),
        _ => None,
    }
}
