//! What a container uses of its node over its life: CPU in nanocores, memory in bytes.
//!
//! `200m` is a constant; `0s:10Mi,30s:200Mi` is a curve of points (time since the start, amount) with straight lines between
//! them, level before the first and after the last.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
use kubelab_api::Quantity;
use serde::{Deserialize, Serialize};

use crate::duration;

/// The most points of a curve.
const MAX_POINTS: usize = 100;

/// An amount over time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Curve(Vec<(Duration, u64)>);

/// What amounts are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// CPU.
    Nanocores,
    /// Memory.
    Bytes,
}

impl Unit {
    /// An amount in this unit; `None` if it is negative.
    pub fn amount(self, quantity: Quantity) -> Option<u64> {
        let scale = if self == Self::Nanocores { 1e9 } else { 1.0 };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // a saturating cast is what is wanted
        (quantity.signum() >= 0).then(|| (quantity.as_f64() * scale).round() as u64)
    }
}

impl Curve {
    /// The same at all times.
    pub fn constant(amount: u64) -> Self {
        Self(vec![(Duration::ZERO, amount)])
    }

    /// From one amount to another, and then no more.
    pub fn rising(from: u64, to: u64, within: Duration) -> Self {
        Self(vec![(Duration::ZERO, from), (within, to)])
    }

    /// Reads a constant or a curve whose times do not go back.
    pub fn parse(text: &str, unit: Unit) -> Option<Self> {
        let amount = |text: &str| unit.amount(text.trim().parse().ok()?);
        if !text.contains(':') {
            return amount(text).map(Self::constant);
        }
        let point = |point: &str| {
            let (at, value) = point.split_once(':')?;
            Some((duration::parse(at.trim())?, amount(value)?))
        };
        let points = text.split(',').map(point).collect::<Option<Vec<_>>>()?;
        (points.len() <= MAX_POINTS && points.is_sorted_by_key(|(at, _)| *at)).then_some(Self(points))
    }

    /// The amount after so long.
    pub fn at(&self, uptime: Duration) -> u64 {
        let after = self.0.partition_point(|(at, _)| *at <= uptime);
        match (after.checked_sub(1).map(|before| self.0[before]), self.0.get(after)) {
            (Some((from, low)), Some((to, high))) => {
                let part = (uptime - from).as_secs_f64() / (*to - from).as_secs_f64();
                between(low, *high, part)
            }
            (Some((_, amount)), None) | (None, Some(&(_, amount))) => amount,
            (None, None) => 0,
        }
    }

    /// When it first is above a limit.
    pub fn first_above(&self, limit: u64) -> Option<Duration> {
        let (_, first) = self.0.first()?;
        if *first > limit {
            return Some(Duration::ZERO);
        }
        let mut pairs = self.0.iter().zip(self.0.iter().skip(1));
        let ((from, low), (to, high)) = pairs.find(|(_, (_, high))| *high > limit)?;
        #[allow(clippy::cast_precision_loss)] // a moment more or less
        let part = (limit - low) as f64 / (high - low) as f64;
        Some(*from + (*to - *from).mul_f64(part))
    }
}

#[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // amounts are estimates
fn between(low: u64, high: u64, part: f64) -> u64 {
    (low as f64 + (high as f64 - low as f64) * part).round() as u64
}

/// What a container uses, and how much it may.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Nanocores.
    pub cpu: Curve,
    /// Bytes.
    pub memory: Curve,
    /// Nanocores: it is slowed down to that.
    pub cpu_limit: Option<u64>,
    /// Bytes: past that it is killed.
    pub memory_limit: Option<u64>,
}

impl Usage {
    /// What a program takes without more being said: it stays well below its limits.
    pub fn of(container: &Container, nanocores: u64, bytes: u64) -> Self {
        let limits = container.resources.as_ref().and_then(|resources| resources.limits.as_ref());
        let limit = |name: &str, unit: Unit| {
            let amount = limits.and_then(|limits| limits.get(name)).and_then(|text| text.0.parse().ok());
            amount.and_then(|amount| unit.amount(amount)).filter(|limit| *limit > 0)
        };
        let (cpu_limit, memory_limit) = (limit("cpu", Unit::Nanocores), limit("memory", Unit::Bytes));
        Self {
            cpu: Curve::constant(nanocores),
            memory: Curve::constant(memory_limit.map_or(bytes, |limit| bytes.min(limit / 2))),
            cpu_limit,
            memory_limit,
        }
    }

    /// Nanocores and bytes after so long.
    pub fn at(&self, uptime: Duration) -> (u64, u64) {
        (self.cpu.at(uptime).min(self.cpu_limit.unwrap_or(u64::MAX)), self.memory.at(uptime))
    }

    /// When the kernel kills it because it needs more memory than it may have.
    pub fn out_of_memory(&self) -> Option<Duration> {
        self.memory.first_above(self.memory_limit?)
    }
}

impl Default for Usage {
    fn default() -> Self {
        Self { cpu: Curve::constant(0), memory: Curve::constant(0), cpu_limit: None, memory_limit: None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_curve_goes_straight_from_point_to_point() {
        let curve = Curve::parse("10s:100,20s:200,20s:0", Unit::Bytes).unwrap();
        for (second, amount) in [(0, 100), (10, 100), (15, 150), (19, 190), (20, 0), (99, 0)] {
            assert_eq!(curve.at(Duration::from_secs(second)), amount, "{second}");
        }
    }

    #[test]
    fn it_is_known_when_a_limit_is_passed() {
        let second = Duration::from_secs;
        for (curve, limit, expected) in [
            ("10Mi", 10 << 20, None),
            ("11Mi", 10 << 20, Some(second(0))),
            ("0s:0,30s:300", 100, Some(second(10))),
            ("0s:0,30s:300", 300, None),
            ("0s:0,5s:0,5s:300", 100, Some(second(5))),
        ] {
            assert_eq!(Curve::parse(curve, Unit::Bytes).unwrap().first_above(limit), expected, "{curve} {limit}");
        }
    }

    #[test]
    fn amounts_are_quantities() {
        for (text, unit, expected) in [
            ("250m", Unit::Nanocores, Some(250_000_000)),
            ("1.5", Unit::Nanocores, Some(1_500_000_000)),
            ("1Ki", Unit::Bytes, Some(1024)),
            ("-1", Unit::Bytes, None),
            ("5s:1,1s:2", Unit::Bytes, None),
            ("soon:1", Unit::Bytes, None),
            ("", Unit::Bytes, None),
        ] {
            assert_eq!(Curve::parse(text, unit).map(|curve| curve.at(Duration::ZERO)), expected, "{text:?}");
        }
    }
}
