//! Which backend a request goes to. Source of the rules: the API's documentation of `HTTPIngressPath` and `IngressRule`,
//! and how ingress-nginx orders its locations.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use http::HeaderMap;
use k8s_openapi::api::networking::v1::{HTTPIngressPath, Ingress, IngressBackend, IngressClass, IngressRule};
use regex::Regex;

use super::{annotations::Settings, canary::Canary};

/// How ingress-nginx calls itself in IngressClasses.
pub const CONTROLLER: &str = "k8s.io/ingress-nginx";

/// The annotation that named a class before there were classes.
const CLASS: &str = "kubernetes.io/ingress.class";
const OLD_CLASS: &str = "nginx";

/// A Service's port.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// By its number.
    Number(i32),
    /// By its name.
    Name(String),
    /// The first that the Service has.
    First,
}

/// A Service that requests go to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Backend {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub service: String,
    /// Its port.
    pub port: Port,
}

impl Backend {
    fn of(namespace: &str, backend: &IngressBackend) -> Option<Self> {
        let service = backend.service.as_ref()?;
        let port = service.port.as_ref();
        let name = port.and_then(|port| port.name.clone()).filter(|name| !name.is_empty());
        let port = match name {
            Some(name) => Port::Name(name),
            None => Port::Number(port.and_then(|port| port.number).unwrap_or_default()),
        };
        Some(Self { namespace: namespace.to_owned(), service: service.name.clone(), port })
    }
}

/// What a path must be like.
#[derive(Clone, Debug)]
enum Matcher {
    Exact(String),
    /// Whole elements: `/foo` takes `/foo/bar` but not `/foobar`.
    Prefix(String),
    /// Any text: what nginx does where the type is left to it.
    Text(String),
    Expression(Box<Regex>),
}

impl Matcher {
    fn takes(&self, path: &str) -> bool {
        match self {
            Self::Exact(own) => own == path,
            Self::Prefix(own) => {
                let own = own.trim_end_matches('/');
                path.strip_prefix(own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            }
            Self::Text(own) => path.starts_with(own.as_str()),
            Self::Expression(own) => own.is_match(path),
        }
    }

    /// Exact paths first, then the longest.
    fn weight(&self) -> (bool, usize) {
        match self {
            Self::Exact(own) => (true, own.len()),
            Self::Prefix(own) | Self::Text(own) => (false, own.len()),
            Self::Expression(own) => (false, own.as_str().len()),
        }
    }
}

/// A rule for some requests.
#[derive(Clone, Debug)]
pub struct Route {
    host: String,
    /// As the Ingress has it.
    path: String,
    matcher: Matcher,
    /// Where they go.
    pub backend: Option<Backend>,
    /// Requests without TLS are sent to come again with it.
    pub redirects: bool,
    /// The Ingress: its namespace and name.
    pub ingress: (String, String),
    /// What the Ingress asks for.
    pub settings: Arc<Settings>,
    /// Who takes some of the requests.
    canary: Option<(Canary, Backend)>,
}

impl Route {
    /// The path that the backend gets for this one.
    pub fn rewritten(&self, path: &str) -> String {
        match (&self.settings.rewrite, &self.matcher) {
            (Some(target), Matcher::Expression(own)) => match own.captures(path) {
                Some(captures) => {
                    let mut out = String::new();
                    captures.expand(&numbered(target), &mut out);
                    if out.is_empty() { "/".to_owned() } else { out }
                }
                None => path.to_owned(),
            },
            _ => path.to_owned(),
        }
    }

    /// Where a request with these headers goes. `draw`: chance, from 0 to 1.
    pub fn choose(&self, headers: &HeaderMap, draw: f64) -> Option<&Backend> {
        let canary = self.canary.as_ref().filter(|(canary, _)| canary.takes(headers, draw));
        canary.map(|(_, backend)| backend).or(self.backend.as_ref())
    }

    /// The Service that answers in others' place.
    pub fn fallback(&self) -> Option<Backend> {
        let service = self.settings.default_backend.clone()?;
        Some(Backend { namespace: self.ingress.0.clone(), service, port: Port::First })
    }

    /// The path of the rule, as cookies may name it.
    pub fn cookie_path(&self) -> &str {
        match self.matcher {
            Matcher::Exact(_) | Matcher::Prefix(_) | Matcher::Text(_) if !self.path.is_empty() => &self.path,
            _ => "/",
        }
    }
}

/// `$1x` as nginx reads it: the first group, then an `x`.
fn numbered(target: &str) -> String {
    let mut out = String::new();
    let mut chars = target.chars().peekable();
    while let Some(c) = chars.next() {
        match chars.peek() {
            Some(digit) if c == '$' && digit.is_ascii_digit() => {
                out.push_str(&format!("${{{digit}}}"));
                chars.next();
            }
            _ => out.push(c),
        }
    }
    out
}

/// A Secret with a certificate, and the hosts that it is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    host: String,
    /// The Secret's namespace.
    pub namespace: String,
    /// The Secret's name.
    pub secret: String,
}

/// All rules of this controller's Ingresses.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// The best first.
    routes: Vec<Route>,
    certificates: Vec<Certificate>,
    hosts: BTreeSet<String>,
    /// Other names of hosts.
    aliases: BTreeMap<String, String>,
    default: Option<Route>,
}

impl Table {
    /// The rules of those Ingresses that are this controller's, older ones first.
    pub fn of(ingresses: &[Arc<Ingress>]) -> Self {
        let mut sorted: Vec<(&Ingress, Arc<Settings>)> =
            ingresses.iter().map(|ingress| (&**ingress, Arc::new(Settings::of(ingress)))).collect();
        // Source: ingress-nginx lets the older Ingress keep a path that two want.
        sorted.sort_by_cached_key(|(ingress, _)| {
            let meta = &ingress.metadata;
            (meta.creation_timestamp.as_ref().map(|time| time.0), meta.namespace.clone(), meta.name.clone())
        });
        let (canaries, main): (Vec<_>, Vec<_>) =
            sorted.into_iter().partition(|(_, settings)| settings.canary.is_some());
        // Source: ingress-nginx reads all paths of a host as expressions as soon as one has to be.
        let expressive: BTreeSet<String> =
            main.iter().flat_map(|(ingress, settings)| expressive(ingress, settings)).collect();
        let mut table = Self::default();
        main.iter().for_each(|(ingress, settings)| table.add(ingress, settings, &expressive));
        canaries.iter().for_each(|(ingress, settings)| table.add_canary(ingress, settings));
        table.routes.sort_by_key(|route| std::cmp::Reverse(route.matcher.weight()));
        table
    }

    fn add(&mut self, ingress: &Ingress, settings: &Arc<Settings>, expressive: &BTreeSet<String>) {
        let Some(spec) = &ingress.spec else { return };
        let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
        let owner = (namespace.to_owned(), ingress.metadata.name.clone().unwrap_or_default());
        let secured: Vec<&str> =
            spec.tls.iter().flatten().flat_map(|tls| tls.hosts.iter().flatten()).map(String::as_str).collect();
        for tls in spec.tls.iter().flatten() {
            for host in tls.hosts.iter().flatten() {
                let secret = tls.secret_name.clone().unwrap_or_default();
                self.certificates.push(Certificate { host: host.clone(), namespace: namespace.to_owned(), secret });
            }
        }
        let route = |host: &str, path: &str, matcher, backend| Route {
            host: host.to_owned(),
            path: path.to_owned(),
            matcher,
            backend,
            redirects: settings.force_ssl_redirect
                || (settings.ssl_redirect && secured.iter().any(|own| is_host(own, host))),
            ingress: owner.clone(),
            settings: settings.clone(),
            canary: None,
        };
        let default = spec.default_backend.as_ref().and_then(|backend| Backend::of(namespace, backend));
        for rule in spec.rules.iter().flatten() {
            let host = host_of(rule);
            self.hosts.insert(host.clone());
            let aliases = settings.aliases.iter().filter(|alias| **alias != host);
            self.aliases.extend(aliases.map(|alias| (alias.clone(), host.clone())));
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                let matcher = matcher(path, expressive.contains(&host));
                self.routes.push(route(&host, text_of(path), matcher, Backend::of(namespace, &path.backend)));
            }
            if let Some(default) = &default {
                self.routes.push(route(&host, "", Matcher::Text(String::new()), Some(default.clone())));
            }
        }
        if spec.rules.as_ref().is_none_or(Vec::is_empty) && self.default.is_none() && default.is_some() {
            self.default = Some(route("", "", Matcher::Text(String::new()), default));
        }
    }

    /// Gives a canary's backends to the rules with its hosts and paths. One that has nobody to share with does nothing.
    fn add_canary(&mut self, ingress: &Ingress, settings: &Settings) {
        let (Some(spec), Some(canary)) = (&ingress.spec, &settings.canary) else { return };
        let namespace = ingress.metadata.namespace.as_deref().unwrap_or_default();
        for rule in spec.rules.iter().flatten() {
            let host = host_of(rule);
            for path in rule.http.iter().flat_map(|http| &http.paths) {
                let mut shared =
                    self.routes.iter_mut().filter(|route| route.host == host && route.path == text_of(path));
                if let (Some(route), Some(backend)) = (shared.next(), Backend::of(namespace, &path.backend))
                    && route.canary.is_none()
                {
                    route.canary = Some((canary.clone(), backend));
                }
            }
        }
    }

    /// The rule for a request.
    pub fn find(&self, host: &str, path: &str) -> Option<&Route> {
        let host = host.to_lowercase();
        let server = self.server(&host)?;
        self.routes.iter().find(|route| route.host == *server && route.matcher.takes(path))
    }

    /// Where requests go that no rule is for.
    pub fn rest(&self) -> Option<&Route> {
        self.default.as_ref()
    }

    /// The host whose rules a request falls under: its own name, what that is another name of, the one with an asterisk, or
    /// none.
    fn server(&self, host: &str) -> Option<&str> {
        let wildcard = host.split_once('.').map(|(_, domain)| format!("*.{domain}")).unwrap_or_default();
        let alias = self.aliases.get(host).map_or(host, String::as_str);
        [host, alias, &wildcard, ""].into_iter().find_map(|name| self.hosts.get(name)).map(String::as_str)
    }

    /// The Secret with the certificate for a host.
    pub fn certificate(&self, host: &str) -> Option<&Certificate> {
        let exact = self.certificates.iter().find(|certificate| certificate.host.eq_ignore_ascii_case(host));
        exact.or_else(|| self.certificates.iter().find(|certificate| is_host(&certificate.host, host)))
    }
}

fn host_of(rule: &IngressRule) -> String {
    rule.host.clone().unwrap_or_default().to_lowercase()
}

fn text_of(path: &HTTPIngressPath) -> &str {
    path.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/")
}

/// The hosts whose paths are regular expressions because of this Ingress.
fn expressive(ingress: &Ingress, settings: &Settings) -> Vec<String> {
    let rules = ingress.spec.iter().flat_map(|spec| spec.rules.iter().flatten());
    let needs = |rule: &&IngressRule| {
        rule.http.iter().flat_map(|http| &http.paths).any(|path| settings.needs_expressions(text_of(path)))
    };
    rules.filter(needs).map(host_of).collect()
}

fn matcher(path: &HTTPIngressPath, is_regex: bool) -> Matcher {
    let text = text_of(path).to_owned();
    match path.path_type.as_str() {
        kind if is_regex => {
            // Source: ingress-nginx' locations with expressions, `~* "^path"`, whatever the type.
            match Regex::new(&format!("(?i)^{text}")) {
                Ok(own) => Matcher::Expression(Box::new(own)),
                Err(_) if kind == "Prefix" => Matcher::Prefix(text),
                Err(_) => Matcher::Text(text),
            }
        }
        "Exact" => Matcher::Exact(text),
        "Prefix" => Matcher::Prefix(text),
        _ => Matcher::Text(text),
    }
}

/// Whether a host is the one that a rule names, perhaps with an asterisk for its first label.
fn is_host(rule: &str, host: &str) -> bool {
    match rule.strip_prefix("*.") {
        Some(domain) => host.split_once('.').is_some_and(|(_, own)| own.eq_ignore_ascii_case(domain)),
        None => rule.eq_ignore_ascii_case(host),
    }
}

/// Whether an Ingress is this controller's.
pub fn is_ours(ingress: &Ingress, classes: &[Arc<IngressClass>], controller: &str) -> bool {
    let annotated = ingress.metadata.annotations.as_ref().and_then(|all| all.get(CLASS));
    if let Some(class) = annotated {
        return class == OLD_CLASS;
    }
    let Some(class) = ingress.spec.as_ref().and_then(|spec| spec.ingress_class_name.as_ref()) else { return false };
    classes.iter().any(|known| {
        known.metadata.name.as_ref() == Some(class)
            && known.spec.as_ref().and_then(|spec| spec.controller.as_deref()) == Some(controller)
    })
}

#[cfg(test)]
mod tests;
