//! The schedules that a CronJob understands. Source: `ParseStandard` of `robfig/cron` v3, whose words clients see.

/// Why a schedule is none; nothing when it is one.
pub fn check(schedule: &str) -> Result<(), String> {
    if schedule.is_empty() {
        return Err("empty spec string".into());
    }
    if let Some(descriptor) = schedule.strip_prefix('@') {
        return match descriptor {
            "yearly" | "annually" | "monthly" | "weekly" | "daily" | "midnight" | "hourly" => Ok(()),
            _ if descriptor.starts_with("every ") => Ok(()),
            _ => Err(format!("unrecognized descriptor: {schedule}")),
        };
    }
    let fields: Vec<_> = schedule.split_whitespace().collect();
    if fields.len() != FIELDS.len() {
        return Err(format!("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" ")));
    }
    fields.iter().zip(FIELDS).try_for_each(|(text, field)| text.split(',').try_for_each(|range| field.check(range)))
}

struct Field {
    low: i64,
    high: i64,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Minute, hour, day of the month, month, day of the week.
const FIELDS: &[Field] = &[
    Field { low: 0, high: 59, names: &[] },
    Field { low: 0, high: 23, names: &[] },
    Field { low: 1, high: 31, names: &[] },
    Field { low: 1, high: 12, names: MONTHS },
    Field { low: 0, high: 6, names: DAYS },
];

impl Field {
    fn check(&self, range: &str) -> Result<(), String> {
        let parts: Vec<_> = range.split('/').collect();
        let ends: Vec<_> = parts[0].split('-').collect();
        let (start, end) = match *ends {
            ["*" | "?"] => (self.low, self.high),
            [only] => {
                let value = self.value(only)?;
                (value, if parts.len() > 1 { self.high } else { value })
            }
            [start, end] => (self.value(start)?, self.value(end)?),
            _ => return Err(format!("too many hyphens: {range}")),
        };
        let step = match *parts {
            [_] => 1,
            [_, step] => number(step)?,
            _ => return Err(format!("too many slashes: {range}")),
        };
        let (low, high) = (self.low, self.high);
        if start < low {
            return Err(format!("beginning of range ({start}) below minimum ({low}): {range}"));
        }
        if end > high {
            return Err(format!("end of range ({end}) above maximum ({high}): {range}"));
        }
        if start > end {
            return Err(format!("beginning of range ({start}) beyond end of range ({end}): {range}"));
        }
        if step == 0 {
            return Err(format!("step of range should be a positive number: {range}"));
        }
        Ok(())
    }

    fn value(&self, text: &str) -> Result<i64, String> {
        let name = text.to_lowercase();
        match self.names.iter().position(|known| *known == name) {
            Some(position) => Ok(self.low + position as i64),
            None => number(text),
        }
    }
}

fn number(text: &str) -> Result<i64, String> {
    let number: i64 = text
        .parse()
        .map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))?;
    if number < 0 { Err(format!("negative number ({number}) not allowed: {text}")) } else { Ok(number) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schedules_are_told_from_nonsense() {
        for good in ["* * * * *", "*/5 0-12/2 1,15 jan-mar MON", "0 0 1 1 0", "@hourly", "@every 1h", "5/15 * ? * *"] {
            assert_eq!(check(good), Ok(()), "{good}");
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
            ("@often", "unrecognized descriptor: @often"),
        ] {
            assert_eq!(check(bad).unwrap_err(), why, "{bad}");
        }
    }
}
