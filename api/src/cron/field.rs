//! One field of a schedule: which minutes, hours, days or months it allows.

/// A field's bounds, and the names that its values have.
pub(super) struct Field {
    low: u32,
    high: u32,
    names: &'static [&'static str],
}

const MONTHS: &[&str] = &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// Minute, hour, day of the month, month, day of the week.
pub(super) const FIELDS: [Field; 5] = [
    Field { low: 0, high: 59, names: &[] },
    Field { low: 0, high: 23, names: &[] },
    Field { low: 1, high: 31, names: &[] },
    Field { low: 1, high: 12, names: MONTHS },
    Field { low: 0, high: 6, names: DAYS },
];

/// The values that a field allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Allowed {
    bits: u64,
    /// It says `*` or `?`, which matters to days.
    pub(super) is_any: bool,
}

impl Allowed {
    pub(super) fn has(self, value: u32) -> bool {
        self.bits & (1 << value) != 0
    }
}

impl Field {
    pub(super) fn parse(&self, text: &str) -> Result<Allowed, String> {
        let mut allowed = Allowed::default();
        for range in text.split(',').filter(|range| !range.is_empty()) {
            self.add(range, &mut allowed)?;
        }
        Ok(allowed)
    }

    fn add(&self, range: &str, allowed: &mut Allowed) -> Result<(), String> {
        let parts: Vec<_> = range.split('/').collect();
        let ends: Vec<_> = parts[0].split('-').collect();
        let is_any = matches!(*ends, ["*" | "?"]);
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
        allowed.bits |= (start..=end).step_by(step as usize).fold(0, |bits, value| bits | 1 << value);
        allowed.is_any |= is_any && step == 1;
        Ok(())
    }

    fn value(&self, text: &str) -> Result<u32, String> {
        let name = text.to_lowercase();
        match (self.low..).zip(self.names).find(|(_, known)| **known == name) {
            Some((value, _)) => Ok(value),
            None => number(text),
        }
    }
}

fn number(text: &str) -> Result<u32, String> {
    let number: i64 = text
        .parse()
        .map_err(|_| format!("failed to parse int from {text}: strconv.Atoi: parsing {text:?}: invalid syntax"))?;
    if number < 0 {
        return Err(format!("negative number ({number}) not allowed: {text}"));
    }
    // Past every bound, whatever it was.
    Ok(u32::try_from(number).unwrap_or(u32::MAX))
}
