//! `$((1 + x))`

use brush_parser::{
    arithmetic,
    ast::{self, ArithmeticExpr as Math, BinaryOperator as Op},
};

use super::evaluate::Shell;

/// How deep expressions may lie in each other.
const MAX_DEPTH: usize = 64;

impl Shell {
    /// An arithmetic expression's value; `None` if it has none.
    pub fn calculate(&mut self, text: &str) -> Option<i64> {
        let expression = arithmetic::parse(text).ok()?;
        self.evaluate(&expression, 0)
    }

    fn evaluate(&mut self, expression: &Math, depth: usize) -> Option<i64> {
        if depth > MAX_DEPTH {
            return None;
        }
        let number = |shell: &Self, name: &str| shell.get(name).map_or(Some(0), |v| v.trim().parse().ok());
        let name_of = |target: &ast::ArithmeticTarget| match target {
            ast::ArithmeticTarget::Variable(name) => Some(name.clone()),
            ast::ArithmeticTarget::ArrayElement(..) => None,
        };
        match expression {
            Math::Literal(value) => Some(*value),
            Math::Reference(target) => number(self, &name_of(target)?),
            Math::UnaryOp(op, inner) => {
                let value = self.evaluate(inner, depth + 1)?;
                match op {
                    ast::UnaryOperator::UnaryPlus => Some(value),
                    ast::UnaryOperator::UnaryMinus => value.checked_neg(),
                    ast::UnaryOperator::BitwiseNot => Some(!value),
                    ast::UnaryOperator::LogicalNot => Some(i64::from(value == 0)),
                }
            }
            Math::BinaryOp(Op::LogicalAnd, a, b) => match self.evaluate(a, depth + 1)? {
                0 => Some(0),
                _ => Some(i64::from(self.evaluate(b, depth + 1)? != 0)),
            },
            Math::BinaryOp(Op::LogicalOr, a, b) => match self.evaluate(a, depth + 1)? {
                0 => Some(i64::from(self.evaluate(b, depth + 1)? != 0)),
                _ => Some(1),
            },
            Math::BinaryOp(op, a, b) => {
                let (a, b) = (self.evaluate(a, depth + 1)?, self.evaluate(b, depth + 1)?);
                binary(op, a, b)
            }
            Math::Conditional(condition, then, other) => {
                let chosen = if self.evaluate(condition, depth + 1)? != 0 { then } else { other };
                self.evaluate(chosen, depth + 1)
            }
            Math::Assignment(target, inner) => {
                let (name, value) = (name_of(target)?, self.evaluate(inner, depth + 1)?);
                self.set(&name, value.to_string());
                Some(value)
            }
            Math::BinaryAssignment(op, target, inner) => {
                let name = name_of(target)?;
                let value = binary(op, number(self, &name)?, self.evaluate(inner, depth + 1)?)?;
                self.set(&name, value.to_string());
                Some(value)
            }
            Math::UnaryAssignment(op, target) => {
                use ast::UnaryAssignmentOperator as Assign;
                let name = name_of(target)?;
                let before = number(self, &name)?;
                let (after, shown_after) = match op {
                    Assign::PrefixIncrement => (before.checked_add(1)?, true),
                    Assign::PrefixDecrement => (before.checked_sub(1)?, true),
                    Assign::PostfixIncrement => (before.checked_add(1)?, false),
                    Assign::PostfixDecrement => (before.checked_sub(1)?, false),
                };
                self.set(&name, after.to_string());
                Some(if shown_after { after } else { before })
            }
        }
    }
}

fn binary(op: &Op, a: i64, b: i64) -> Option<i64> {
    Some(match op {
        Op::Power => a.checked_pow(u32::try_from(b).ok()?)?,
        Op::Multiply => a.wrapping_mul(b),
        Op::Divide => a.checked_div(b)?,
        Op::Modulo => a.checked_rem(b)?,
        Op::Comma => b,
        Op::Add => a.wrapping_add(b),
        Op::Subtract => a.wrapping_sub(b),
        Op::ShiftLeft => a.wrapping_shl(u32::try_from(b).ok()?),
        Op::ShiftRight => a.wrapping_shr(u32::try_from(b).ok()?),
        Op::LessThan => i64::from(a < b),
        Op::LessThanOrEqualTo => i64::from(a <= b),
        Op::GreaterThan => i64::from(a > b),
        Op::GreaterThanOrEqualTo => i64::from(a >= b),
        Op::Equals => i64::from(a == b),
        Op::NotEquals => i64::from(a != b),
        Op::BitwiseAnd => a & b,
        Op::BitwiseXor => a ^ b,
        Op::BitwiseOr => a | b,
        Op::LogicalAnd => i64::from(a != 0 && b != 0),
        Op::LogicalOr => i64::from(a != 0 || b != 0),
    })
}
