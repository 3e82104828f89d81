//! Numbers or percentages: `maxSurge: 25%`. Source: `k8s.io/apimachinery/pkg/util/intstr`.

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Why a value is neither a number nor a percentage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A text without `%`.
    #[error("invalid value for IntOrString: invalid type: string is not a percentage")]
    NoPercentage,
    /// A text whose `%` no number precedes.
    #[error("invalid value for IntOrString: invalid value {0:?}: strconv.Atoi: parsing {1:?}: invalid syntax")]
    NoNumber(String, String),
}

/// Which way a share of a total rounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Round {
    /// `maxSurge`, `minAvailable`
    Up,
    /// `maxUnavailable` of a Deployment
    Down,
}

/// The number behind the `%`, if there is one.
pub fn percent(value: &IntOrString) -> Option<i32> {
    match value {
        IntOrString::Int(_) => None,
        IntOrString::String(text) => text.strip_suffix('%')?.parse().ok(),
    }
}

/// The number, or the share of `total` that the percentage makes.
pub fn scaled(value: &IntOrString, total: i32, round: Round) -> Result<i32, Error> {
    let text = match value {
        IntOrString::Int(number) => return Ok(*number),
        IntOrString::String(text) => text,
    };
    let digits = text.strip_suffix('%').ok_or(Error::NoPercentage)?;
    let percent: i32 = digits.parse().map_err(|_| Error::NoNumber(text.clone(), digits.to_owned()))?;
    let hundredfold = i64::from(percent) * i64::from(total);
    let share = match round {
        Round::Up => hundredfold.div_euclid(100) + i64::from(hundredfold.rem_euclid(100) > 0),
        Round::Down => hundredfold.div_euclid(100),
    };
    Ok(share.clamp(i32::MIN.into(), i32::MAX.into()) as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_round_as_asked() {
        for (text, total, up, down) in [
            ("25%", 3, 1, 0),
            ("25%", 4, 1, 1),
            ("0%", 10, 0, 0),
            ("100%", 7, 7, 7),
            ("150%", 3, 5, 4),
            ("-10%", 15, -1, -2),
        ] {
            let value = IntOrString::String(text.to_owned());
            assert_eq!(scaled(&value, total, Round::Up), Ok(up), "{text} of {total}");
            assert_eq!(scaled(&value, total, Round::Down), Ok(down), "{text} of {total}");
        }
        assert_eq!(scaled(&IntOrString::Int(5), 3, Round::Up), Ok(5));
    }

    #[test]
    fn other_texts_are_refused() {
        let text = |text: &str| scaled(&IntOrString::String(text.to_owned()), 1, Round::Up);
        assert_eq!(text("5"), Err(Error::NoPercentage));
        assert_eq!(text("x%"), Err(Error::NoNumber("x%".into(), "x".into())));
        assert_eq!(percent(&IntOrString::String("5%".into())), Some(5));
        assert_eq!(percent(&IntOrString::Int(5)), None);
    }
}
