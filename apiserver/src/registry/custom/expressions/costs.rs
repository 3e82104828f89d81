//! What the rules of a definition may cost at most, before there is an object. Source:
//! `pkg/apis/apiextensions/validation/{validation,cel_validation}.go`.

use kubelab_api::field::{Errors, Path};

use super::{Rule, bound::REQUEST, environment};
use crate::cel::{Bound, Type};

/// What one expression may cost. Source: `StaticEstimatedCostLimit`.
const EXPRESSION: u64 = 10_000_000;
/// What the expressions of a schema may cost together. Source: `StaticEstimatedCRDCostLimit`.
const SCHEMA: u64 = 100_000_000;
/// So many of the most expensive are named.
const NAMED: usize = 4;

/// The costs so far.
pub struct Costs {
    /// The schema is not new, so that single expressions are not looked at.
    unchanged: bool,
    total: u64,
    /// The most expensive comes first.
    most: Vec<(Path, u64)>,
}

impl Costs {
    /// Nothing yet.
    pub fn new(unchanged: bool) -> Self {
        Self { unchanged, total: 0, most: Vec::new() }
    }

    /// One rule more, about values of this type and with this bound, of which there can be so many.
    pub fn add(&mut self, rule: &Rule, about: (&Type, &Bound), often: Option<u64>, path: &Path, errors: &mut Errors) {
        let Ok(program) = &rule.program else { return };
        let (environment, bound) = (environment(&rule.said, about.0), about.1);
        let often = often.unwrap_or(REQUEST / (bound.least_bytes + 1));
        let cost = program.most_expensive(&environment, bound).saturating_mul(often);
        self.observe(cost, "estimated rule cost", &path.child("rule"), errors);
        if let Some(message) = &rule.message {
            // A message is made once: no further rule runs after one that failed.
            let cost = message.most_expensive(&environment, bound);
            self.observe(cost, "estimated messageExpression cost", &path.child("messageExpression"), errors);
        }
    }

    fn observe(&mut self, cost: u64, what: &str, path: &Path, errors: &mut Errors) {
        if cost > EXPRESSION && !self.unchanged {
            errors.forbidden(path, &exceeds(what, cost, EXPRESSION));
        }
        self.total = self.total.saturating_add(cost);
        if cost >= SCHEMA / 100 {
            self.most.push((path.clone(), cost));
            self.most.sort_by_key(|(_, cost)| std::cmp::Reverse(*cost));
            self.most.truncate(NAMED);
        }
    }

    /// Whether all together cost too much. `path` is the schema's.
    pub fn end(self, path: &Path, errors: &mut Errors) {
        if self.total <= SCHEMA {
            return;
        }
        for (path, _) in &self.most {
            let detail = "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
            errors.forbidden(path, detail);
        }
        let what = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        errors.forbidden(path, &exceeds(what, self.total, SCHEMA));
    }
}

fn exceeds(what: &str, cost: u64, limit: u64) -> String {
    let factor = match cost as f64 / limit as f64 {
        factor if factor > 100.0 => "more than 100x".to_owned(),
        // Less would be told as 1.0 times.
        factor if factor < 1.5 => format!("{factor:.6}x"),
        factor => format!("{factor:.1}x"),
    };
    format!(
        "{what} exceeds budget by factor of {factor} (try simplifying the rule, or adding maxItems, maxProperties, and \
         maxLength where arrays, maps, and strings are declared)"
    )
}
