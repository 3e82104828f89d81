//! Which requests a canary takes from the Ingress whose host and path it shares.

use http::{HeaderMap, header::COOKIE};
use regex::Regex;

use super::annotations::Annotations;

/// Which requests: a header decides first, then a cookie, then chance.
#[derive(Clone, Debug, Default)]
pub struct Canary {
    header: Option<String>,
    value: Option<String>,
    pattern: Option<Regex>,
    cookie: Option<String>,
    weight: u32,
    total: u32,
}

impl Canary {
    /// What these annotations say.
    pub fn of(annotations: Annotations<'_>) -> Option<Self> {
        annotations.is("canary", false).then(|| Self {
            header: annotations.text("canary-by-header").map(str::to_owned),
            value: annotations.text("canary-by-header-value").map(str::to_owned),
            pattern: annotations.text("canary-by-header-pattern").and_then(|pattern| Regex::new(pattern).ok()),
            cookie: annotations.text("canary-by-cookie").map(str::to_owned),
            weight: annotations.value("canary-weight").unwrap_or(0),
            total: annotations.value("canary-weight-total").filter(|total| *total > 0).unwrap_or(100),
        })
    }

    /// Whether this is one of them. `draw`: chance, from 0 to 1.
    pub fn takes(&self, headers: &HeaderMap, draw: f64) -> bool {
        let always = |said: &str| match said {
            "always" => Some(true),
            "never" => Some(false),
            _ => None,
        };
        let said = self.header.as_ref().and_then(|name| headers.get(name)?.to_str().ok());
        let by_header = said.and_then(|said| match (&self.value, &self.pattern) {
            (Some(value), _) => (said == value).then_some(true),
            (None, Some(pattern)) => pattern.is_match(said).then_some(true),
            (None, None) => always(said),
        });
        let by_cookie = || self.cookie.as_ref().and_then(|name| always(&cookie(headers, name)?));
        let by_chance = || draw * f64::from(self.total) < f64::from(self.weight);
        by_header.or_else(by_cookie).unwrap_or_else(by_chance)
    }
}

/// A cookie that a client sends.
pub fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    let all = headers.get_all(COOKIE).iter().filter_map(|line| line.to_str().ok()).flat_map(|line| line.split(';'));
    let mut pairs = all.filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(own, _)| *own == name).map(|(_, value)| value.to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::HeaderName;

    use super::*;

    #[test]
    fn headers_come_before_cookies_and_cookies_before_chance() {
        let weighed = Canary { weight: 30, total: 100, ..Canary::default() };
        let named = Canary { header: Some("x-canary".into()), cookie: Some("canary".into()), ..weighed.clone() };
        let valued = Canary { value: Some("blue".into()), ..named.clone() };
        let patterned = Canary { pattern: Regex::new("^v[0-9]+$").ok(), ..named.clone() };
        for (canary, headers, draw, expected) in [
            (&weighed, vec![], 0.29, true),
            (&weighed, vec![], 0.30, false),
            (&named, vec![], 0.29, true),
            (&named, vec![("x-canary", "always")], 0.9, true),
            (&named, vec![("x-canary", "never")], 0.1, false),
            (&named, vec![("x-canary", "maybe")], 0.1, true),
            (&named, vec![("x-canary", "never"), ("cookie", "canary=always")], 0.1, false),
            (&named, vec![("cookie", "a=b; canary=always")], 0.9, true),
            (&named, vec![("cookie", "canary=never")], 0.1, false),
            (&valued, vec![("x-canary", "blue")], 0.9, true),
            (&valued, vec![("x-canary", "always")], 0.9, false),
            (&valued, vec![("x-canary", "never")], 0.1, true),
            (&patterned, vec![("x-canary", "v2")], 0.9, true),
            (&patterned, vec![("x-canary", "x2")], 0.9, false),
        ] {
            let mut all = HeaderMap::new();
            for (name, value) in &headers {
                all.append(HeaderName::from_static(name), value.parse().unwrap());
            }
            assert_eq!(canary.takes(&all, draw), expected, "{canary:?} {headers:?} {draw}");
        }
    }
}
