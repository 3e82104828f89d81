//! Timestamps and durations. Source: cel-go's `common/types/{timestamp,duration}.go`; Go's `time.ParseDuration`.

use jiff::{SignedDuration, Timestamp, Zoned, civil::Weekday, tz::Offset, tz::TimeZone};

use super::{Failure, value::Value};

/// An RFC 3339 time.
pub fn timestamp(text: &str) -> Result<Timestamp, Failure> {
    let wrong = || Failure::new(format!("invalid timestamp {text:?}"));
    let shape = text.len() >= 20 && text.as_bytes()[10].eq_ignore_ascii_case(&b't');
    let time: Timestamp = if shape { text.parse().map_err(|_| wrong())? } else { return Err(wrong()) };
    let year = time.to_zoned(TimeZone::UTC).year();
    if (1..=9999).contains(&year) { Ok(time) } else { Err(Failure::new("timestamp overflow")) }
}

/// A Go duration: `1h30m`, `-1.5s`.
pub fn duration(text: &str) -> Result<SignedDuration, Failure> {
    let wrong = || Failure::new(format!("invalid duration {text:?}"));
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Ok(SignedDuration::ZERO);
    }
    if rest.is_empty() {
        return Err(wrong());
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, after) = rest.split_at(end);
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && part.is_empty()) || part.contains('.') || number.len() > 40 {
            return Err(wrong());
        }
        let units = [
            ("ns", 1),
            ("us", 1_000),
            ("µs", 1_000),
            ("μs", 1_000),
            ("ms", 1_000_000),
            ("s", 1_000_000_000),
            ("m", 60_000_000_000),
            ("h", 3_600_000_000_000_i128),
        ];
        let (unit, scale) = units.into_iter().find(|(unit, _)| after.starts_with(unit)).ok_or_else(wrong)?;
        let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        let part: String = part.chars().chain("0".repeat(18).chars()).take(18).collect();
        let part: i128 = part.parse().map_err(|_| wrong())?;
        let more = whole.checked_mul(scale).ok_or_else(wrong)? + part * scale / 1_000_000_000_000_000_000;
        nanos = nanos.checked_add(more).ok_or_else(wrong)?;
        rest = &after[unit.len()..];
    }
    let nanos = i64::try_from(if negative { -nanos } else { nanos }).map_err(|_| wrong())?;
    Ok(SignedDuration::from_nanos(nanos))
}

/// How cel-go prints a duration: `90s`, `1.5s`.
pub fn show_duration(duration: SignedDuration) -> String {
    let nanos = duration.as_nanos();
    let (whole, part) = (nanos / 1_000_000_000, (nanos % 1_000_000_000).unsigned_abs());
    let sign = if nanos < 0 && whole == 0 { "-" } else { "" };
    let part = format!(".{part:09}");
    let part = part.trim_end_matches('0').trim_end_matches('.');
    format!("{sign}{whole}{part}s")
}

/// A part of a time in a zone, or of a duration.
pub fn part(function: &str, value: &Value, zone: Option<&str>) -> Result<Value, Failure> {
    match value {
        Value::Timestamp(time) => of_time(function, &time.to_zoned(time_zone(zone)?)).map(Value::Int),
        Value::Duration(span) => {
            let millis = span.as_millis();
            let found = match function {
                "getHours" => millis / 3_600_000,
                "getMinutes" => millis / 60_000,
                "getSeconds" => millis / 1_000,
                "getMilliseconds" => millis % 1_000,
                _ => return Err(Failure::no_overload()),
            };
            i64::try_from(found).map(Value::Int).map_err(|_| Failure::new("duration overflow"))
        }
        _ => Err(Failure::no_overload()),
    }
}

fn time_zone(zone: Option<&str>) -> Result<TimeZone, Failure> {
    let Some(zone) = zone else { return Ok(TimeZone::UTC) };
    let Some((hours, minutes)) = zone.split_once(':') else {
        if zone == "UTC" {
            return Ok(TimeZone::UTC);
        }
        return TimeZone::get(zone).map_err(|_| Failure::new(format!("unknown time zone {zone}")));
    };
    let wrong = || Failure::new(format!("invalid time zone {zone}"));
    let negative = hours.starts_with('-');
    let (hours, minutes): (i32, i32) =
        (hours.trim_start_matches('+').parse().map_err(|_| wrong())?, minutes.parse().map_err(|_| wrong())?);
    if !(-24..=24).contains(&hours) || !(0..60).contains(&minutes) {
        return Err(wrong());
    }
    let seconds = hours * 3_600 + if negative { -minutes } else { minutes } * 60;
    Offset::from_seconds(seconds).map(TimeZone::fixed).map_err(|_| wrong())
}

fn of_time(function: &str, time: &Zoned) -> Result<i64, Failure> {
    Ok(match function {
        "getFullYear" => time.year().into(),
        "getMonth" => i64::from(time.month()) - 1,
        "getDayOfYear" => i64::from(time.day_of_year()) - 1,
        "getDayOfMonth" => i64::from(time.day()) - 1,
        "getDate" => time.day().into(),
        "getDayOfWeek" => match time.weekday() {
            Weekday::Sunday => 0,
            day => day.to_monday_one_offset().into(),
        },
        "getHours" => time.hour().into(),
        "getMinutes" => time.minute().into(),
        "getSeconds" => time.second().into(),
        "getMilliseconds" => time.millisecond().into(),
        _ => return Err(Failure::no_overload()),
    })
}
