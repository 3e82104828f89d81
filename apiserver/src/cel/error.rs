//! What can be wrong with an expression, in cel-go's words.

use std::fmt;

/// Something wrong at one place of a source.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Issue {
    /// The byte where it is.
    pub at: u32,
    /// What it is.
    pub message: String,
}

/// Why a source does not compile. Prints as cel-go prints its issues, each with the line that it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CompileError {
    /// The text.
    pub source: String,
    /// What is wrong with it, in order.
    pub issues: Vec<Issue>,
}

impl CompileError {
    pub(super) fn new(source: &str, mut issues: Vec<Issue>) -> Self {
        issues.sort();
        issues.dedup();
        Self { source: source.to_owned(), issues }
    }
}

impl std::error::Error for CompileError {}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, issue) in self.issues.iter().enumerate() {
            if i > 0 {
                writeln!(f)?;
            }
            let before = self.source.get(..issue.at as usize).unwrap_or(&self.source);
            let number = before.matches('\n').count();
            let column = before.rsplit('\n').next().unwrap_or_default().chars().count();
            let line = self.source.split('\n').nth(number).unwrap_or_default().replace('\t', " ");
            let dots = ".".repeat(column);
            write!(f, "ERROR: <input>:{}:{}: {}\n | {line}\n | {dots}^", number + 1, column + 1, issue.message)?;
        }
        Ok(())
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It cannot be computed: a missing key, a division by zero, ….
    Error(String),
    /// It would take too long, or too much memory.
    Limit,
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Failure::Error(message.into())
    }

    pub(super) fn no_overload() -> Self {
        Self::new("no such overload")
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Error(message) => f.write_str(message),
            Failure::Limit => f.write_str("operation cancelled: actual cost limit exceeded"),
        }
    }
}

impl std::error::Error for Failure {}
