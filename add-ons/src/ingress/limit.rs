//! How often one client may ask. Source: nginx' `limit_req` with `burst` and `nodelay`, as ingress-nginx writes them.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
};

use ipnet::IpNet;
use kubelab_client::clock::Instant;

use super::annotations::Annotations;

/// Clients remembered at a time. Source: ingress-nginx' zones of 5 MB, which hold about as many.
const MAX_CLIENTS: usize = 64 << 10;

/// How often.
#[derive(Clone, Debug, PartialEq)]
pub struct Rate {
    /// Requests a second.
    per_second: f64,
    /// Requests that may come at once beyond that.
    burst: f64,
    /// Who may ask as often as they like.
    spared: Vec<IpNet>,
}

impl Rate {
    /// What these annotations say; a limit a second comes before one a minute.
    pub fn of(annotations: Annotations<'_>) -> Option<Self> {
        let a_second = annotations.value::<u32>("limit-rps").filter(|count| *count > 0);
        let a_minute = annotations.value::<u32>("limit-rpm").filter(|count| *count > 0);
        let count = a_second.or(a_minute)?;
        let factor = annotations.value::<u32>("limit-burst-multiplier").filter(|factor| *factor > 0).unwrap_or(5);
        let mut spared = annotations.networks("limit-allowlist");
        spared.extend(annotations.networks("limit-whitelist"));
        Some(Self {
            per_second: f64::from(count) / if a_second.is_some() { 1.0 } else { 60.0 },
            burst: f64::from(count) * f64::from(factor),
            spared,
        })
    }
}

/// What clients have asked lately.
#[derive(Debug, Default)]
pub struct Limiter(Mutex<HashMap<(String, IpAddr), Recent>>);

/// The requests of a client that go beyond its rate.
#[derive(Clone, Copy, Debug)]
struct Recent {
    excess: f64,
    at: Instant,
}

impl Recent {
    fn left(&self, rate: &Rate, now: Instant) -> f64 {
        (self.excess - rate.per_second * now.duration_since(self.at).as_secs_f64()).max(0.0)
    }
}

impl Limiter {
    /// Whether a client may ask now; if so, it is counted. `whose`: the Ingress.
    pub fn admits(&self, rate: &Rate, whose: &str, client: Option<IpAddr>, now: Instant) -> bool {
        let Some(client) = client.filter(|ip| !rate.spared.iter().any(|network| network.contains(ip))) else {
            return true;
        };
        let mut clients = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if clients.len() >= MAX_CLIENTS {
            clients.retain(|_, recent| recent.left(rate, now) > 0.0);
        }
        if clients.len() >= MAX_CLIENTS {
            clients.clear();
        }
        let recent = clients.get(&(whose.to_owned(), client));
        let excess = recent.map_or(0.0, |recent| recent.left(rate, now) + 1.0);
        let admitted = excess <= rate.burst;
        if admitted {
            clients.insert((whose.to_owned(), client), Recent { excess, at: now });
        }
        admitted
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use kubelab_client::clock;

    use super::*;

    #[test]
    fn a_client_has_its_burst_and_then_its_rate() {
        let rate = Rate { per_second: 2.0, burst: 4.0, spared: vec!["10.9.0.0/16".parse().unwrap()] };
        let (limiter, now) = (Limiter::default(), clock::instant());
        let ask = |client: &str, after: u64| {
            limiter.admits(&rate, "shop/web", Some(client.parse().unwrap()), now + Duration::from_millis(after))
        };
        assert_eq!((0..8).filter(|_| ask("10.0.0.1", 0)).count(), 5, "one, and four more at once");
        assert!(!ask("10.0.0.1", 400) && ask("10.0.0.1", 500), "two a second");
        assert!(ask("10.0.0.2", 0), "another client");
        assert!((0..50).all(|_| ask("10.9.0.1", 0)), "one that is spared");
        assert!(limiter.admits(&rate, "shop/web", None, now), "one that is not known");
    }
}
