//! What is served, as clients find out: the old documents by group and version, and the aggregated one.
//! Source: `k8s.io/apiserver/pkg/endpoints/discovery` and KEP-3352.

pub mod subresource;

use std::{
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY},
};
use kubelab_api::Resource;
use serde_json::{Value, json};

use crate::{
    aggregation::{
        View,
        merge::{Group, groups},
    },
    doors::{
        Body,
        rest::{answer, negotiate},
    },
    registry::Registry,
};

/// Answers `/api`, `/apis` and what is below them; `None` for every other path.
pub fn answer(
    registry: &Registry,
    view: &View,
    server: &str,
    path: &str,
    headers: &HeaderMap,
) -> Option<Response<Body>> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    let resources = registry.resources();
    if let ["api" | "apis"] = parts[..]
        && let Some(version) = aggregated_version(headers)
    {
        let core = parts[0] == "api";
        return Some(aggregated_answer(&aggregated(&resources, view, core, version), version, headers));
    }
    let document = match parts[..] {
        // Source: `getServerAddressByClientCIDRs` in `k8s.io/apiserver/pkg/endpoints/discovery`.
        ["api"] => json!({
            "kind": "APIVersions",
            "versions": ["v1"],
            "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": server }],
        }),
        ["apis"] => {
            let groups: Vec<Value> = groups(&resources, view).iter().map(group).collect();
            json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": groups })
        }
        ["apis", name] => {
            let groups = groups(&resources, view);
            let mut document = group(groups.iter().find(|known| known.name == name)?);
            document["kind"] = "APIGroup".into();
            document["apiVersion"] = "v1".into();
            document
        }
        ["api", version] => resource_list(&resources, "", version)?,
        ["apis", group, version] => resource_list(&resources, group, version)?,
        _ => return None,
    };
    Some(answer::object(StatusCode::OK, document.to_string().into(), answer::Wrapping::default()))
}

fn group(group: &Group) -> Value {
    let name = &group.name;
    let version = |version: &String| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    let versions: Vec<Value> = group.versions.iter().map(version).collect();
    json!({ "name": name, "preferredVersion": versions[0], "versions": versions })
}

fn resource_list(resources: &[Arc<Resource>], group: &str, version: &str) -> Option<Value> {
    let mut list = Vec::new();
    for resource in resources.iter().filter(|resource| resource.group == group && resource.version == version) {
        let mut entry = json!({
            "name": resource.plural,
            "singularName": resource.singular,
            "namespaced": resource.namespaced,
            "kind": resource.kind,
            "verbs": resource.verbs.names(),
        });
        add_names(&mut entry, resource);
        list.push(entry);
        for name in resource.subresources.iter() {
            let Some(part) = subresource::find(resource, name) else { continue };
            let mut entry = json!({
                "name": format!("{}/{name}", resource.plural),
                "singularName": "",
                "namespaced": resource.namespaced,
                "kind": if part.kind.is_empty() { &*resource.kind } else { part.kind },
                "verbs": part.verbs,
            });
            if !part.kind.is_empty() {
                entry["version"] = part.version.into();
                if !part.group.is_empty() {
                    entry["group"] = part.group.into();
                }
            }
            list.push(entry);
        }
    }
    let group_version = if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
    (!list.is_empty()).then(
        || json!({ "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": group_version, "resources": list }),
    )
}

fn add_names(entry: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        entry["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        entry["categories"] = json!(resource.categories);
    }
}

/// The version of the aggregated document that the caller wants most; `None` when it wants the old ones.
fn aggregated_version(headers: &HeaderMap) -> Option<&'static str> {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok());
    for clause in negotiate::clauses(accept).iter().filter(|clause| clause.allows("application/json")) {
        match (clause.parameter("g"), clause.parameter("v"), clause.parameter("as")) {
            ("apidiscovery.k8s.io", "v2", "APIGroupDiscoveryList") => return Some("v2"),
            ("apidiscovery.k8s.io", "v2beta1", "APIGroupDiscoveryList") => return Some("v2beta1"),
            ("", "", "") => return None,
            _ => {}
        }
    }
    None
}

fn aggregated(resources: &[Arc<Resource>], view: &View, core: bool, version: &str) -> Value {
    let of = |group: &str, version: &str| {
        if let Some(remote) = view.remotes().find(|remote| remote.group == group && remote.version == version) {
            return remote.discovery();
        }
        let served = resources.iter().filter(|r| r.group == group && r.version == version);
        let resources: Vec<Value> = served.map(|resource| aggregated_resource(resource)).collect();
        json!({ "version": version, "resources": resources, "freshness": "Current" })
    };
    let items: Vec<Value> = if core {
        vec![json!({ "metadata": {}, "versions": [of("", "v1")] })]
    } else {
        let group = |group: &Group| {
            let versions: Vec<Value> = group.versions.iter().map(|version| of(&group.name, version)).collect();
            json!({ "metadata": { "name": group.name }, "versions": versions })
        };
        groups(resources, view).iter().map(group).collect()
    };
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{version}"),
        "metadata": {},
        "items": items,
    })
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({ "group": group, "version": version, "kind": kind });
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular,
        "verbs": resource.verbs.names(),
    });
    add_names(&mut entry, resource);
    let parts: Vec<Value> = resource
        .subresources
        .iter()
        .filter_map(|name| {
            let part = subresource::find(resource, name)?;
            let response_kind = match part.kind {
                "" => kind(&resource.group, &resource.version, &resource.kind),
                own => kind(part.group, part.version, own),
            };
            Some(json!({ "subresource": name, "responseKind": response_kind, "verbs": part.verbs }))
        })
        .collect();
    if !parts.is_empty() {
        entry["subresources"] = parts.into();
    }
    entry
}

fn aggregated_answer(document: &Value, version: &str, headers: &HeaderMap) -> Response<Body> {
    let text = document.to_string();
    let etag = etag(text.as_bytes());
    let known = headers.get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes());
    let mut response = Response::new(answer::full(if known { String::new() } else { text }));
    if known {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
    }
    let media_type = format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
    let headers = response.headers_mut();
    for (name, value) in [(CONTENT_TYPE, media_type), (ETAG, etag)] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            headers.insert(name, value);
        }
    }
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public"));
    response
}

/// Names a document by what it says, alike on every apiserver of the same build.
pub fn etag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    format!("\"{:016X}\"", hasher.finish())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use kubelab_api::resource::BUILT_IN;

    use super::*;

    fn served() -> Vec<Arc<Resource>> {
        BUILT_IN.iter().cloned().map(Arc::new).collect()
    }

    #[test]
    fn groups_prefer_their_first_version() {
        let served = served();
        let groups = groups(&served, &View::default());
        let autoscaling = groups.iter().find(|group| group.name == "autoscaling").unwrap();
        assert_eq!(autoscaling.versions, ["v2", "v1"]);
        assert_eq!(group(autoscaling)["preferredVersion"]["groupVersion"], "autoscaling/v2");
    }

    #[test]
    fn parts_show_their_own_kind() {
        let list = resource_list(&served(), "apps", "v1").unwrap();
        let of = |name: &str| list["resources"].as_array().unwrap().iter().find(|r| r["name"] == name).unwrap().clone();
        assert_eq!(of("deployments")["shortNames"], json!(["deploy"]));
        assert_eq!(of("deployments/scale")["kind"], "Scale");
        assert_eq!(of("deployments/scale")["group"], "autoscaling");
        assert_eq!(of("deployments/status")["kind"], "Deployment");
        assert_eq!(resource_list(&served(), "apps", "v9"), None);
    }

    #[test]
    fn the_aggregated_document_holds_all_groups() {
        let document = aggregated(&served(), &View::default(), false, "v2");
        assert_eq!(document["apiVersion"], "apidiscovery.k8s.io/v2");
        let names: Vec<_> =
            document["items"].as_array().unwrap().iter().map(|g| g["metadata"]["name"].clone()).collect();
        assert!(names.contains(&json!("apps")) && !names.contains(&Value::Null));
        let core = aggregated(&served(), &View::default(), true, "v2beta1");
        let resources = core["items"][0]["versions"][0]["resources"].as_array().unwrap();
        let pods = resources.iter().find(|r| r["resource"] == "pods").unwrap();
        assert_eq!(pods["responseKind"], json!({ "group": "", "version": "v1", "kind": "Pod" }));
        let eviction =
            pods["subresources"].as_array().unwrap().iter().find(|s| s["subresource"] == "eviction").unwrap();
        assert_eq!(eviction["responseKind"]["group"], "policy");
    }

    #[test]
    fn a_known_document_is_not_sent_again() {
        let document = aggregated(&served(), &View::default(), true, "v2");
        let first = aggregated_answer(&document, "v2", &HeaderMap::new());
        assert_eq!(
            first.headers()[CONTENT_TYPE],
            "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
        );
        let headers = HeaderMap::from_iter([(IF_NONE_MATCH, first.headers()[ETAG].clone())]);
        assert_eq!(aggregated_answer(&document, "v2", &headers).status(), StatusCode::NOT_MODIFIED);
    }

    #[test]
    fn clients_say_which_document_they_want() {
        let wants = |accept: &str| {
            aggregated_version(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_str(accept).unwrap())]))
        };
        let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
        let v2beta1 = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
        assert_eq!(wants(&format!("{v2},{v2beta1},application/json")), Some("v2"));
        assert_eq!(wants(&format!("{v2beta1},application/json")), Some("v2beta1"));
        assert_eq!(wants("application/json, */*"), None);
        assert_eq!(wants("application/vnd.kubernetes.protobuf,application/json"), None);
    }
}
