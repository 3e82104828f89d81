//! Amounts of CPU, memory and the like: `100m`, `1.5Gi`, `2e3`. Source: `k8s.io/apimachinery/pkg/api/resource`.
//!
//! An amount is an exact whole number of nano-units; what is finer rounds away from zero.
//!
//! ```
//! use kubelab_api::Quantity;
//!
//! let memory: Quantity = "1.5Gi".parse()?;
//! assert_eq!(memory.to_string(), "1536Mi");
//! assert_eq!(memory.value(), 1_610_612_736);
//! # Ok::<(), kubelab_api::quantity::Error>(())
//! ```
//!
//! Unlike upstream, an amount may not be greater than 1.7e29.

mod parse;

use std::{
    cmp::Ordering,
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

const NANO: i128 = 1_000_000_000;
const MILLI: i128 = 1_000_000;

const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
const BINARY: [(&str, u32); 6] = [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];

/// Why a text is no quantity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It does not look like a number with a suffix.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Format,
    /// The number is too large.
    #[error("unable to parse numeric part of quantity")]
    Number,
    /// There is no such suffix.
    #[error("unable to parse quantity's suffix")]
    Suffix,
}

/// How an amount is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `12M`
    #[default]
    DecimalSi,
    /// `12Mi`
    BinarySi,
    /// `12e6`
    DecimalExponent,
}

/// An amount, and how to write it. Amounts compare by what they are worth, not by how they are written.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

impl Quantity {
    /// None at all.
    pub const ZERO: Self = Self { nanos: 0, format: Format::DecimalSi };

    /// A whole number.
    pub fn new(value: i64, format: Format) -> Self {
        Self { nanos: i128::from(value) * NANO, format }
    }

    /// A number of thousandths: CPUs.
    pub fn from_millis(millis: i64) -> Self {
        Self { nanos: i128::from(millis) * MILLI, format: Format::DecimalSi }
    }

    /// A number of bytes, written with binary suffixes.
    pub fn from_bytes(bytes: i64) -> Self {
        Self::new(bytes, Format::BinarySi)
    }

    /// How it is written.
    pub fn format(self) -> Format {
        self.format
    }

    /// The whole number, rounded away from zero.
    pub fn value(self) -> i64 {
        saturate(divide_away_from_zero(self.nanos, NANO))
    }

    /// The number of thousandths, rounded away from zero.
    pub fn milli_value(self) -> i64 {
        saturate(divide_away_from_zero(self.nanos, MILLI))
    }

    /// For shares and percentages.
    pub fn as_f64(self) -> f64 {
        self.nanos as f64 / NANO as f64
    }

    /// It is nothing.
    pub fn is_zero(self) -> bool {
        self.nanos == 0
    }

    /// It is a whole number.
    pub fn is_integer(self) -> bool {
        self.nanos % NANO == 0
    }

    /// -1, 0 or 1.
    pub fn signum(self) -> i32 {
        self.nanos.signum() as i32
    }

    /// As often as `factor` says.
    #[must_use]
    pub fn times(self, factor: i64) -> Self {
        Self { nanos: self.nanos.saturating_mul(i128::from(factor)), ..self }
    }

    fn written_with(self, other: Self) -> Format {
        if self.is_zero() { other.format } else { self.format }
    }

    fn fmt_decimal(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut mantissa, mut exponent) = (self.nanos, -9);
        let highest = if self.format == Format::DecimalExponent { i32::MAX } else { 18 };
        while mantissa % 1000 == 0 && exponent < highest {
            mantissa /= 1000;
            exponent += 3;
        }
        match self.format {
            Format::DecimalExponent if exponent == 0 => write!(f, "{mantissa}"),
            Format::DecimalExponent => write!(f, "{mantissa}e{exponent}"),
            _ => {
                let suffix = DECIMAL.iter().find(|(_, e)| *e == exponent).map_or("", |(suffix, _)| suffix);
                write!(f, "{mantissa}{suffix}")
            }
        }
    }

    fn fmt_binary(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut mantissa = self.nanos / NANO;
        let mut suffixes = BINARY.iter();
        let mut suffix = "";
        while mantissa % 1024 == 0
            && let Some((larger, _)) = suffixes.next()
        {
            mantissa /= 1024;
            suffix = larger;
        }
        write!(f, "{mantissa}{suffix}")
    }
}

fn divide_away_from_zero(nanos: i128, unit: i128) -> i128 {
    let quotient = nanos / unit;
    if nanos % unit == 0 { quotient } else { quotient + nanos.signum() }
}

fn saturate(value: i128) -> i64 {
    value.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// The canonical form: no fraction, no lost precision, the largest suffix.
impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let small = self.nanos.abs() < 1024 * NANO;
        match self.format {
            _ if self.is_zero() => f.write_str("0"),
            // Small or fractional amounts have no exact binary form.
            Format::BinarySi if small || !self.is_integer() => {
                Self { format: Format::DecimalSi, ..*self }.fmt_decimal(f)
            }
            Format::BinarySi => self.fmt_binary(f),
            Format::DecimalSi | Format::DecimalExponent => self.fmt_decimal(f),
        }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

/// The sum is written as the first summand that is not zero.
impl Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_add(other.nanos), format: self.written_with(other) }
    }
}

impl Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_sub(other.nanos), format: self.written_with(other) }
    }
}

impl AddAssign for Quantity {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl SubAssign for Quantity {
    fn sub_assign(&mut self, other: Self) {
        *self = *self - other;
    }
}

impl Neg for Quantity {
    type Output = Self;

    fn neg(self) -> Self {
        Self { nanos: self.nanos.saturating_neg(), ..self }
    }
}

impl Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(quantities: I) -> Self {
        quantities.fold(Self::ZERO, Add::add)
    }
}

impl TryFrom<&Text> for Quantity {
    type Error = Error;

    fn try_from(text: &Text) -> Result<Self, Error> {
        text.0.trim().parse()
    }
}

impl From<Quantity> for Text {
    fn from(quantity: Quantity) -> Self {
        Self(quantity.to_string())
    }
}

#[cfg(test)]
mod tests;
