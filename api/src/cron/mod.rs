//! The schedules that a CronJob understands, and when they are due. Source: `ParseStandard` of `robfig/cron` v3, whose words
//! clients see, and its `SpecSchedule.Next`.

mod duration;
mod field;

use jiff::{SignedDuration, Timestamp, ToSpan, Zoned, civil::Date, tz::TimeZone};

use self::field::{Allowed, FIELDS};

/// So far ahead a schedule is followed: one that is not due until then never is.
const YEARS: i16 = 5;

/// When something is due again and again.
#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
    /// The time zone that the schedule itself names (`TZ=…`).
    zone: Option<TimeZone>,
}

#[derive(Clone, Debug)]
enum Rule {
    /// `@every 1h`: so long after the last time.
    Every(SignedDuration),
    At(Fields),
}

#[derive(Clone, Debug)]
struct Fields {
    minutes: Allowed,
    hours: Allowed,
    days: Allowed,
    months: Allowed,
    weekdays: Allowed,
}

impl Schedule {
    /// Reads a schedule: five fields, a descriptor (`@hourly`, `@every 1h`), either after a time zone (`TZ=Asia/Seoul`).
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("empty spec string".into());
        }
        let (zone, text) = match ["TZ=", "CRON_TZ="].iter().find_map(|prefix| text.strip_prefix(prefix)) {
            Some(rest) => {
                let (name, text) = rest.split_once(' ').unwrap_or((rest, ""));
                let zone = TimeZone::get(name)
                    .map_err(|_| format!("provided bad location {name}: unknown time zone {name}"))?;
                (Some(zone), text.trim())
            }
            None => (None, text),
        };
        let rule = match text.strip_prefix('@') {
            Some(_) => descriptor(text)?,
            None => Rule::At(fields(text)?),
        };
        Ok(Self { rule, zone })
    }

    /// The first time after this one that it is due, in whole seconds. `None` when that is not within five years. `zone`
    /// is where its fields are read, unless it names a zone itself.
    ///
    /// A time that a clock skips when it is put forward is never due, and one that it shows twice is due twice.
    pub fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let after = Timestamp::from_second(after.as_second()).ok()?;
        match &self.rule {
            Rule::Every(delay) => after.checked_add(*delay).ok(),
            Rule::At(fields) => fields.next(after, self.zone.as_ref().unwrap_or(zone)),
        }
    }
}

fn descriptor(text: &str) -> Result<Rule, String> {
    let same_as = match text {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => {
            let Some(every) = text.strip_prefix("@every ") else {
                return Err(format!("unrecognized descriptor: {text}"));
            };
            let wrong = || format!("failed to parse duration {text}: time: invalid duration {every:?}");
            let delay = duration::parse(every).ok_or_else(wrong)?.as_secs().max(1);
            return Ok(Rule::Every(SignedDuration::from_secs(i64::try_from(delay).unwrap_or(i64::MAX))));
        }
    };
    Ok(Rule::At(fields(same_as)?))
}

fn fields(text: &str) -> Result<Fields, String> {
    let texts: Vec<_> = text.split_whitespace().collect();
    let &[minutes, hours, days, months, weekdays] = texts.as_slice() else {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", texts.len(), texts.join(" ")));
    };
    Ok(Fields {
        minutes: FIELDS[0].parse(minutes)?,
        hours: FIELDS[1].parse(hours)?,
        days: FIELDS[2].parse(days)?,
        months: FIELDS[3].parse(months)?,
        weekdays: FIELDS[4].parse(weekdays)?,
    })
}

impl Fields {
    fn next(&self, after: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
        let into_minute = after.as_second().rem_euclid(60);
        let first = after.checked_add(SignedDuration::from_secs(60 - into_minute)).ok()?.to_zoned(zone.clone());
        let mut day = first.date();
        let last = day.year().checked_add(YEARS)?;
        let mut at = first;
        while day.year() <= last {
            if self.allows_day(day)
                && let Some(due) = self.next_on(day, at)
            {
                return Some(due.timestamp());
            }
            day = day.tomorrow().ok()?;
            at = day.to_zoned(zone.clone()).ok()?;
        }
        None
    }

    /// Where both kinds of days are named, either will do. Source: crontab(5).
    fn allows_day(&self, date: Date) -> bool {
        let day = self.days.has(number(date.day()));
        let weekday = self.weekdays.has(number(date.weekday().to_sunday_zero_offset()));
        let either = !self.days.is_any && !self.weekdays.is_any;
        self.months.has(number(date.month())) && if either { day || weekday } else { day && weekday }
    }

    /// The first time that day, from `at` on.
    fn next_on(&self, day: Date, mut at: Zoned) -> Option<Zoned> {
        while at.date() == day {
            let is_hour = self.hours.has(number(at.hour()));
            if is_hour && self.minutes.has(number(at.minute())) {
                return Some(at);
            }
            let minutes = if is_hour { 1 } else { 60 - i64::from(at.minute()) };
            at = at.checked_add(minutes.minutes()).ok()?;
        }
        None
    }
}

fn number(value: i8) -> u32 {
    u32::from(value.unsigned_abs())
}

#[cfg(test)]
mod tests;
