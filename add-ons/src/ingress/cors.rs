//! Which other sites' scripts may ask. Source: ingress-nginx' defaults and its template's headers.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
        ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ORIGIN,
    },
};

use super::annotations::Annotations;

const METHODS: &str = "GET, PUT, POST, DELETE, PATCH, OPTIONS";
const HEADERS: &str =
    "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization";
const MAX_AGE: u64 = 1_728_000;

/// What browsers are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cors {
    origins: Vec<String>,
    methods: String,
    headers: String,
    exposed: Option<String>,
    credentials: bool,
    max_age: u64,
}

impl Cors {
    /// What these annotations say.
    pub fn of(annotations: Annotations<'_>) -> Option<Self> {
        let text = |name: &str, usual: &str| annotations.text(name).unwrap_or(usual).to_owned();
        let origins: Vec<String> = annotations.list("cors-allow-origin").map(str::to_owned).collect();
        annotations.is("enable-cors", false).then(|| Self {
            origins: if origins.is_empty() { vec!["*".to_owned()] } else { origins },
            methods: text("cors-allow-methods", METHODS),
            headers: text("cors-allow-headers", HEADERS),
            exposed: annotations.text("cors-expose-headers").map(str::to_owned),
            credentials: annotations.is("cors-allow-credentials", true),
            max_age: annotations.value("cors-max-age").unwrap_or(MAX_AGE),
        })
    }

    /// The headers of an answer to this request; none for an origin that may not ask.
    pub fn headers(&self, request: &HeaderMap) -> Vec<(HeaderName, HeaderValue)> {
        let origin = request.get(ORIGIN).and_then(|origin| origin.to_str().ok()).unwrap_or_default();
        let Some(allowed) = self.origins.iter().find(|rule| fits(rule, origin)) else { return Vec::new() };
        let told = if allowed == "*" { "*" } else { origin };
        let age = self.max_age.to_string();
        [
            (ACCESS_CONTROL_ALLOW_ORIGIN, Some(told)),
            (ACCESS_CONTROL_ALLOW_CREDENTIALS, self.credentials.then_some("true")),
            (ACCESS_CONTROL_ALLOW_METHODS, Some(self.methods.as_str())),
            (ACCESS_CONTROL_ALLOW_HEADERS, Some(self.headers.as_str())),
            (ACCESS_CONTROL_EXPOSE_HEADERS, self.exposed.as_deref()),
            (ACCESS_CONTROL_MAX_AGE, Some(age.as_str())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, HeaderValue::from_str(value?).ok()?)))
        .collect()
    }
}

/// `https://*.example.com` is any one name below that domain.
fn fits(rule: &str, origin: &str) -> bool {
    match rule.split_once("*.") {
        Some((before, after)) => {
            let rest = origin.strip_prefix(before).and_then(|rest| rest.strip_suffix(after)?.strip_suffix('.'));
            rest.is_some_and(|label| !label.is_empty() && !label.contains(['.', '/', ':']))
        }
        None => rule == "*" || rule == origin,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn origins_are_told_that_may_ask() {
        for (origins, origin, expected) in [
            (&["*"][..], "https://a.org", Some("*")),
            (&["*"], "", Some("*")),
            (&["https://a.org", "https://b.org"], "https://b.org", Some("https://b.org")),
            (&["https://a.org"], "https://b.org", None),
            (&["https://a.org"], "", None),
            (&["https://*.a.org"], "https://x.a.org", Some("https://x.a.org")),
            (&["https://*.a.org"], "https://x.y.a.org", None),
            (&["https://*.a.org"], "https://a.org", None),
        ] {
            let cors = Cors {
                origins: origins.iter().map(|origin| (*origin).to_owned()).collect(),
                methods: METHODS.to_owned(),
                headers: HEADERS.to_owned(),
                exposed: None,
                credentials: true,
                max_age: MAX_AGE,
            };
            let mut request = HeaderMap::new();
            if !origin.is_empty() {
                request.insert(ORIGIN, origin.parse().unwrap());
            }
            let told = cors.headers(&request);
            let told = told.iter().find(|(name, _)| *name == ACCESS_CONTROL_ALLOW_ORIGIN).map(|(_, value)| value);
            assert_eq!(told.map(|value| value.to_str().unwrap()), expected, "{origins:?} {origin}");
        }
    }
}
