//! The Common Expression Language, as Kubernetes v1.37 extends it: validation rules, admission policies, match conditions.
//!
//! ```text
//! Environment::compile:  text ─► lex ─► parse (+ macros) ─► check ─► Program          once a revision of what holds it
//! Program::evaluate:     Program + Activation + Budget ─► evaluate ─► Value           once a request
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`ast`], [`lex`], [`parse`], [`macros`] | expressions |
//! | [`kinds`], [`declarations`], [`check`] | types, the functions' signatures, and whether an expression keeps them |
//! | [`value`] | values, from JSON and to it |
//! | [`estimate`] | what an expression costs at most, from a schema alone |
//! | [`evaluate`], [`operators`], [`call`] | an expression's value |
//! | [`grouped`] | lists that are sets or maps |
//! | [`lists`], [`text`], [`time`], [`convert`] | the standard functions |
//! | [`library`] | Kubernetes' libraries, through the crate `kube-cel` |
//! | [`authority`] | `authorizer` |
//! | [`error`] | what can go wrong, in cel-go's words |
//!
//! Why not all of `kube-cel` and `cel` below it: that evaluator cannot be stopped, clones every value, knows no types and
//! no object literals, and panics on some input; and its parser keeps no positions for error messages.
//!
//! Invariants: compiling and evaluating are pure, and bounded in time, memory and stack, whatever the text and the data.

pub mod ast;
pub mod authority;
mod call;
mod check;
mod convert;
mod declarations;
pub mod error;
mod estimate;
mod evaluate;
mod grouped;
pub mod kinds;
mod lex;
mod library;
mod lists;
mod macros;
mod operators;
mod parse;
mod text;
mod time;
pub mod value;

use std::{collections::BTreeMap, sync::Arc};

pub use error::{CompileError, Failure, Issue};
pub use estimate::Bound;
pub use evaluate::{Activation, Lazy};
pub use grouped::{Grouping, List};
pub use kinds::{ObjectType, Type};
pub use value::{Key, Map, Value};

use ast::{Expr, Node};
use check::Checker;
use evaluate::Evaluator;

/// What one evaluation may cost. Source: `PerCallLimit` in `k8s.io/apiserver/pkg/apis/cel`.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What the expressions of one policy, or of one custom resource, may cost together. Source: `RuntimeCELCostBudget`.
pub const RUNTIME_BUDGET: u64 = 10_000_000;
/// What the match conditions of one webhook or policy may cost together. Source: `RuntimeCELCostBudgetMatchConditions`.
pub const CONDITIONS_BUDGET: u64 = 2_500_000;

/// The variables that expressions may name.
#[derive(Clone, Debug, Default)]
pub struct Environment {
    variables: BTreeMap<Arc<str>, Type>,
    mutations: bool,
}

impl Environment {
    /// No variables.
    pub fn new() -> Self {
        Self::default()
    }

    /// One variable more; a dot may be part of its name.
    #[must_use]
    pub fn with(mut self, name: &str, kind: Type) -> Self {
        self.variables.insert(name.into(), kind);
        self
    }

    /// Expressions may make `Object{…}` and `JSONPatch{…}`.
    #[must_use]
    pub fn with_mutations(mut self) -> Self {
        self.mutations = true;
        self
    }

    /// The type of a variable.
    pub fn variable(&self, name: &str) -> Option<&Type> {
        self.variables.get(name)
    }

    /// A program from a text, or all that is wrong with it.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let mut root = parse::parse(source)?;
        let mut checker = Checker::new(&self.variables, self.mutations);
        let output = checker.check(&mut root);
        if checker.issues.is_empty() {
            Ok(Program { root, output })
        } else {
            Err(CompileError::new(source, checker.issues))
        }
    }
}

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    root: Expr,
    output: Type,
}

impl Program {
    /// The type of its value.
    pub fn output(&self) -> &Type {
        &self.output
    }

    /// It names this variable, so it needs its value.
    pub fn names(&self, variable: &str) -> bool {
        names(&self.root, variable)
    }

    /// Its value for these variables. Takes what it costs out of the budget; a program that costs more than
    /// [`PER_CALL_LIMIT`], or than is left, fails with [`Failure::Limit`].
    pub fn evaluate(&self, activation: &Activation<'_>, budget: &mut Budget) -> Result<Value, Failure> {
        let mut call = Budget::new(budget.left.min(PER_CALL_LIMIT));
        let before = call.left;
        let found = Evaluator::new(activation, &mut call).value(&self.root);
        budget.left -= before - call.left;
        found
    }
}

/// What may still be spent, in cel-go's units of cost.
#[derive(Debug)]
pub struct Budget {
    left: u64,
}

impl Budget {
    /// So much.
    pub fn new(limit: u64) -> Self {
        Self { left: limit }
    }

    /// Nothing is left.
    pub fn is_spent(&self) -> bool {
        self.left == 0
    }

    /// Takes half of it away, for something that is computed meanwhile.
    pub fn split(&mut self) -> Budget {
        let half = self.left / 2;
        self.left -= half;
        Budget { left: half }
    }

    /// Gives back what is left of a budget that was split.
    pub fn join(&mut self, other: Budget) {
        self.left += other.left;
    }

    fn spend(&mut self, cost: u64) -> Result<(), Failure> {
        match self.left.checked_sub(cost) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => {
                self.left = 0;
                Err(Failure::Limit)
            }
        }
    }
}

fn names(expr: &Expr, variable: &str) -> bool {
    let within = |expr: &Expr| names(expr, variable);
    match &expr.node {
        Node::Literal(_) => false,
        Node::Ident(name) => &**name == variable,
        Node::Select { operand, .. } => within(operand),
        Node::Index { operand, index, .. } => within(operand) || within(index),
        Node::Call { target, args, .. } => target.as_deref().is_some_and(within) || args.iter().any(within),
        Node::And(terms) | Node::Or(terms) => terms.iter().any(within),
        Node::Conditional(parts) => parts.iter().any(within),
        Node::List(elements) => elements.iter().any(|element| within(&element.value)),
        Node::Map(entries) => entries.iter().any(|entry| within(&entry.key) || within(&entry.value)),
        Node::Struct { fields, .. } => fields.iter().any(|field| within(&field.value)),
        Node::Comprehension(c) => within(&c.range) || c.filter.as_ref().is_some_and(within) || within(&c.step),
    }
}

#[cfg(test)]
mod tests;
