//! Durations as Go writes them: `1h30m`, `1.5s`. Source: `time.ParseDuration`.

use std::time::Duration;

const UNITS: [(&str, f64); 8] =
    [("ns", 1e-9), ("us", 1e-6), ("µs", 1e-6), ("μs", 1e-6), ("ms", 1e-3), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
/// Go counts nanoseconds in 63 bits.
const MOST: f64 = i64::MAX as f64 / 1e9;

/// A duration; `None` for what is none. A negative one is zero.
pub(super) fn parse(text: &str) -> Option<Duration> {
    let (is_negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    let mut seconds = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        let (_, factor) = UNITS.iter().find(|(name, _)| *name == unit)?;
        seconds += number.parse::<f64>().ok()? * factor;
        rest = after;
    }
    let is_one = !text.trim_start_matches(['-', '+']).is_empty() && seconds <= MOST;
    is_one.then(|| if is_negative { Duration::ZERO } else { Duration::from_secs_f64(seconds) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        for (text, expected) in [
            ("1h30m10s", Some(5_410_000)),
            ("1.5s", Some(1_500)),
            ("100ms", Some(100)),
            ("0", Some(0)),
            ("-5s", Some(0)),
            ("+5s", Some(5_000)),
            ("", None),
            ("5", None),
            ("s", None),
            ("1h 2m", None),
            ("1d", None),
            ("9999999h", None),
        ] {
            assert_eq!(parse(text).map(|duration| duration.as_millis()), expected, "{text:?}");
        }
    }
}
