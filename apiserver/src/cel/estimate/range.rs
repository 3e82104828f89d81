//! From least to most: of sizes and of costs. Source: `SizeEstimate` and `CostEstimate` in cel-go's `checker/cost.go`.

/// What something is at least and at most. Past the largest number it stays there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Range {
    pub min: u64,
    pub max: u64,
}

/// A tenth, as text is counted. Source: `common.StringTraversalCostFactor`.
pub const TENTH: f64 = 0.1;

impl Range {
    /// Nothing is known of it.
    pub const UNKNOWN: Self = Self { min: 0, max: u64::MAX };

    /// Exactly so much.
    pub const fn of(value: u64) -> Self {
        Self { min: value, max: value }
    }

    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    #[must_use]
    pub fn times(self, other: Self) -> Self {
        Self { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// A share of it, or a multiple, rounded up.
    #[must_use]
    pub fn by(self, factor: f64) -> Self {
        // A cast from a number that is too large gives the largest.
        let scaled = |value: u64| (value as f64 * factor).ceil() as u64;
        Self { min: scaled(self.min), max: scaled(self.max) }
    }

    /// One or the other.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { min: self.min.min(other.min), max: self.max.max(other.max) }
    }
}
