//! Durations as Go writes and reads them, because annotations and upstream's messages use that form.

use std::time::Duration;

/// The longest duration that is read. It keeps sums with timestamps in range.
const MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// `500ms`, `1.5s`, `1m30s`; a plain number is seconds. Nothing longer than a year.
pub fn parse(text: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let unit = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit);
        let seconds = match unit {
            "ms" => 0.001,
            "s" => 1.0,
            "" if number.len() == text.len() => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        total = total.checked_add(Duration::try_from_secs_f64(number.parse::<f64>().ok()? * seconds).ok()?)?;
        rest = tail;
    }
    (total <= MAX).then_some(total)
}

/// `120ms`, `1.2s`, `2m40s`, as Go's `Duration.String` does; precise to the millisecond.
pub fn format(duration: Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        return match duration.subsec_millis() {
            0 => "0s".to_owned(),
            millis => format!("{millis}ms"),
        };
    }
    let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
    let below_minute = match duration.subsec_millis() {
        0 => format!("{}s", seconds % 60),
        millis => format!("{}s", format!("{}.{millis:03}", seconds % 60).trim_end_matches('0')),
    };
    match (hours, minutes) {
        (0, 0) => below_minute,
        (0, minutes) => format!("{minutes}m{below_minute}"),
        (hours, minutes) => format!("{hours}h{minutes}m{below_minute}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_go_reads() {
        for (text, expected) in [
            ("500ms", Some(500)),
            ("1.5s", Some(1500)),
            ("1m30s", Some(90_000)),
            ("2", Some(2000)),
            ("0s", Some(0)),
            ("", None),
            ("soon", None),
            ("-1s", None),
            ("1x", None),
            ("1m30", None),
            ("1e99h", None),
            ("9000000h", None),
        ] {
            assert_eq!(parse(text), expected.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn writes_what_go_writes() {
        for (millis, expected) in [
            (0, "0s"),
            (120, "120ms"),
            (1_000, "1s"),
            (1_200, "1.2s"),
            (1_034, "1.034s"),
            (80_000, "1m20s"),
            (300_000, "5m0s"),
            (3_600_000, "1h0m0s"),
        ] {
            assert_eq!(format(Duration::from_millis(millis)), expected);
        }
    }
}
