//! The metrics API's documents. Source: `k8s.io/metrics/pkg/apis/metrics/v1beta1`, and metrics-server's `pkg/api`.

use kubelab_api::{Error, Reason};
use serde_json::{Value, json};

use super::usage::{Book, Used};

const GROUP: &str = "metrics.k8s.io";
const GROUP_VERSION: &str = "metrics.k8s.io/v1beta1";

/// What a request is for.
#[derive(Debug, PartialEq, Eq)]
pub enum Asked {
    /// What the server serves.
    Document(Value),
    /// Numbers.
    Objects(Objects),
}

/// Which numbers.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Objects {
    /// Of nodes; else of pods.
    pub of_nodes: bool,
    /// The pods' namespace; all where it is empty.
    pub namespace: String,
    /// Of one alone.
    pub name: Option<String>,
    /// A label selector.
    pub labels: String,
    /// The name that a field selector asks for.
    field_name: Option<String>,
}

impl Asked {
    /// What a path and its query ask for.
    pub fn of(path: &str, query: &str) -> Option<Self> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let version = json!({"groupVersion": GROUP_VERSION, "version": "v1beta1"});
        let group = json!({"name": GROUP, "versions": [version], "preferredVersion": version});
        let with = |kind: &str, mut value: Value| {
            value["kind"] = kind.into();
            value["apiVersion"] = "v1".into();
            Self::Document(value)
        };
        match parts[..] {
            ["apis"] => return Some(with("APIGroupList", json!({"groups": [group]}))),
            ["apis", GROUP] => return Some(with("APIGroup", group)),
            ["apis", GROUP, "v1beta1"] => return Some(with("APIResourceList", resources())),
            _ => {}
        }
        let ["apis", GROUP, "v1beta1", rest @ ..] = &parts[..] else { return None };
        let mut objects = match rest {
            ["nodes", name @ ..] => Objects { of_nodes: true, name: one(name)?, ..Objects::default() },
            ["pods"] => Objects::default(),
            ["namespaces", namespace, "pods", name @ ..] => {
                Objects { namespace: (*namespace).to_owned(), name: one(name)?, ..Objects::default() }
            }
            _ => return None,
        };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*key {
                "labelSelector" => objects.labels = value.into_owned(),
                "fieldSelector" => {
                    let name = value.strip_prefix("metadata.name=").map(|name| name.trim_start_matches('='));
                    objects.field_name = name.map(str::to_owned);
                }
                _ => {}
            }
        }
        Some(Self::Objects(objects))
    }
}

fn one(name: &[&str]) -> Option<Option<String>> {
    match name {
        [] => Some(None),
        [name] => Some(Some((*name).to_owned())),
        _ => None,
    }
}

fn resources() -> Value {
    let resource = |name: &str, kind: &str, namespaced: bool| json!({"name": name, "singularName": "", "namespaced": namespaced, "kind": kind, "verbs": ["get", "list"]});
    let resources = [resource("nodes", "NodeMetrics", false), resource("pods", "PodMetrics", true)];
    json!({"groupVersion": GROUP_VERSION, "resources": resources})
}

/// The answer; `chosen` are the namespaces and names that a label selector leaves.
pub fn answer(book: &Book, objects: &Objects, chosen: Option<&[(String, String)]>) -> Result<Value, Error> {
    let wanted = |namespace: &str, name: &str| {
        (objects.namespace.is_empty() || objects.namespace == namespace)
            && objects.name.as_deref().is_none_or(|wanted| wanted == name)
            && objects.field_name.as_deref().is_none_or(|wanted| wanted == name)
            && chosen.is_none_or(|chosen| chosen.iter().any(|(of, known)| of == namespace && known == name))
    };
    let (kind, mut items): (&str, Vec<Value>) = if objects.of_nodes {
        let nodes = book.nodes().filter(|(name, _)| wanted("", name));
        let node = |(name, used): (&str, Used)| {
            let mut object = object("NodeMetrics", json!({"name": name}), used);
            object["usage"] = usage(used);
            object
        };
        ("NodeMetrics", nodes.map(node).collect())
    } else {
        let pods = book.pods().into_iter().filter(|((namespace, name), _)| wanted(namespace, name));
        let pod = |((namespace, name), containers): ((&str, &str), Vec<(&str, Used)>)| {
            let last = containers.iter().map(|(_, used)| *used).reduce(|a, b| if a.at > b.at { a } else { b })?;
            let meta = json!({"name": name, "namespace": namespace});
            let mut object = object("PodMetrics", meta, last);
            let containers = containers.iter().map(|(name, used)| json!({"name": name, "usage": usage(*used)}));
            object["containers"] = containers.collect();
            Some(object)
        };
        ("PodMetrics", pods.filter_map(pod).collect())
    };
    if let Some(name) = &objects.name {
        let plural = if objects.of_nodes { "nodes" } else { "pods" };
        let place = if objects.of_nodes { name.clone() } else { format!("{}/{name}", objects.namespace) };
        let missing = || Error::new(Reason::NotFound, format!("{plural}.metrics.k8s.io {place:?} not found"));
        return items.pop().ok_or_else(missing);
    }
    Ok(json!({"kind": format!("{kind}List"), "apiVersion": GROUP_VERSION, "metadata": {}, "items": items}))
}

fn object(kind: &str, mut meta: Value, used: Used) -> Value {
    let time = used.at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    meta["creationTimestamp"] = time.clone().into();
    let window = format!("{:.3}s", used.window);
    json!({"kind": kind, "apiVersion": GROUP_VERSION, "metadata": meta, "timestamp": time, "window": window})
}

fn usage(used: Used) -> Value {
    // Times are not told to the nanosecond, and kubectl rounds up: 300m would be 301m.
    let nanos = (used.cpu * 1e5).round().max(0.0) as u64 * 10_000;
    let kibis = (used.memory / 1024.0).round().max(0.0) as u64;
    let cpu = if nanos == 0 { "0".to_owned() } else { format!("{nanos}n") };
    json!({"cpu": cpu, "memory": format!("{kibis}Ki")})
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::metrics::scrape;

    fn book() -> Book {
        let page = |pod: &str, cpu: f64| {
            let of = format!("{{container=\"c\",namespace=\"shop\",pod=\"{pod}\"}}");
            let node = format!("node_cpu_usage_seconds_total {cpu} 20000\nnode_memory_working_set_bytes 4096 20000\n");
            scrape::page(&format!(
                "container_cpu_usage_seconds_total{of} {cpu} 20000\ncontainer_start_time_seconds{of} 10 20000\n\
                 container_memory_working_set_bytes{of} 2048 20000\n{node}"
            ))
        };
        let mut book = Book::default();
        book.turn(vec![("node-1".into(), page("web-1", 1.0)), ("node-2".into(), page("web-2", 2.5))]);
        book
    }

    #[test]
    fn requests_are_answered() {
        let names = |path: &str, query: &str, chosen: Option<&[(String, String)]>| {
            let Some(Asked::Objects(objects)) = Asked::of(path, query) else { return Err(format!("no {path}")) };
            let list = answer(&book(), &objects, chosen).map_err(|error| error.message)?;
            let name = |item: &Value| item["metadata"]["name"].as_str().unwrap().to_owned();
            Ok(match list["items"].as_array() {
                Some(items) => items.iter().map(name).collect::<Vec<_>>().join(" "),
                None => format!("one {}", name(&list)),
            })
        };
        let base = "/apis/metrics.k8s.io/v1beta1";
        let chosen = [("shop".to_owned(), "web-2".to_owned())];
        for (path, query, chosen, expected) in [
            ("/nodes", "", None, Ok("node-1 node-2")),
            ("/nodes/node-2", "", None, Ok("one node-2")),
            ("/nodes/node-9", "", None, Err(r#"nodes.metrics.k8s.io "node-9" not found"#)),
            ("/pods", "limit=5", None, Ok("web-1 web-2")),
            ("/pods", "labelSelector=app%3Dweb", Some(&chosen[..]), Ok("web-2")),
            ("/namespaces/shop/pods", "fieldSelector=metadata.name%3Dweb-1", None, Ok("web-1")),
            ("/namespaces/shop/pods/web-1", "", None, Ok("one web-1")),
            ("/namespaces/other/pods", "", None, Ok("")),
            ("/namespaces/other/pods/web-1", "", None, Err(r#"pods.metrics.k8s.io "other/web-1" not found"#)),
            ("/services", "", None, Err("no /apis/metrics.k8s.io/v1beta1/services")),
        ] {
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(names(&format!("{base}{path}"), query, chosen), expected, "{path}?{query}");
        }
        let Some(Asked::Objects(objects)) = Asked::of(&format!("{base}/namespaces/shop/pods/web-2"), "") else {
            panic!()
        };
        let pod = answer(&book(), &objects, None).unwrap();
        assert_eq!(pod["containers"], json!([{"name": "c", "usage": {"cpu": "250000000n", "memory": "2Ki"}}]));
        assert_eq!((&pod["timestamp"], &pod["window"]), (&json!("1970-01-01T00:00:20Z"), &json!("10.000s")));
    }

    #[test]
    fn the_group_is_discovered() {
        let Some(Asked::Document(list)) = Asked::of("/apis/metrics.k8s.io/v1beta1/", "") else { panic!() };
        assert_eq!(list["resources"][1]["kind"], "PodMetrics");
        assert!(matches!(Asked::of("/apis/metrics.k8s.io", ""), Some(Asked::Document(_))));
        assert!(Asked::of("/metrics", "").is_none());
    }
}
