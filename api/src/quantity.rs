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

use std::{
    cmp::Ordering,
    fmt,
    iter::Sum,
    ops::{Add, AddAssign, Neg, Sub, SubAssign},
    str::FromStr,
};

use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

const NANO: i128 = 1_000_000_000;
const MILLI: i128 = 1_000_000;
const LARGEST_BINARY: i128 = i64::MAX as i128 * NANO;

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

impl FromStr for Quantity {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let (negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if whole.len() + fraction.len() == 0 || fraction.contains('.') || !looks_like_suffix(suffix) {
            return Err(Error::Format);
        }
        let (scale, format) = interpret(suffix)?;
        let nanos = match scale {
            Scale::Ten(exponent) => decimal(whole, fraction, exponent.saturating_add(9)).ok_or(Error::Number)?,
            Scale::Two(exponent) => binary(whole, fraction, exponent).ok_or(Error::Number)?.min(LARGEST_BINARY),
        };
        let format = if format == Format::BinarySi && nanos < NANO && nanos > 0 { Format::DecimalSi } else { format };
        Ok(Self { nanos: if negative { -nanos } else { nanos }, format })
    }
}

enum Scale {
    Ten(i32),
    Two(u32),
}

/// `[eEinumkKMGTP]*[-+]?[0-9]*`
fn looks_like_suffix(suffix: &str) -> bool {
    let rest = suffix.trim_start_matches(|c| "eEinumkKMGTP".contains(c));
    let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
    rest.bytes().all(|byte| byte.is_ascii_digit())
}

fn interpret(suffix: &str) -> Result<(Scale, Format), Error> {
    if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Ok((Scale::Ten(*exponent), Format::DecimalSi));
    }
    if let Some((_, exponent)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Ok((Scale::Two(*exponent), Format::BinarySi));
    }
    let exponent = suffix.strip_prefix(['e', 'E']).and_then(|exponent| exponent.parse().ok()).ok_or(Error::Suffix)?;
    Ok((Scale::Ten(exponent), Format::DecimalExponent))
}

/// The digits as one number, shifted by `shift` decimal places; what falls off the end rounds up.
fn decimal(whole: &str, fraction: &str, shift: i32) -> Option<i128> {
    let point = i64::try_from(whole.len()).ok()? + i64::from(shift);
    let (mut number, mut remainder) = (0_i128, false);
    for (place, digit) in (0_i64..).zip(whole.bytes().chain(fraction.bytes())) {
        let digit = i128::from(digit - b'0');
        if place < point {
            number = number.checked_mul(10)?.checked_add(digit)?;
        } else {
            remainder |= digit != 0;
        }
    }
    let missing = point - i64::try_from(whole.len() + fraction.len()).ok()?;
    if number != 0 {
        for _ in 0..missing {
            number = number.checked_mul(10)?;
        }
    }
    number.checked_add(i128::from(remainder))
}

/// Nano-units of the number times 2^`exponent`. Upstream caps what is too large.
fn binary(whole: &str, fraction: &str, exponent: u32) -> Option<i128> {
    let whole = whole.bytes().try_fold(0_i128, |n, digit| n.checked_mul(10)?.checked_add(i128::from(digit - b'0')));
    let Some(whole) = whole.and_then(|whole| whole.checked_mul(1 << exponent)?.checked_mul(NANO)) else {
        return Some(LARGEST_BINARY);
    };
    // 2^60 nano-units of 1e-19 are less than one: further digits only matter for being there.
    let (near, far) = fraction.split_at(fraction.len().min(19));
    let scaled = decimal("", near, i32::try_from(near.len()).ok()?)?;
    let unit = 10_i128.pow(u32::try_from(near.len()).ok()?);
    let factor = 1_i128 << exponent;
    // (scaled × factor × NANO) / unit, in two steps, since the product does not fit.
    let high = scaled * factor;
    let nanos = high / unit * NANO;
    let low = high % unit * NANO;
    let rounded =
        divide_away_from_zero(low, unit) + i128::from(low % unit == 0 && far.bytes().any(|digit| digit != b'0'));
    whole.checked_add(nanos)?.checked_add(rounded)
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
mod tests {
    #![allow(clippy::unwrap_used)]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quantities_print_canonically() {
        for (text, canonical) in [
            ("0", "0"),
            ("-0", "0"),
            ("0Ki", "0"),
            ("1", "1"),
            ("+1", "1"),
            ("01", "1"),
            ("1.", "1"),
            (".5", "500m"),
            ("1.5", "1500m"),
            ("1000m", "1"),
            ("1000", "1k"),
            ("1500", "1500"),
            ("100k", "100k"),
            ("1000k", "1M"),
            ("0.1m", "100u"),
            ("1n", "1n"),
            ("0.1n", "1n"),
            ("-0.1n", "-1n"),
            ("1.0000000001", "1000000001n"),
            ("1E", "1E"),
            ("1000E", "1000E"),
            ("1e3", "1e3"),
            ("1E3", "1e3"),
            ("100e1", "1e3"),
            ("1.5e3", "1500"),
            ("1e-3", "1e-3"),
            ("12e6", "12e6"),
            ("1Ki", "1Ki"),
            ("1024Ki", "1Mi"),
            ("1536Mi", "1536Mi"),
            ("1.5Gi", "1536Mi"),
            ("0.5Ki", "512"),
            ("0.001Ki", "1024m"),
            ("0.0001Ki", "102400u"),
            ("1000Ki", "1000Ki"),
            ("1023Ki", "1023Ki"),
            ("-4Mi", "-4Mi"),
            ("1048576Ei", "9223372036854775807"),
            ("1.1Ei", "1268213655067531673600m"),
        ] {
            let quantity: Quantity = text.parse().unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(quantity.to_string(), canonical, "{text:?}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for (text, why) in [
            ("", Error::Format),
            ("-", Error::Format),
            (".", Error::Format),
            ("1.1.1", Error::Format),
            ("1 Gi", Error::Format),
            ("1Gi ", Error::Format),
            ("aoeu", Error::Format),
            ("1+1.0M", Error::Format),
            ("é", Error::Format),
            ("1i", Error::Suffix),
            ("1mi", Error::Suffix),
            ("1ee3", Error::Suffix),
            ("3.01e-", Error::Suffix),
            ("1KM", Error::Suffix),
            ("1e40", Error::Number),
            ("1e99999999999", Error::Suffix),
        ] {
            assert_eq!(text.parse::<Quantity>(), Err(why), "{text:?}");
        }
        assert_eq!("0e2147483647".parse(), Ok(Quantity::ZERO));
    }

    #[test]
    fn values_round_away_from_zero() {
        for (text, value, millis) in [
            ("100m", 1, 100),
            ("-100m", -1, -100),
            ("1.5", 2, 1500),
            ("1n", 1, 1),
            ("2Ki", 2048, 2_048_000),
            ("1E", 1_000_000_000_000_000_000, i64::MAX),
        ] {
            let quantity: Quantity = text.parse().unwrap();
            assert_eq!((quantity.value(), quantity.milli_value()), (value, millis), "{text}");
        }
    }

    #[test]
    fn sums_are_written_as_their_first_summand() {
        let parse = |text: &str| text.parse::<Quantity>().unwrap();
        for (a, b, sum, difference) in [
            ("1Gi", "1G", "2073741824", "73741824"),
            ("0", "1Gi", "1Gi", "-1Gi"),
            ("100m", "900m", "1", "-800m"),
            ("1k", "1Ki", "2024", "-24"),
        ] {
            assert_eq!((parse(a) + parse(b)).to_string(), sum, "{a} + {b}");
            assert_eq!((parse(a) - parse(b)).to_string(), difference, "{a} - {b}");
        }
        assert_eq!(parse("1Ki"), parse("1024"));
        assert!(parse("1Gi") > parse("1G"));
    }

    proptest! {
        #[test]
        fn the_canonical_form_is_worth_the_same(
            number in "[0-9]{1,12}(\\.[0-9]{0,24})?",
            suffix in prop::sample::select(vec!["", "n", "u", "m", "k", "M", "G", "T", "Ki", "Mi", "Gi", "Ti", "Pi", "e3", "E-2"]),
        ) {
            let quantity: Quantity = format!("{number}{suffix}").parse().unwrap();
            let printed = quantity.to_string();
            let again: Quantity = printed.parse().unwrap();
            prop_assert_eq!(again, quantity);
            prop_assert_eq!(again.to_string(), printed);
        }

        #[test]
        fn whole_numbers_are_worth_what_they_say(value in any::<i64>()) {
            for format in [Format::DecimalSi, Format::BinarySi, Format::DecimalExponent] {
                let quantity: Quantity = Quantity::new(value, format).to_string().parse().unwrap();
                prop_assert_eq!(quantity.value(), value);
            }
        }

        #[test]
        fn fractions_agree_with_floating_point(whole in 0..1_000_000_u32, fraction in "[0-9]{1,6}", exponent in 0..6_usize) {
            let (suffix, power) = BINARY[exponent];
            let quantity: Quantity = format!("{whole}.{fraction}{suffix}").parse().unwrap();
            let expected = format!("{whole}.{fraction}").parse::<f64>().unwrap() * 2_f64.powi(power as i32);
            let expected = expected.min(i64::MAX as f64);
            prop_assert!((quantity.as_f64() - expected).abs() <= expected * 1e-12 + 1e-9, "{} {}", quantity, expected);
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[0-9.eEiKn+\\-\\PC]{0,40}") {
            let _ = text.parse::<Quantity>();
        }
    }
}
