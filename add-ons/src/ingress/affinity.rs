//! Clients stay with the endpoint that they had: a cookie tells which.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    net::SocketAddr,
};

use http::{HeaderMap, HeaderValue};

use super::{annotations::Annotations, canary::cookie};

/// How clients are known again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Affinity {
    name: String,
    /// A client stays however many endpoints there are (`persistent`); else some move when there are more (`balanced`).
    persistent: bool,
    /// What follows the cookie's value.
    attributes: String,
    /// The cookie goes over TLS alone; none: if it came to be there.
    secure: Option<bool>,
    path: Option<String>,
}

/// A client's cookie: what is drawn for it, and the endpoint that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    key: u64,
    endpoint: u64,
}

impl Affinity {
    /// What these annotations say.
    pub fn of(annotations: Annotations<'_>) -> Option<Self> {
        annotations.text("affinity").filter(|kind| *kind == "cookie")?;
        // Both are an age in seconds; `expires` is for browsers that know no age, which nobody has any more.
        let age = annotations.text("session-cookie-max-age").or_else(|| annotations.text("session-cookie-expires"));
        let domain = annotations.text("session-cookie-domain");
        let same_site = annotations.text("session-cookie-samesite");
        let given = [("Max-Age", age), ("Domain", domain), ("SameSite", same_site)].into_iter();
        let attributes = given.filter_map(|(name, value)| Some(format!("; {name}={}", value?))).collect();
        Some(Self {
            name: annotations.text("session-cookie-name").unwrap_or("INGRESSCOOKIE").to_owned(),
            persistent: annotations.text("affinity-mode") == Some("persistent"),
            attributes,
            secure: annotations.value("session-cookie-secure"),
            path: annotations.text("session-cookie-path").map(str::to_owned),
        })
    }

    /// What the client's cookie says.
    pub fn stay(&self, headers: &HeaderMap) -> Option<Stay> {
        let value = cookie(headers, &self.name)?;
        let (key, endpoint) = value.split_once('|')?;
        let number = |text| u64::from_str_radix(text, 16).ok();
        Some(Stay { key: number(key)?, endpoint: number(endpoint)? })
    }

    /// The endpoints in the order in which they are tried for a client. Each client has an order of its own, and the loss of
    /// an endpoint moves those alone that had it (rendezvous hashing).
    pub fn order(&self, stay: Stay, endpoints: &[SocketAddr]) -> Vec<SocketAddr> {
        let mut order = endpoints.to_vec();
        let had = |endpoint: &SocketAddr| self.persistent && hash(endpoint) == stay.endpoint;
        order.sort_by_cached_key(|endpoint| (!had(endpoint), hash(&(stay.key, endpoint))));
        order
    }

    /// The header that gives a client its cookie. `path`: that of the rule.
    pub fn cookie(&self, key: u64, endpoint: SocketAddr, path: &str, over_tls: bool) -> Option<HeaderValue> {
        let (name, path) = (&self.name, self.path.as_deref().unwrap_or(path));
        let secure = if self.secure.unwrap_or(over_tls) { "; Secure" } else { "" };
        let (endpoint, attributes) = (hash(&endpoint), &self.attributes);
        HeaderValue::from_str(&format!("{name}={key:016x}|{endpoint:016x}; Path={path}{attributes}{secure}; HttpOnly"))
            .ok()
    }
}

impl Stay {
    /// A client that is new.
    pub fn new(key: u64) -> Self {
        Self { key, endpoint: 0 }
    }

    /// What was drawn for the client.
    pub fn key(self) -> u64 {
        self.key
    }
}

/// All controllers of a lab are the same program, and so come to the same numbers.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http::header::COOKIE;

    use super::*;

    fn affinity(persistent: bool) -> Affinity {
        let (name, attributes) = ("route".to_owned(), "; Max-Age=60".to_owned());
        Affinity { name, persistent, attributes, secure: None, path: None }
    }

    fn endpoints(count: u8) -> Vec<SocketAddr> {
        (0..count).map(|i| SocketAddr::from(([10, 244, 1, i], 80))).collect()
    }

    #[test]
    fn a_client_comes_back_to_its_endpoint() {
        for persistent in [false, true] {
            let affinity = affinity(persistent);
            let (few, many) = (endpoints(5), endpoints(20));
            let mut moved = 0;
            for key in 0..100 {
                let first = affinity.order(Stay::new(key), &few)[0];
                let cookie = affinity.cookie(key, first, "/", false).unwrap();
                let mut headers = HeaderMap::new();
                let pair = cookie.to_str().unwrap().split(';').next().unwrap().to_owned();
                headers.insert(COOKIE, pair.parse().unwrap());
                let stay = affinity.stay(&headers).unwrap();
                assert_eq!(affinity.order(stay, &few)[0], first);
                // Others' loss is not felt.
                let left: Vec<_> =
                    few.iter().copied().filter(|other| *other == first || other.ip() < first.ip()).collect();
                assert_eq!(affinity.order(stay, &left)[0], first);
                moved += usize::from(affinity.order(stay, &many)[0] != first);
            }
            assert_eq!(moved == 0, persistent, "{moved} of 100 moved when there were more");
        }
    }

    #[test]
    fn cookies_say_where_they_belong() {
        let endpoint = endpoints(1)[0];
        let shown = |over_tls| affinity(false).cookie(1, endpoint, "/shop", over_tls).unwrap();
        let [plain, tls] = [false, true].map(|over_tls| shown(over_tls).to_str().unwrap().to_owned());
        assert!(plain.starts_with("route=0000000000000001|") && plain.ends_with("; Path=/shop; Max-Age=60; HttpOnly"));
        assert!(tls.ends_with("; Max-Age=60; Secure; HttpOnly"), "{tls}");
    }
}
