#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn ingress(name: &str, annotations: Value, spec: Value) -> Arc<Ingress> {
    let metadata = json!({"name": name, "namespace": "shop", "annotations": annotations,
        "creationTimestamp": format!("2026-01-01T00:00:0{}Z", name.len())});
    Arc::new(serde_json::from_value(json!({"metadata": metadata, "spec": spec})).unwrap())
}

fn rule(host: &str, paths: &[(&str, &str, &str)]) -> Value {
    let path = |(kind, path, service): &(&str, &str, &str)| json!({"path": path, "pathType": kind, "backend": {"service": {"name": service, "port": {"number": 80}}}});
    let paths: Vec<Value> = paths.iter().map(path).collect();
    json!({"host": host, "http": {"paths": paths}})
}

fn backend(service: &str) -> Value {
    json!({"service": {"name": service, "port": {"name": "http"}}})
}

#[test]
fn requests_find_their_backends() {
    let table = Table::of(&[
        ingress(
            "b",
            json!({}),
            json!({"rules": [
                rule("web.example.com", &[("Prefix", "/", "web"), ("Exact", "/exact", "exact"), ("Prefix", "/long", "long"),
                                           ("Prefix", "/long/er", "longer"), ("ImplementationSpecific", "/text", "text")]),
                rule("api.example.com", &[("Prefix", "/v1", "v1"), ("Prefix", "/v2/", "v2")]),
                rule("*.example.com", &[("Prefix", "/", "any")]),
            ]}),
        ),
        ingress("aaa", json!({}), json!({"rules": [rule("web.example.com", &[("Prefix", "/", "younger")])]})),
        ingress(
            "cc",
            json!({}),
            json!({"defaultBackend": backend("own-default"), "rules": [rule("own.org", &[("Exact", "/a", "a")])]}),
        ),
    ]);
    for (host, path, expected) in [
        ("web.example.com", "/", "web"),
        ("WEB.example.com", "/x", "web"),
        ("web.example.com", "/exact", "exact"),
        ("web.example.com", "/exact/", "web"),
        ("web.example.com", "/long", "long"),
        ("web.example.com", "/longish", "web"),
        ("web.example.com", "/long/er/x", "longer"),
        ("web.example.com", "/textual", "text"),
        ("api.example.com", "/v1/users", "v1"),
        ("api.example.com", "/v2", "v2"),
        ("api.example.com", "/v3", ""),
        ("api.example.com", "/", ""),
        ("other.example.com", "/", "any"),
        ("a.b.example.com", "/", ""),
        ("own.org", "/a", "a"),
        ("own.org", "/b", "own-default"),
        ("unknown.org", "/", ""),
    ] {
        let found = table.find(host, path).and_then(|route| route.backend.as_ref());
        assert_eq!(found.map_or("", |backend| &backend.service), expected, "{host}{path}");
    }
    assert!(table.rest().is_none());
}

#[test]
fn an_ingress_without_rules_takes_what_is_left() {
    let table = Table::of(&[
        ingress("a", json!({}), json!({"defaultBackend": backend("rest")})),
        ingress(
            "bb",
            json!({}),
            json!({"rules": [{"http": {"paths": [
            {"path": "/", "pathType": "Prefix", "backend": backend("all")}]}}]}),
        ),
    ]);
    assert_eq!(table.rest().unwrap().backend.as_ref().unwrap().port, Port::Name("http".to_owned()));
    let found = table.find("anything", "/x").and_then(|route| route.backend.as_ref());
    assert_eq!(found.unwrap().service, "all");
}

#[test]
fn hosts_with_certificates_redirect_to_tls() {
    let tls = json!([{"hosts": ["web.example.com", "*.wild.com"], "secretName": "cert"}]);
    let rules =
        json!([rule("web.example.com", &[("Prefix", "/", "web")]), rule("api.example.com", &[("Prefix", "/", "api")])]);
    for (annotations, host, expected) in [
        (json!({}), "web.example.com", true),
        (json!({}), "api.example.com", false),
        (json!({"nginx.ingress.kubernetes.io/ssl-redirect": "false"}), "web.example.com", false),
        (json!({"nginx.ingress.kubernetes.io/force-ssl-redirect": "true"}), "api.example.com", true),
    ] {
        let table = Table::of(&[ingress("a", annotations.clone(), json!({"tls": tls, "rules": rules}))]);
        assert_eq!(table.find(host, "/").unwrap().redirects, expected, "{annotations} {host}");
        let secret = |host| table.certificate(host).map(|found| found.secret.as_str());
        assert_eq!(
            (secret("web.example.com"), secret("x.wild.com"), secret("x.org")),
            (Some("cert"), Some("cert"), None)
        );
    }
}

#[test]
fn paths_are_rewritten() {
    for (path, target, asked, expected) in [
        ("/app", "/", "/app/x", "/"),
        ("/app(/|$)(.*)", "/$2", "/app/x/y", "/x/y"),
        ("/app(/|$)(.*)", "/$2", "/app", "/"),
        ("/(v[0-9])/(.*)", "/$1x/$2", "/v1/a", "/v1x/a"),
    ] {
        let annotations = json!({"nginx.ingress.kubernetes.io/rewrite-target": target});
        let rules = json!([rule("a.b", &[("ImplementationSpecific", path, "web")])]);
        let table = Table::of(&[ingress("a", annotations, json!({"rules": rules}))]);
        assert_eq!(table.find("a.b", asked).unwrap().rewritten(asked), expected, "{path} {target} {asked}");
    }
}

#[test]
fn only_ingresses_of_its_classes_are_the_controllers() {
    let class = |name: &str, controller: &str| -> Arc<IngressClass> {
        let class = json!({"metadata": {"name": name}, "spec": {"controller": controller}});
        Arc::new(serde_json::from_value(class).unwrap())
    };
    let classes = [class("nginx", CONTROLLER), class("other", "example.com/other")];
    for (annotations, spec, expected) in [
        (json!({}), json!({"ingressClassName": "nginx"}), true),
        (json!({}), json!({"ingressClassName": "other"}), false),
        (json!({}), json!({"ingressClassName": "missing"}), false),
        (json!({}), json!({}), false),
        (json!({"kubernetes.io/ingress.class": "nginx"}), json!({}), true),
        (json!({"kubernetes.io/ingress.class": "traefik"}), json!({}), false),
    ] {
        assert_eq!(
            is_ours(&ingress("a", annotations.clone(), spec.clone()), &classes, CONTROLLER),
            expected,
            "{annotations} {spec}"
        );
    }
}

#[test]
fn one_expression_makes_all_paths_of_its_host_expressions() {
    let with = |annotations: Value| {
        Table::of(&[
            ingress("a", annotations, json!({"rules": [rule("a.b", &[("ImplementationSpecific", "/foo/.*", "any")])]})),
            ingress(
                "bb",
                json!({}),
                json!({"rules": [rule("a.b", &[("Exact", "/foo/bar", "exact"), ("Prefix", "/", "root")]),
                                                     rule("c.d", &[("Exact", "/foo", "other")])]}),
            ),
        ])
    };
    let found = |table: &Table, host: &str, path: &str| {
        let backend = table.find(host, path).and_then(|route| route.backend.clone());
        backend.map(|backend| backend.service).unwrap_or_default()
    };
    for (annotations, host, path, expected) in [
        (json!({}), "a.b", "/foo/bar/bar", "root"),
        (json!({"nginx.ingress.kubernetes.io/use-regex": "true"}), "a.b", "/foo/x", "any"),
        // Documented by ingress-nginx: the longest expression comes first, and an exact path is none any more.
        (json!({"nginx.ingress.kubernetes.io/use-regex": "true"}), "a.b", "/foo/bar/bar", "exact"),
        (json!({"nginx.ingress.kubernetes.io/use-regex": "true"}), "a.b", "/FOO/BAR", "exact"),
        (json!({"nginx.ingress.kubernetes.io/use-regex": "true"}), "c.d", "/foo/bar", ""),
    ] {
        assert_eq!(found(&with(annotations.clone()), host, path), expected, "{annotations} {host}{path}");
    }
}

#[test]
fn a_canary_shares_the_rule_of_another_ingress() {
    let annotations =
        json!({"nginx.ingress.kubernetes.io/canary": "true", "nginx.ingress.kubernetes.io/canary-weight": "20"});
    let canary = ingress(
        "a",
        annotations,
        json!({"rules": [rule("a.b", &[("Prefix", "/", "next"), ("Prefix", "/alone", "next")])]}),
    );
    let main = ingress("bb", json!({}), json!({"rules": [rule("a.b", &[("Prefix", "/", "web")])]}));
    let table = Table::of(&[canary.clone(), main]);
    let route = table.find("a.b", "/alone").unwrap();
    let chosen = |draw| route.choose(&HeaderMap::new(), draw).unwrap().service.clone();
    assert_eq!((chosen(0.1), chosen(0.9)), ("next".to_owned(), "web".to_owned()));
    assert!(Table::of(&[canary]).find("a.b", "/").is_none(), "a canary alone serves nobody");
}

#[test]
fn hosts_have_other_names() {
    let annotations = json!({"nginx.ingress.kubernetes.io/server-alias": "www.a.b, x.y"});
    let table = Table::of(&[
        ingress("a", annotations, json!({"rules": [rule("a.b", &[("Prefix", "/", "web")])]})),
        ingress("bb", json!({}), json!({"rules": [rule("x.y", &[("Prefix", "/", "own")])]})),
    ]);
    for (host, expected) in [("a.b", "web"), ("www.a.b", "web"), ("x.y", "own")] {
        let route = table.find(host, "/").unwrap();
        assert_eq!(route.backend.as_ref().unwrap().service, expected, "{host}");
    }
}
