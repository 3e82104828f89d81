//! When a service account's token is renewed. Source: `requiresRefresh` in `pkg/kubelet/token/token_manager.go` of Kubernetes.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ServiceAccountTokenProjection;

/// How long a token lasts that says nothing else. Source: the default of `expirationSeconds`.
const DEFAULT_SECONDS: i64 = 3600;
/// No token is used for longer, however long it lasts.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

/// A token that a volume shows.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Whom it is for; empty for the apiservers.
    pub audience: String,
    /// How long it is to last.
    pub seconds: i64,
}

impl Wanted {
    /// What a projection asks for.
    pub fn of(source: &ServiceAccountTokenProjection) -> Self {
        let audience = source.audience.clone().unwrap_or_default();
        Self { audience, seconds: source.expiration_seconds.unwrap_or(DEFAULT_SECONDS) }
    }
}

/// A token that was given.
#[derive(Clone, Debug)]
pub struct Token {
    /// Itself.
    pub text: String,
    /// When it was given.
    pub given_at: Timestamp,
    /// When it ends.
    pub ends_at: Timestamp,
}

impl Token {
    /// Whether it should be replaced: after four fifths of its life, or a day.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let life = Duration::try_from(self.ends_at.duration_since(self.given_at)).unwrap_or_default();
        now >= self.given_at + (life / 5 * 4).min(LONGEST)
    }

    /// Whether it can still be shown.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now < self.ends_at
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_token_is_renewed_in_time() {
        let at = |second: i64| Timestamp::from_second(second).unwrap();
        let day = 24 * 60 * 60;
        for (life, age, due) in [
            (3600, 0, false),
            (3600, 2879, false),
            (3600, 2880, true),
            (30 * day, day - 1, false),
            (30 * day, day, true),
        ] {
            let token = Token { text: String::new(), given_at: at(0), ends_at: at(life) };
            assert_eq!(token.is_due(at(age)), due, "{life} {age}");
        }
        let token = Token { text: String::new(), given_at: at(0), ends_at: at(10) };
        assert!(token.is_valid(at(9)) && !token.is_valid(at(10)));
    }
}
