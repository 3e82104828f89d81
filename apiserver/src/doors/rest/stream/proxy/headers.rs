//! What becomes of headers on their way (pure).

use std::net::SocketAddr;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri,
    header::{
        AUTHORIZATION, CONNECTION, LOCATION, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
        UPGRADE,
    },
};

/// Headers that are for one connection alone. Source: RFC 9110, 7.6.1.
const HOP_BY_HOP: [HeaderName; 7] =
    [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION];

/// Removes what is not for the other side. A request's credentials are for the apiserver.
pub fn strip(headers: &mut HeaderMap, keep_upgrade: bool) {
    headers.remove(AUTHORIZATION);
    let impersonations: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    impersonations.into_iter().for_each(|name| drop(headers.remove(name)));
    headers.remove("keep-alive");
    for name in HOP_BY_HOP {
        if !(keep_upgrade && (name == CONNECTION || name == UPGRADE)) {
            headers.remove(name);
        }
    }
}

/// Says where the request came from. Source: `k8s.io/apimachinery/pkg/util/proxy/transport.go`.
pub fn forwarded(headers: &mut HeaderMap, host: Option<HeaderValue>, uri: &str) {
    let mut set = |name: &'static str, value: Option<HeaderValue>| {
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value);
        }
    };
    set("x-forwarded-uri", uri.parse().ok());
    set("x-forwarded-host", host);
    set("x-forwarded-proto", Some(HeaderValue::from_static("https")));
}

/// Makes a redirect to another page of the same place go through the proxy.
pub fn redirect(headers: &mut HeaderMap, prefix: &str, from: SocketAddr) {
    let Some(target) = headers.get(LOCATION).and_then(|value| value.to_str().ok()?.parse::<Uri>().ok()) else { return };
    let same_place = target
        .host()
        .is_none_or(|host| host == from.ip().to_string() && target.port_u16().unwrap_or(80) == from.port());
    // A path that is relative to the page stays so.
    if !same_place || !target.path().starts_with('/') {
        return;
    }
    let path = target.path_and_query().map_or("/", |path| path.as_str());
    if let Ok(value) = format!("{prefix}{path}").parse() {
        headers.insert(LOCATION, value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn redirects_stay_within_the_proxy() {
        let prefix = "/api/v1/namespaces/a/pods/b/proxy";
        for (location, expected) in [
            ("/login?x=1", "/api/v1/namespaces/a/pods/b/proxy/login?x=1"),
            ("http://10.244.1.2:8080/login", "/api/v1/namespaces/a/pods/b/proxy/login"),
            ("http://10.244.1.2/login", "http://10.244.1.2/login"),
            ("https://example.com/", "https://example.com/"),
        ] {
            let mut headers = HeaderMap::from_iter([(LOCATION, location.parse().unwrap())]);
            redirect(&mut headers, prefix, "10.244.1.2:8080".parse().unwrap());
            assert_eq!(headers[LOCATION], expected, "{location}");
        }
    }

    #[test]
    fn credentials_and_hops_are_left_out() {
        let all = ["authorization", "connection", "upgrade", "te", "impersonate-user", "keep-alive", "accept"];
        let given = || -> HeaderMap {
            all.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("x"))).collect()
        };
        let left = |keep| {
            let mut headers = given();
            strip(&mut headers, keep);
            let mut names: Vec<String> = headers.keys().map(ToString::to_string).collect();
            names.sort();
            names
        };
        assert_eq!(left(false), ["accept"]);
        assert_eq!(left(true), ["accept", "connection", "upgrade"]);
    }
}
