//! What an Ingress' annotations ask for, as ingress-nginx documents them
//! (<https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/>). An annotation that is unknown,
//! or whose value cannot be read, counts as if it were not there.
//!
//! | `nginx.ingress.kubernetes.io/…` | where |
//! | --- | --- |
//! | `rewrite-target`, `use-regex`, `server-alias` | [`super::routes`] |
//! | `ssl-redirect`, `force-ssl-redirect`, `permanent-redirect`(`-code`), `temporal-redirect`(`-code`), `app-root` | [`Redirect`] |
//! | `whitelist-source-range` (`allowlist-…`), `denylist-source-range` | [`super::access`] |
//! | `limit-rps`, `limit-rpm`, `limit-burst-multiplier`, `limit-whitelist` (`limit-allowlist`) | [`super::limit`] |
//! | `auth-type`, `auth-secret`, `auth-secret-type`, `auth-realm` | [`super::auth`] |
//! | `enable-cors`, `cors-…` | [`super::cors`] |
//! | `affinity`, `affinity-mode`, `session-cookie-…` | [`super::affinity`] |
//! | `canary`, `canary-…` | [`super::canary`] |
//! | `backend-protocol`, `proxy-body-size`, `proxy-read-timeout`, `upstream-vhost`, `x-forwarded-prefix` | [`super::forward`] |
//! | `custom-http-errors`, `default-backend` | [`super::proxy`] |

use std::{collections::BTreeMap, net::IpAddr, str::FromStr, time::Duration};

use http::StatusCode;
use ipnet::IpNet;
use k8s_openapi::api::networking::v1::Ingress;

use super::{
    access::Access, affinity::Affinity, auth::Auth, canary::Canary, cors::Cors, forward::Upstream, limit::Rate,
};

const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// `proxy-body-size` without an annotation, in bytes. Source: ingress-nginx' default configuration.
const MAX_BODY: u64 = 1 << 20;
/// `proxy-read-timeout` without an annotation. Source: ingress-nginx' default configuration.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// The annotations of an Ingress.
#[derive(Clone, Copy)]
pub struct Annotations<'a>(Option<&'a BTreeMap<String, String>>);

impl<'a> Annotations<'a> {
    /// Those of this Ingress.
    pub fn of(ingress: &'a Ingress) -> Self {
        Self(ingress.metadata.annotations.as_ref())
    }

    /// A text that is not empty.
    pub fn text(self, name: &str) -> Option<&'a str> {
        let value = self.0?.get(&format!("{PREFIX}{name}"))?.trim();
        (!value.is_empty()).then_some(value)
    }

    /// `true` or `false`; without either, the default.
    pub fn is(self, name: &str, default: bool) -> bool {
        self.value(name).unwrap_or(default)
    }

    /// A value of some kind.
    pub fn value<T: FromStr>(self, name: &str) -> Option<T> {
        self.text(name)?.parse().ok()
    }

    /// What stands between commas.
    pub fn list(self, name: &str) -> impl Iterator<Item = &'a str> {
        self.text(name).into_iter().flat_map(|text| text.split(',')).map(str::trim).filter(|item| !item.is_empty())
    }

    /// Networks, or addresses.
    pub fn networks(self, name: &str) -> Vec<IpNet> {
        let network = |text: &str| text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).ok();
        self.list(name).filter_map(network).collect()
    }
}

/// Requests are sent elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Redirect {
    /// The status of the answer.
    pub code: StatusCode,
    /// Where to.
    pub location: String,
}

impl Redirect {
    fn of(annotations: Annotations<'_>) -> Option<Self> {
        [("temporal-redirect", StatusCode::FOUND), ("permanent-redirect", StatusCode::MOVED_PERMANENTLY)]
            .into_iter()
            .find_map(|(name, usual)| {
                let given = annotations.value(&format!("{name}-code")).and_then(|code| StatusCode::from_u16(code).ok());
                let code = given.filter(StatusCode::is_redirection).unwrap_or(usual);
                Some(Self { code, location: annotations.text(name)?.to_owned() })
            })
    }
}

/// What an Ingress asks for, for all its rules.
#[derive(Clone, Debug, Default)]
pub struct Settings {
    /// The path that backends get.
    pub rewrite: Option<String>,
    /// Paths are regular expressions.
    pub use_regex: bool,
    /// Requests without TLS are sent to come again with it, where the host has a certificate.
    pub ssl_redirect: bool,
    /// They are, whether or not it has one.
    pub force_ssl_redirect: bool,
    /// All requests are sent elsewhere.
    pub redirect: Option<Redirect>,
    /// Requests for `/` are sent there.
    pub app_root: Option<String>,
    /// Other names of the hosts.
    pub aliases: Vec<String>,
    /// Who may ask.
    pub access: Access,
    /// How often one client may ask.
    pub limit: Option<Rate>,
    /// Whose name and password is asked for.
    pub auth: Option<Auth>,
    /// Which other sites' scripts may ask.
    pub cors: Option<Cors>,
    /// Clients stay with the endpoint that they had.
    pub affinity: Option<Affinity>,
    /// This Ingress takes some of the requests of another one.
    pub canary: Option<Canary>,
    /// How backends are spoken to.
    pub upstream: Upstream,
    /// The longest body of a request, in bytes; none: any.
    pub max_body: Option<u64>,
    /// The statuses in whose place the default backend answers.
    pub custom_errors: Vec<u16>,
    /// The Service that answers in others' place.
    pub default_backend: Option<String>,
}

impl Settings {
    /// What this Ingress asks for.
    pub fn of(ingress: &Ingress) -> Self {
        let all = Annotations::of(ingress);
        let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
        Self {
            rewrite: all.text("rewrite-target").map(str::to_owned),
            use_regex: all.is("use-regex", false),
            ssl_redirect: all.is("ssl-redirect", true),
            force_ssl_redirect: all.is("force-ssl-redirect", false),
            redirect: Redirect::of(all),
            app_root: all.text("app-root").filter(|path| path.starts_with('/')).map(str::to_owned),
            aliases: all.list("server-alias").map(str::to_lowercase).collect(),
            access: Access::of(all),
            limit: Rate::of(all),
            auth: Auth::of(all, namespace),
            cors: Cors::of(all),
            affinity: Affinity::of(all),
            canary: Canary::of(all),
            upstream: Upstream {
                protocol: all.text("backend-protocol").and_then(|name| name.parse().ok()).unwrap_or_default(),
                read_timeout: all.value("proxy-read-timeout").map_or(READ_TIMEOUT, Duration::from_secs),
                host: all.text("upstream-vhost").map(str::to_owned),
                prefix: all.text("x-forwarded-prefix").map(str::to_owned),
            },
            max_body: match all.text("proxy-body-size").and_then(size) {
                Some(0) => None,
                given => Some(given.unwrap_or(MAX_BODY)),
            },
            custom_errors: all.list("custom-http-errors").filter_map(|code| code.parse().ok()).collect(),
            default_backend: all.text("default-backend").map(str::to_owned),
        }
    }

    /// The paths of a host are regular expressions because of this Ingress. Source: `NeedsRewrite` of ingress-nginx.
    pub fn needs_expressions(&self, path: &str) -> bool {
        self.use_regex || self.rewrite.as_deref().is_some_and(|target| target != path)
    }
}

/// `8m`: a size as nginx writes it.
fn size(text: &str) -> Option<u64> {
    let (number, unit) = match text.to_ascii_lowercase().as_str() {
        text if text.ends_with('k') => (text.trim_end_matches('k').to_owned(), 1 << 10),
        text if text.ends_with('m') => (text.trim_end_matches('m').to_owned(), 1 << 20),
        text if text.ends_with('g') => (text.trim_end_matches('g').to_owned(), 1 << 30),
        text => (text.to_owned(), 1),
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn settings(annotations: Value) -> Settings {
        let mut all = serde_json::Map::new();
        for (name, value) in annotations.as_object().unwrap() {
            all.insert(format!("{PREFIX}{name}"), value.clone());
        }
        let ingress = json!({"metadata": {"name": "web", "namespace": "shop", "annotations": all}});
        Settings::of(&serde_json::from_value(ingress).unwrap())
    }

    #[test]
    fn sizes_are_nginx_own() {
        for (text, expected) in [
            ("8m", Some(8 << 20)),
            ("8M", Some(8 << 20)),
            ("1k", Some(1024)),
            ("2g", Some(2 << 30)),
            ("100", Some(100)),
            ("0", None),
            ("nonsense", Some(MAX_BODY)),
        ] {
            assert_eq!(settings(json!({"proxy-body-size": text})).max_body, expected, "{text}");
        }
        assert_eq!(settings(json!({})).max_body, Some(MAX_BODY));
    }

    #[test]
    fn redirects_have_their_codes() {
        for (annotations, expected) in [
            (json!({}), None),
            (json!({"permanent-redirect": "https://x.org"}), Some((301, "https://x.org"))),
            (
                json!({"permanent-redirect": "https://x.org", "permanent-redirect-code": "308"}),
                Some((308, "https://x.org")),
            ),
            (
                json!({"permanent-redirect": "https://x.org", "permanent-redirect-code": "200"}),
                Some((301, "https://x.org")),
            ),
            (
                json!({"temporal-redirect": "https://y.org", "permanent-redirect": "https://x.org"}),
                Some((302, "https://y.org")),
            ),
        ] {
            let found = settings(annotations.clone()).redirect;
            let found = found.as_ref().map(|found| (found.code.as_u16(), found.location.as_str()));
            assert_eq!(found, expected, "{annotations}");
        }
    }

    #[test]
    fn what_cannot_be_read_counts_as_if_it_were_not_there() {
        let odd = settings(json!({"ssl-redirect": "perhaps", "proxy-read-timeout": "soon", "rate-limit": "100",
            "backend-protocol": "SMOKE", "limit-rps": "many", "custom-http-errors": "404, x,503"}));
        assert!(odd.ssl_redirect && odd.limit.is_none());
        assert_eq!(odd.upstream, Upstream { read_timeout: READ_TIMEOUT, ..Upstream::default() });
        assert_eq!(odd.custom_errors, [404, 503]);
    }
}
