//! What a call costs at most, without its arguments. Source: `functionCost` in cel-go's `checker/cost.go`, the estimators of
//! its `ext/lists.go` and `ext/sets.go`, and `EstimateCallCost` in `k8s.io/apiserver/pkg/cel/library/cost.go`.

use super::{
    Estimator, Part,
    range::{Range, TENTH},
};
use crate::cel::{
    ast::{Expr, Node},
    kinds::Type,
    value::Value,
};

/// A question to the authorizer.
const CHECK: u64 = 350_000;
/// What a list costs to make. Source: `common.ListCreateBaseCost`.
const LIST: u64 = 10;
/// A pattern's length, as states of its machine. Source: `common.RegexStringLengthCostFactor`.
const PATTERN: f64 = 0.25;
/// The longest pattern of a named format. Source: `MaxNameFormatRegexSize`.
const FORMAT: f64 = 128.0;

/// The call, and how large what it makes is, where it says so.
type Found = (Range, Option<Range>);

/// A call as the estimator sees it.
pub struct Call<'a, 'b> {
    pub function: &'a str,
    /// The types that the signature wants.
    pub wanted: &'a [Type],
    pub target: Option<&'a Part<'b>>,
    pub args: &'a [Part<'b>],
    /// The arguments as they are written.
    pub written: &'a [Expr],
}

impl Call<'_, '_> {
    fn literal(&self, index: usize) -> Option<u64> {
        match self.written.get(index)?.node {
            Node::Literal(Value::Int(value)) => u64::try_from(value).ok(),
            _ => None,
        }
    }

    fn size(&self, index: usize) -> Range {
        self.args.get(index).map_or(Range::UNKNOWN, Part::size)
    }
}

/// The estimate for one signature.
pub fn estimate(estimator: &Estimator<'_>, call: &Call<'_, '_>) -> Found {
    of_lists(call).or_else(|| of_libraries(estimator, call)).unwrap_or_else(|| standard(call))
}

/// A list that a call makes.
fn made(factor: f64, size: Range) -> Option<Found> {
    Some((size.by(factor).plus(Range::of(1 + LIST)), Some(size)))
}

fn of_lists(call: &Call<'_, '_>) -> Option<Found> {
    let target = call.target.map(Part::size);
    match (call.function, target) {
        ("slice", Some(size)) => {
            let (from, to) = (call.literal(0).unwrap_or_default(), call.literal(1).unwrap_or(size.max));
            made(1.0, Range::of(to.saturating_sub(from)))
        }
        ("lists.range", None) => made(1.0, Range::of(call.literal(0).unwrap_or(u64::MAX))),
        ("reverse", Some(size)) => made(1.0, size),
        ("flatten", Some(size)) => {
            let depth = if call.args.is_empty() { 1 } else { call.literal(0).unwrap_or(u64::MAX) };
            made(depth as f64, size)
        }
        ("distinct", Some(size)) => made(2.0, size.times(size)),
        ("sort", Some(size)) => made(sorting(call.target), size.times(size)),
        ("sets.contains" | "sets.intersects", None) => {
            Some((call.size(0).times(call.size(1)).plus(Range::of(1)), None))
        }
        ("sets.equivalent", None) => Some((call.size(0).times(call.size(1)).by(2.0).plus(Range::of(1)), None)),
        _ => None,
    }
}

/// Two comparisons for each pair; of texts, a tenth more.
fn sorting(list: Option<&Part<'_>>) -> f64 {
    match list.map(|list| &list.kind) {
        Some(Type::List(element, _)) if matches!(**element, Type::String | Type::Bytes) => 2.0 + TENTH,
        _ => 2.0,
    }
}

fn of_libraries(estimator: &Estimator<'_>, call: &Call<'_, '_>) -> Option<Found> {
    let target = call.target.map(Part::size);
    let read = |index: usize, factor: f64| {
        let size = call.args.get(index)?.size();
        Some((size.by(factor * TENTH), None))
    };
    match call.function {
        "check" => Some((Range::of(CHECK), None)),
        "fieldSelector" | "labelSelector" => {
            let size = call.size(0);
            // Two characters are a requirement: a list and an object each.
            let requirements = size.by(0.5).by((LIST + 40) as f64);
            Some((Range::of(LIST).plus(size.by(TENTH)).plus(requirements), None))
        }
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" | "includes" => {
            let (part, size) = (call.target?, target?);
            Some(match (estimator.element(part), call.function) {
                (Some((Type::String | Type::Bytes, element)), _) => {
                    (size.times(element.by(TENTH).plus(Range::of(1))), None)
                }
                (Some(_), _) | (None, "includes") => (size, None),
                (None, _) => (size.by(TENTH), None),
            })
        }
        "url" | "jsonpatch.escapeKey" => Some((call.size(0).by(TENTH), Some(call.size(0)))),
        "lowerAscii" | "upperAscii" | "substring" | "trim" => target.map(|size| (size.by(TENTH), Some(size))),
        "replace" => target.map(|size| (size.by(2.0 * TENTH), Some(replaced(size, call.size(0), call.size(1))))),
        "split" => target.map(|size| {
            let max = call.literal(1).unwrap_or(size.max);
            (size.by(2.0 * TENTH), Some(Range { min: 0, max }))
        }),
        "join" => {
            let (part, size) = (call.target?, target?);
            let text = estimator.element(part).map_or(Range::default(), |(_, element)| size.times(element));
            let between = Range { min: size.min.saturating_sub(1), max: size.max.saturating_sub(1) };
            let text = call.args.first().map_or(text, |by| text.plus(by.size().times(between)));
            Some((text.by(TENTH), Some(text)))
        }
        "find" | "findAll" => target.map(|size| (searched(size, call.size(0)), Some(Range { min: 0, max: size.max }))),
        "ip" if call.target.is_some() => Some((Range::of(1), None)),
        "ip" | "cidr" | "isIP" | "isCIDR" | "quantity" | "isQuantity" | "semver" | "isSemver" => read(0, 1.0),
        "ip.isCanonical" => read(0, 2.0),
        "containsIP" | "containsCIDR" => {
            let address = Range { min: 4, max: 16 };
            let mut cost = address.plus(address).by(TENTH);
            if call.function == "containsCIDR" {
                cost = cost.plus(address.by(TENTH)).plus(Range::of(1));
            }
            if call.wanted.get(1) == Some(&Type::String) {
                cost = cost.plus(call.size(0).by(TENTH));
            }
            Some((cost, None))
        }
        "validate" => Some((call.size(0).by(TENTH).by(FORMAT * PATTERN), None)),
        "_==_" => same(call.args),
        _ => None,
    }
}

/// Values of Kubernetes' libraries are compared at once.
fn same(args: &[Part<'_>]) -> Option<Found> {
    let [Part { kind: Type::Named(a), .. }, Part { kind: Type::Named(b), size, .. }] = args else { return None };
    if a != b {
        return None;
    }
    match &**a {
        "kubernetes.NamedFormat" => Some((Range { min: 1, max: 7 }, None)),
        "kubernetes.URL" => Some((Range { min: 1, max: size.map_or(1, |size| size.max) }.by(TENTH), None)),
        _ => Some((Range::of(1), None)),
    }
}

/// A text with one part of it in the place of another.
fn replaced(text: Range, from: Range, to: Range) -> Range {
    let (mut count, mut kept) = (Range::default(), Range::default());
    if from.min == 0 {
        // Nothing stands around each character.
        (count.max, kept.max) = (text.max.saturating_add(1), text.max);
    } else if to.max <= from.min {
        kept.max = text.max;
    } else {
        count.max = text.max.div_ceil(from.min);
    }
    if from.max == 0 {
        (count.min, kept.min) = (text.min.saturating_add(1), text.min);
    } else if from.max <= to.min {
        kept.min = text.min;
    } else {
        count.min = text.min.div_ceil(from.max);
    }
    count.times(to).plus(kept)
}

/// A pattern, looked for in a text.
fn searched(text: Range, pattern: Range) -> Range {
    text.plus(Range::of(1)).by(TENTH).times(pattern.by(PATTERN))
}

fn standard(call: &Call<'_, '_>) -> Found {
    let text = matches!(call.wanted.first(), Some(Type::String | Type::Bytes));
    let target = call.target.map(Part::size);
    match (call.function, target) {
        ("format", Some(size)) => (size.by(TENTH), None),
        ("bytes", _) if text => {
            let size = call.size(0);
            (size.by(TENTH), Some(Range { min: size.min, max: size.max.saturating_mul(4) }))
        }
        ("string", _) if call.wanted.first() == Some(&Type::Bytes) => {
            let size = call.size(0);
            (size.by(TENTH), Some(Range { min: size.min / 4, max: size.max }))
        }
        ("strings.quote", _) => {
            let size = call.size(0);
            (size.by(TENTH), Some(size.or(size.by(2.0)).plus(Range::of(2))))
        }
        ("startsWith" | "endsWith", _) => (call.size(0).by(TENTH), None),
        ("@in", _) if matches!(call.wanted.get(1), Some(Type::List(..))) => (call.size(1), None),
        ("matches", Some(size)) => (searched(size, call.size(0)), None),
        ("contains", Some(size)) => (size.by(TENTH).times(call.size(0).by(TENTH)), None),
        ("_+_", _) if text => {
            let size = call.size(0).plus(call.size(1));
            (size.by(TENTH), Some(size))
        }
        ("_+_", _) if matches!(call.wanted.first(), Some(Type::List(..))) => {
            (Range::of(1), Some(call.size(0).plus(call.size(1))))
        }
        ("_==_" | "_!=_", _) => compared(call),
        ("_<_" | "_<=_" | "_>_" | "_>=_", _) if text => compared(call),
        _ => (Range::of(1), None),
    }
}

/// As far as the shorter of two reaches.
fn compared(call: &Call<'_, '_>) -> Found {
    let max = call.size(0).max.min(call.size(1).max);
    (Range { min: u64::from(max > 0), max }.by(TENTH), None)
}
