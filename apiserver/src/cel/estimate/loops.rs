//! What macros cost: loops over lists and maps, and a look into an optional value.

use std::sync::Arc;

use super::{
    Entries, Estimator, LIST, Local, MAP, NONE, ONE, Part, Place, Step, made,
    range::{Range, TENTH},
};
use crate::cel::{
    ast::{Comprehension, Fold},
    kinds::Type,
};

impl<'a> Estimator<'a> {
    /// A loop costs as much as the macro that it is written as. Source: cel-go's `parser/macro.go`.
    pub fn comprehension(&mut self, c: &Comprehension) -> Part<'a> {
        let range = self.part(&c.range);
        let before = self.locals.len();
        let found = match c.fold {
            Fold::OptMap | Fold::OptFlatMap => self.of_optional(c, &range),
            _ => self.folded(c, &range),
        };
        self.locals.truncate(before);
        found
    }

    /// `a.hasValue() ? optional.of(cel.bind(v, a.value(), f)) : optional.none()`
    fn of_optional(&mut self, c: &Comprehension, range: &Part<'a>) -> Part<'a> {
        let kind = if let Type::Optional(of) = &range.kind { (**of).clone() } else { Type::Dyn };
        let size = Self::sized(Place::Nowhere, &kind);
        self.locals.push(Local { name: Arc::clone(&c.variable), kind, place: Place::Nowhere, size });
        let step = self.part(&c.step);
        let asked = range.cost.plus(ONE);
        let mut yes = LIST.plus(asked).plus(step.cost);
        let mut kind = step.kind.clone();
        if c.fold == Fold::OptMap {
            yes = yes.plus(ONE);
            kind = Type::optional(kind);
        }
        Part { size: Some(Range::UNKNOWN), ..made(asked.plus(yes.or(ONE)), kind) }
    }

    fn folded(&mut self, c: &Comprehension, range: &Part<'a>) -> Part<'a> {
        let (first, second) = match &range.kind {
            Type::List(element, _) => (Type::Int, (**element).clone()),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            _ => (Type::Dyn, Type::Dyn),
        };
        let list = range.entries.map_or(matches!(range.kind, Type::List(..)), |entries| entries.list);
        let key_place = if list { Place::Lost } else { self.below(range.place, Step::Keys) };
        let key = Local {
            name: Arc::clone(&c.variable),
            kind: first,
            place: key_place,
            size: range.entries.map(|entries| entries.key),
        };
        let value = Local {
            name: Arc::clone(c.second.as_ref().unwrap_or(&c.variable)),
            kind: second.clone(),
            place: self.below(range.place, Step::Values),
            size: range.entries.map(|entries| entries.value),
        };
        let key_kind = key.kind.clone();
        match (&c.second, list) {
            (Some(_), _) => self.locals.extend([key, value]),
            (None, true) => self.locals.push(value),
            (None, false) => self.locals.push(key),
        }
        let filter = c.filter.as_ref().map(|filter| self.part(filter).cost);
        let step = self.part(&c.step);
        let element = if list { second } else { key_kind.clone() };
        // What the macro begins with, what a round costs, and what is looked at in the end.
        let (begin, round, end) = match c.fold {
            Fold::All => (NONE, condition(step.cost).plus(Range::of(2)), ONE),
            Fold::Exists => (NONE, condition(step.cost).plus(Range::of(3)), ONE),
            Fold::ExistsOne => (NONE, step.cost.plus(Range { min: 1, max: 2 }), Range::of(2)),
            Fold::Filter => (LIST, step.cost.plus(Range { min: 1, max: 13 }), ONE),
            Fold::List | Fold::SortBy => (LIST, filtered(step.cost.plus(Range::of(12)), filter), ONE),
            Fold::TransformMap => (MAP, filtered(step.cost.plus(Range::of(3)), filter), ONE),
            Fold::TransformMapEntry => (MAP, filtered(step.cost.plus(Range::of(2)), filter), ONE),
            Fold::OptMap | Fold::OptFlatMap => (NONE, NONE, NONE),
        };
        let mut cost = range.cost.plus(begin).plus(end).plus(range.size().times(round));
        let kind = match c.fold {
            Fold::All | Fold::Exists | Fold::ExistsOne => return made(cost, Type::Bool),
            Fold::List => Type::list(step.kind.clone()),
            Fold::TransformMap => Type::map(key_kind, step.kind.clone()),
            Fold::TransformMapEntry => step.kind.clone(),
            _ => Type::list(element),
        };
        if c.fold == Fold::SortBy {
            // `cel.bind(input, a, input.@sortByAssociatedKeys(input.map(…)))`
            let factor = if matches!(step.kind, Type::String | Type::Bytes) { 2.0 + TENTH } else { 2.0 };
            cost = cost.plus(range.size().times(range.size()).by(factor)).plus(LIST).plus(LIST).plus(Range::of(3));
        }
        let value = match c.fold {
            Fold::List => step.size(),
            Fold::Filter => self.locals.last().and_then(Local::size).unwrap_or(Range::UNKNOWN),
            _ => Range::UNKNOWN,
        };
        let entries = matches!(c.fold, Fold::List | Fold::Filter).then(|| Entries {
            list: true,
            key: ONE,
            value: Range { min: 0, ..value },
        });
        Part { size: Some(range.size()), entries, ..made(cost, kind) }
    }
}

/// A round of `all` or `exists`: what was found so far decides alone, or with this one.
fn condition(step: Range) -> Range {
    Range { min: 1, max: step.max.saturating_add(1) }
}

/// A round of a loop that takes in what a filter lets through.
fn filtered(round: Range, filter: Option<Range>) -> Range {
    filter.map_or(round, |filter| filter.plus(round.or(ONE)))
}
