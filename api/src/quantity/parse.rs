//! From text to amount. Source: `ParseQuantity` in `k8s.io/apimachinery/pkg/api/resource`.

use std::str::FromStr;

use super::{BINARY, DECIMAL, Error, Format, NANO, Quantity, divide_away_from_zero};

/// Upstream caps binary amounts here.
const LARGEST_BINARY: i128 = i64::MAX as i128 * NANO;

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
