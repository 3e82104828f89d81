//! `test` and `[`.

use brush_parser::{
    ast::{BinaryPredicate, TestExpr, UnaryPredicate},
    test_command,
};

use super::{Call, Ran};
use crate::shell::{evaluate::Shell, files::normalize};

/// Runs it.
pub async fn run(call: &Call<'_>) -> Ran {
    let mut arguments = call.arguments;
    if call.name == "[" {
        match arguments.split_last() {
            Some((last, rest)) if last == "]" => arguments = rest,
            _ => return call.fail("missing ]").await.map(|_| 2),
        }
    }
    // The parser recurses.
    if arguments.len() > 64 {
        return call.fail("too many arguments").await.map(|_| 2);
    }
    match test_command::parse(arguments) {
        Ok(expression) => Ok(i32::from(!holds(call.shell, &expression))),
        Err(_) => call.fail("syntax error").await.map(|_| 2),
    }
}

fn holds(shell: &Shell, expression: &TestExpr) -> bool {
    match expression {
        TestExpr::False => false,
        TestExpr::Literal(text) => !text.is_empty(),
        TestExpr::And(a, b) => holds(shell, a) && holds(shell, b),
        TestExpr::Or(a, b) => holds(shell, a) || holds(shell, b),
        TestExpr::Not(inner) => !holds(shell, inner),
        TestExpr::Parenthesized(inner) => holds(shell, inner),
        TestExpr::UnaryTest(predicate, value) => unary(shell, predicate, value),
        TestExpr::BinaryTest(predicate, left, right) => binary(shell, predicate, left, right),
    }
}

/// A test of one value.
pub fn unary(shell: &Shell, predicate: &UnaryPredicate, value: &str) -> bool {
    use UnaryPredicate as Is;
    let about = || shell.world.files.about_target(&normalize(&shell.folder, value));
    let is_device = || shell.world.files.is_device(&normalize(&shell.folder, value));
    match predicate {
        Is::StringHasZeroLength => value.is_empty(),
        Is::StringHasNonZeroLength => !value.is_empty(),
        Is::FileExistsAndIsDir => about().is_ok_and(|about| about.is_dir()),
        Is::FileExistsAndIsRegularFile => !is_device() && about().is_ok_and(|about| about.is_file()),
        Is::FileExistsAndIsBlockSpecialFile => is_device(),
        Is::FileExistsAndIsNotZeroLength => about().is_ok_and(|about| about.len() > 0),
        Is::FileExists | Is::FileExistsAndIsReadable | Is::FileExistsAndIsWritable | Is::FileExistsAndIsExecutable => {
            about().is_ok()
        }
        Is::FileExistsAndIsSymlink => shell.world.files.link(&normalize(&shell.folder, value)).is_some(),
        Is::ShellVariableIsSetAndAssigned => shell.get(value).is_some(),
        _ => false,
    }
}

/// A test of two values.
pub fn binary(shell: &Shell, predicate: &BinaryPredicate, left: &str, right: &str) -> bool {
    use BinaryPredicate as Is;
    let numbers = || Some((left.trim().parse::<i64>().ok()?, right.trim().parse::<i64>().ok()?));
    let compare = |holds: fn(i64, i64) -> bool| numbers().is_some_and(|(left, right)| holds(left, right));
    let changed = |path: &str| {
        let about = shell.world.files.about_target(&normalize(&shell.folder, path)).ok();
        about.and_then(|about| about.modified().ok())
    };
    match predicate {
        Is::StringExactlyMatchesString | Is::StringExactlyMatchesPattern => left == right,
        Is::StringDoesNotExactlyMatchString | Is::StringDoesNotExactlyMatchPattern => left != right,
        Is::StringContainsSubstring => left.contains(right),
        Is::LeftSortsBeforeRight => left < right,
        Is::LeftSortsAfterRight => left > right,
        Is::ArithmeticEqualTo => compare(|l, r| l == r),
        Is::ArithmeticNotEqualTo => compare(|l, r| l != r),
        Is::ArithmeticLessThan => compare(|l, r| l < r),
        Is::ArithmeticLessThanOrEqualTo => compare(|l, r| l <= r),
        Is::ArithmeticGreaterThan => compare(|l, r| l > r),
        Is::ArithmeticGreaterThanOrEqualTo => compare(|l, r| l >= r),
        Is::LeftFileIsNewerOrExistsWhenRightDoesNot => changed(left) > changed(right),
        Is::LeftFileIsOlderOrDoesNotExistWhenRightDoes => changed(left) < changed(right),
        _ => false,
    }
}
