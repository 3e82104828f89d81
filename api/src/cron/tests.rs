use proptest::prelude::*;

use super::*;

fn zone(name: &str) -> TimeZone {
    TimeZone::get(name).unwrap()
}

/// The next times after one, in a zone.
fn next(schedule: &str, after: &str, name: &str, count: usize) -> Vec<String> {
    let schedule = Schedule::parse(schedule).unwrap();
    let zone = zone(name);
    let mut at: Timestamp = after.parse().unwrap();
    let mut times = Vec::new();
    for _ in 0..count {
        let Some(due) = schedule.next(at, &zone) else { break };
        times.push(due.to_zoned(zone.clone()).strftime("%Y-%m-%d %H:%M %z").to_string());
        at = due;
    }
    times
}

#[test]
fn schedules_are_told_from_nonsense() {
    for good in [
        "* * * * *",
        "*/5 0-12/2 1,15 jan-mar MON",
        "0 0 1 1 0",
        "@hourly",
        "@every 1h",
        "5/15 * ? * *",
        "TZ=Asia/Seoul 0 0 * * *",
        "CRON_TZ=UTC @daily",
    ] {
        assert!(Schedule::parse(good).is_ok(), "{good}");
    }
    for (bad, why) in [
        ("", "empty spec string"),
        ("* * *", "expected exactly 5 fields, found 3: [* * *]"),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("1/2/3 * * * *", "too many slashes: 1/2/3"),
        ("@often", "unrecognized descriptor: @often"),
        ("@every day", "failed to parse duration @every day: time: invalid duration \"day\""),
        ("TZ=Mars/Base 0 0 * * *", "provided bad location Mars/Base: unknown time zone Mars/Base"),
    ] {
        assert_eq!(Schedule::parse(bad).unwrap_err(), why, "{bad}");
    }
}

#[test]
fn times_are_found_as_cron_finds_them() {
    for (schedule, after, expected) in [
        ("*/15 * * * *", "2026-11-20T12:00:00Z", vec!["2026-11-20 12:15 +0000", "2026-11-20 12:30 +0000"]),
        ("*/15 * * * *", "2026-11-20T12:14:59.9Z", vec!["2026-11-20 12:15 +0000"]),
        ("0 2 * * *", "2026-11-20T12:00:00Z", vec!["2026-11-21 02:00 +0000"]),
        ("5/20 8-9 * * *", "2026-11-20T08:30:00Z", vec!["2026-11-20 08:45 +0000", "2026-11-20 09:05 +0000"]),
        ("0 0 31 * *", "2026-11-20T12:00:00Z", vec!["2026-12-31 00:00 +0000", "2027-01-31 00:00 +0000"]),
        ("0 0 29 2 *", "2026-11-20T12:00:00Z", vec!["2028-02-29 00:00 +0000"]),
        ("0 0 30 2 *", "2026-11-20T12:00:00Z", vec![]),
        // 2026-11-20 is a Friday.
        ("0 9 * * mon-fri", "2026-11-20T10:00:00Z", vec!["2026-11-23 09:00 +0000"]),
        (
            "0 0 1 * sun",
            "2026-11-20T12:00:00Z",
            vec!["2026-11-22 00:00 +0000", "2026-11-29 00:00 +0000", "2026-12-01 00:00 +0000"],
        ),
        ("0 0 */10 * sun", "2026-11-20T12:00:00Z", vec!["2026-11-21 00:00 +0000", "2026-11-22 00:00 +0000"]),
        ("0 0 */1 * sun", "2026-11-20T12:00:00Z", vec!["2026-11-22 00:00 +0000", "2026-11-29 00:00 +0000"]),
        ("@yearly", "2026-11-20T12:00:00Z", vec!["2027-01-01 00:00 +0000"]),
        ("@weekly", "2026-11-20T12:00:00Z", vec!["2026-11-22 00:00 +0000"]),
        ("@hourly", "2026-11-20T12:00:00Z", vec!["2026-11-20 13:00 +0000"]),
        ("@every 90m", "2026-11-20T12:00:30.5Z", vec!["2026-11-20 13:30 +0000", "2026-11-20 15:00 +0000"]),
        ("TZ=Asia/Seoul 0 9 * * *", "2026-11-20T12:00:00Z", vec!["2026-11-21 00:00 +0000"]),
    ] {
        assert_eq!(next(schedule, after, "UTC", expected.len().max(1)), expected, "{schedule} after {after}");
    }
}

#[test]
fn clocks_that_are_put_forward_and_back_are_followed() {
    let new_york = "America/New_York";
    // 2026-03-08: 02:00 becomes 03:00. 2026-11-01: 02:00 becomes 01:00.
    for (schedule, after, expected) in [
        ("30 2 * * *", "2026-03-08T05:00:00Z", vec!["2026-03-09 02:30 -0400"]),
        ("0 * * * *", "2026-03-08T06:00:00Z", vec!["2026-03-08 03:00 -0400"]),
        (
            "30 1 * * *",
            "2026-11-01T04:00:00Z",
            vec!["2026-11-01 01:30 -0400", "2026-11-01 01:30 -0500", "2026-11-02 01:30 -0500"],
        ),
        ("0 0 * * *", "2026-10-31T12:00:00Z", vec!["2026-11-01 00:00 -0400", "2026-11-02 00:00 -0500"]),
    ] {
        assert_eq!(next(schedule, after, new_york, expected.len()), expected, "{schedule} after {after}");
    }
    // In Havana the clock jumps from midnight to one on 2026-03-08.
    assert_eq!(next("0 0 * * *", "2026-03-07T12:00:00Z", "America/Havana", 1), ["2026-03-09 00:00 -0400"]);
    assert_eq!(next("30 * * * *", "2026-03-08T04:45:00Z", "America/Havana", 1), ["2026-03-08 01:30 -0400"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// The slow way: every minute is tried.
    #[test]
    fn no_time_is_skipped(
        minute in 0u32..60, hour in 0u32..24, day in 1u32..32, weekday in 0u32..7, which in 0u32..5,
        start in 1_790_000_000i64..1_820_000_000, place in 0usize..4,
    ) {
        let text = match which {
            0 => format!("{minute} {hour} * * *"),
            1 => format!("*/{} * * * {weekday}", minute.max(1)),
            2 => format!("{minute} */{} {day} * {weekday}", hour.max(1)),
            3 => format!("{minute} {hour} */{} * *", day.min(9)),
            _ => format!("{minute} {hour}-23 * * {weekday}-6"),
        };
        let schedule = Schedule::parse(&text).unwrap();
        let zone = zone(["UTC", "America/New_York", "Asia/Kolkata", "Europe/Berlin"][place]);
        let after = Timestamp::from_second(start).unwrap();
        let Rule::At(fields) = &schedule.rule else { unreachable!() };
        let slow = (1..=60 * 24 * 62).map(|minute| Timestamp::from_second(start - start % 60 + minute * 60).unwrap()).find(|at| {
            let at = at.to_zoned(zone.clone());
            fields.allows_day(at.date()) && fields.hours.has(number(at.hour())) && fields.minutes.has(number(at.minute()))
        });
        let fast = schedule.next(after, &zone);
        if slow.is_some() {
            prop_assert_eq!(fast, slow, "{}", text);
        }
    }
}
