//! What a source text becomes.

use std::sync::Arc;

use super::value::Value;

/// An expression, and where it stands.
#[derive(Clone, Debug)]
pub struct Expr {
    /// The byte of the source that errors about it point at.
    pub at: u32,
    /// What it is.
    pub node: Node,
}

/// The forms of expressions.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Node {
    Literal(Value),
    Ident(Arc<str>),
    Select {
        operand: Box<Expr>,
        field: Arc<str>,
        access: Access,
    },
    Index {
        operand: Box<Expr>,
        index: Box<Expr>,
        optional: bool,
    },
    /// A function, a method, or an operator under cel-go's name for it: `_+_`.
    Call {
        function: Arc<str>,
        target: Option<Box<Expr>>,
        args: Vec<Expr>,
    },
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Conditional(Box<[Expr; 3]>),
    List(Vec<Element>),
    Map(Vec<Entry>),
    Struct {
        name: Arc<str>,
        fields: Vec<Field>,
    },
    Comprehension(Box<Comprehension>),
}

/// What a selection asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `a.b`: the field, which must be there.
    Plain,
    /// `a.?b`: the field, if it is there.
    Optional,
    /// `has(a.b)`: whether it is there.
    Test,
}

/// An element of a list literal; `[?x]` leaves out what has no value.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Element {
    pub optional: bool,
    pub value: Expr,
}

/// An entry of a map literal.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Entry {
    pub optional: bool,
    pub key: Expr,
    pub value: Expr,
}

/// A field of an object literal.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Field {
    pub at: u32,
    pub optional: bool,
    pub name: Arc<str>,
    pub value: Expr,
}

/// What a macro folds a list or a map into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Fold {
    All,
    Exists,
    ExistsOne,
    /// `map`, `transformList`
    List,
    Filter,
    TransformMap,
    TransformMapEntry,
    SortBy,
    OptMap,
    OptFlatMap,
}

/// A macro: a loop over a list or a map, with names for what it is at.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct Comprehension {
    pub fold: Fold,
    pub range: Expr,
    pub variable: Arc<str>,
    pub second: Option<Arc<str>>,
    pub filter: Option<Expr>,
    pub step: Expr,
}
