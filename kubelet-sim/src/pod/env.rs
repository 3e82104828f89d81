//! A container's environment from its sources. Source of the rules: `makeEnvironmentVariables` in
//! `pkg/kubelet/kubelet_pods.go` of Kubernetes.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use k8s_openapi::api::core::v1::{ConfigMap, Container, EnvVarSource, Pod, ResourceFieldSelector, Secret};
use kubelab_api::Quantity;

use super::env_file;

/// Why an environment cannot be made; shown as the reason of `CreateContainerConfigError`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A source is not there.
    #[error("{kind} {name:?} not found")]
    Missing {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A source has no such key.
    #[error("couldn't find key {key} in {kind} {namespace}/{name}")]
    MissingKey {
        /// `ConfigMap` or `Secret`.
        kind: &'static str,
        /// The pod's namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// The key.
        key: String,
    },
    /// A file of a volume has no such key.
    #[error("environment variable key {key:?} not found in file {path:?}")]
    FileKey {
        /// The key.
        key: String,
        /// The file, in its volume.
        path: String,
    },
    /// A file of a volume is not there.
    #[error("failed to read file {path:?} of volume {volume:?}: no such file or directory")]
    NoFile {
        /// The volume.
        volume: String,
        /// The file, in it.
        path: String,
    },
    /// A `fieldRef` or `resourceFieldRef` names something that cannot be given.
    #[error("unsupported fieldPath: {0}")]
    Field(String),
}

/// The objects that an environment or a volume is made from: `None` where one is not there.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// By name.
    pub config_maps: BTreeMap<String, Option<ConfigMap>>,
    /// By name.
    pub secrets: BTreeMap<String, Option<Secret>>,
    /// What is in files of the pod's volumes, by volume and path; `None` where there is none.
    pub files: BTreeMap<(String, String), Option<String>>,
}

impl Sources {
    fn config_map(&self, name: &str) -> Result<&ConfigMap, Error> {
        let missing = || Error::Missing { kind: "configmap", name: name.to_owned() };
        self.config_maps.get(name).and_then(Option::as_ref).ok_or_else(missing)
    }

    fn secret(&self, name: &str) -> Result<&Secret, Error> {
        let missing = || Error::Missing { kind: "secret", name: name.to_owned() };
        self.secrets.get(name).and_then(Option::as_ref).ok_or_else(missing)
    }
}

/// The names of objects to fetch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// ConfigMaps.
    pub config_maps: BTreeSet<String>,
    /// Secrets.
    pub secrets: BTreeSet<String>,
    /// Files of the pod's volumes: a volume, and a path in it.
    pub files: BTreeSet<(String, String)>,
}

impl Needs {
    /// What a container's environment is made from.
    pub fn of(container: &Container) -> Self {
        let mut needs = Self::default();
        for from in container.env_from.iter().flatten() {
            needs.config_maps.extend(from.config_map_ref.as_ref().map(|source| source.name.clone()));
            needs.secrets.extend(from.secret_ref.as_ref().map(|source| source.name.clone()));
        }
        for source in container.env.iter().flatten().filter_map(|env| env.value_from.as_ref()) {
            needs.config_maps.extend(source.config_map_key_ref.as_ref().map(|source| source.name.clone()));
            needs.secrets.extend(source.secret_key_ref.as_ref().map(|source| source.name.clone()));
            let file = source.file_key_ref.as_ref();
            needs.files.extend(file.map(|source| (source.volume_name.clone(), source.path.clone())));
        }
        needs
    }

    /// Adds what something else is made from.
    pub fn extend(&mut self, more: Self) {
        self.config_maps.extend(more.config_maps);
        self.secrets.extend(more.secrets);
        self.files.extend(more.files);
    }
}

/// What the node knows that an environment can ask for.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The pod's address.
    pub pod_ip: IpAddr,
    /// The node's address.
    pub host_ip: IpAddr,
    /// What a container without a limit may use.
    pub allocatable: super::admission::Allocatable,
    /// The variables that tell of services; what the container's spec says overrides them.
    pub services: Vec<(String, String)>,
}

/// The environment of a container.
pub fn resolve(
    pod: &Pod,
    container: &Container,
    sources: &Sources,
    facts: &Facts,
) -> Result<Vec<(String, String)>, Error> {
    let mut env: BTreeMap<String, String> = facts.services.iter().cloned().collect();
    for from in container.env_from.iter().flatten() {
        let prefix = from.prefix.as_deref().unwrap_or_default();
        if let Some(source) = &from.config_map_ref {
            let found = optional(sources.config_map(&source.name), source.optional)?;
            let data = found.into_iter().flat_map(|found| found.data.iter().flatten());
            let data = data.filter(|(key, _)| is_name(key));
            env.extend(data.map(|(key, value)| (format!("{prefix}{key}"), value.clone())));
        }
        if let Some(source) = &from.secret_ref {
            let found = optional(sources.secret(&source.name), source.optional)?;
            let data = found.into_iter().flat_map(|found| found.data.iter().flatten());
            let data = data.filter(|(key, _)| is_name(key));
            env.extend(data.map(|(key, value)| (format!("{prefix}{key}"), text(&value.0))));
        }
    }
    for variable in container.env.iter().flatten() {
        let value = match &variable.value_from {
            None => Some(expand(variable.value.as_deref().unwrap_or_default(), &env)),
            Some(source) => from_source(pod, container, source, sources, facts)?,
        };
        env.extend(value.map(|value| (variable.name.clone(), value)));
    }
    Ok(env.into_iter().collect())
}

fn optional<T>(found: Result<T, Error>, optional: Option<bool>) -> Result<Option<T>, Error> {
    match found {
        Err(_) if optional == Some(true) => Ok(None),
        found => found.map(Some),
    }
}

/// Whether a key can be a variable. Source: `IsRelaxedEnvVarName` in `k8s.io/apimachinery/pkg/util/validation`.
fn is_name(key: &str) -> bool {
    !key.is_empty() && key.chars().all(|c| (' '..='~').contains(&c) && c != '=')
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn from_source(
    pod: &Pod,
    container: &Container,
    source: &EnvVarSource,
    sources: &Sources,
    facts: &Facts,
) -> Result<Option<String>, Error> {
    let namespace = || pod.metadata.namespace.clone().unwrap_or_default();
    let missing_key = |kind, name: &str, key: &str| Error::MissingKey {
        kind,
        namespace: namespace(),
        name: name.into(),
        key: key.into(),
    };
    if let Some(from) = &source.config_map_key_ref {
        let value = sources.config_map(&from.name).and_then(|found| {
            let value = found.data.as_ref().and_then(|data| data.get(&from.key));
            value.cloned().ok_or_else(|| missing_key("ConfigMap", &from.name, &from.key))
        });
        return optional(value, from.optional);
    }
    if let Some(from) = &source.secret_key_ref {
        let value = sources.secret(&from.name).and_then(|found| {
            let value = found.data.as_ref().and_then(|data| data.get(&from.key));
            value.map(|value| text(&value.0)).ok_or_else(|| missing_key("Secret", &from.name, &from.key))
        });
        return optional(value, from.optional);
    }
    if let Some(from) = &source.field_ref {
        return field(pod, &from.field_path, facts).map(Some);
    }
    if let Some(from) = &source.file_key_ref {
        let file = sources.files.get(&(from.volume_name.clone(), from.path.clone())).and_then(Option::as_ref);
        let missing = || Error::NoFile { volume: from.volume_name.clone(), path: from.path.clone() };
        let value = file.ok_or_else(missing).and_then(|text| {
            let missing = || Error::FileKey { key: from.key.clone(), path: from.path.clone() };
            env_file::value(text, &from.key).ok_or_else(missing)
        });
        return optional(value, from.optional);
    }
    if let Some(from) = &source.resource_field_ref {
        return resource_of(pod, Some(container), from, facts).map(Some);
    }
    Ok(None)
}

/// The amount that a `resourceFieldRef` asks for; of another container than this one if it names one.
pub fn resource_of(
    pod: &Pod,
    container: Option<&Container>,
    from: &ResourceFieldSelector,
    facts: &Facts,
) -> Result<String, Error> {
    let named = from.container_name.as_deref().filter(|name| !name.is_empty());
    let named = named.and_then(|name| kubelab_api::pod::containers(pod).find(|other| other.name == name));
    let container = named.or(container).ok_or_else(|| Error::Field(from.resource.clone()))?;
    let divisor = from.divisor.as_ref().and_then(|divisor| divisor.0.parse().ok());
    resource(container, &from.resource, divisor, facts)
}

/// A pod's field as the downward API gives it.
pub fn field(pod: &Pod, path: &str, facts: &Facts) -> Result<String, Error> {
    let meta = &pod.metadata;
    let spec = pod.spec.as_ref();
    let subscript = |prefix: &str| path.strip_prefix(prefix)?.strip_prefix("['")?.strip_suffix("']");
    if let Some(key) = subscript("metadata.labels") {
        return Ok(meta.labels.as_ref().and_then(|labels| labels.get(key)).cloned().unwrap_or_default());
    }
    if let Some(key) = subscript("metadata.annotations") {
        return Ok(meta.annotations.as_ref().and_then(|annotations| annotations.get(key)).cloned().unwrap_or_default());
    }
    let value = match path {
        "metadata.labels" => Some(lines(meta.labels.as_ref())),
        "metadata.annotations" => Some(lines(meta.annotations.as_ref())),
        "metadata.name" => meta.name.clone(),
        "metadata.namespace" => meta.namespace.clone(),
        "metadata.uid" => meta.uid.clone(),
        "spec.nodeName" => spec.and_then(|spec| spec.node_name.clone()),
        "spec.serviceAccountName" => spec.and_then(|spec| spec.service_account_name.clone()),
        "status.hostIP" | "status.hostIPs" => Some(facts.host_ip.to_string()),
        "status.podIP" | "status.podIPs" => Some(facts.pod_ip.to_string()),
        _ => return Err(Error::Field(path.to_owned())),
    };
    Ok(value.unwrap_or_default())
}

/// A map as the downward API writes it into a file: `key="value"` in lines. Source: `FormatMap` in `pkg/fieldpath`.
fn lines(map: Option<&BTreeMap<String, String>>) -> String {
    let lines: Vec<String> = map.into_iter().flatten().map(|(key, value)| format!("{key}={value:?}")).collect();
    lines.join("\n")
}

/// A container's request or limit in units of the divisor, rounded up.
fn resource(container: &Container, path: &str, divisor: Option<Quantity>, facts: &Facts) -> Result<String, Error> {
    let (kind, name) = path.split_once('.').ok_or_else(|| Error::Field(path.to_owned()))?;
    let resources = container.resources.as_ref();
    let amounts = match kind {
        "limits" => resources.and_then(|resources| resources.limits.as_ref()),
        "requests" => resources.and_then(|resources| resources.requests.as_ref()),
        _ => return Err(Error::Field(path.to_owned())),
    };
    let own: Option<Quantity> = amounts.and_then(|amounts| amounts.get(name)).and_then(|amount| amount.0.parse().ok());
    let whole = || if kind == "limits" { facts.allocatable.get(name).copied() } else { None };
    let amount = own.or_else(whole).unwrap_or_default();
    let divisor = divisor.filter(|divisor| !divisor.is_zero());
    let divided = match divisor {
        Some(divisor) if name == "cpu" => div_ceil(amount.milli_value(), divisor.milli_value()),
        Some(divisor) => div_ceil(amount.value(), divisor.value()),
        None => amount.value(),
    };
    Ok(divided.to_string())
}

fn div_ceil(amount: i64, divisor: i64) -> i64 {
    let divisor = divisor.max(1);
    amount / divisor + i64::from(amount % divisor > 0)
}

/// Replaces `$(NAME)` by a variable that is defined already; `$$` stands for `$`, and what is not defined stays.
/// Source: `third_party/forked/golang/expansion` of Kubernetes.
pub fn expand(text: &str, env: &BTreeMap<String, String>) -> String {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        expanded.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        if let Some(tail) = after.strip_prefix('$') {
            expanded.push('$');
            rest = tail;
        } else if let Some((name, tail)) = after.strip_prefix('(').and_then(|inner| inner.split_once(')')) {
            match env.get(name) {
                Some(value) => expanded.push_str(value),
                None => expanded.push_str(&rest[at..at + name.len() + 3]),
            }
            rest = tail;
        } else {
            expanded.push('$');
            rest = after;
        }
    }
    expanded.push_str(rest);
    expanded
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn resolved(container: Value) -> Result<BTreeMap<String, String>, String> {
        let pod: Pod = serde_json::from_value(json!({
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "u-1", "labels": {"app": "web"}},
            "spec": {"nodeName": "node-1", "containers": []}
        }))
        .unwrap();
        let mut sources = Sources::default();
        let config = json!({"data": {"host": "db", "port": "3306"}});
        sources.config_maps.insert("config".into(), Some(serde_json::from_value(config).unwrap()));
        sources.config_maps.insert("none".into(), None);
        let secret = json!({"data": {"password": "c2VjcmV0MTIz"}});
        sources.secrets.insert("secret".into(), Some(serde_json::from_value(secret).unwrap()));
        sources.files.insert(("shared".into(), "app.env".into()), Some("MODE='fast'\n".to_owned()));
        let facts = Facts {
            pod_ip: "10.244.1.7".parse().unwrap(),
            host_ip: "127.0.0.1".parse().unwrap(),
            allocatable: [("cpu".to_owned(), "4".parse().unwrap())].into(),
            services: vec![("DB_SERVICE_HOST".to_owned(), "10.96.0.5".to_owned())],
        };
        let container: Container = serde_json::from_value(container).unwrap();
        resolve(&pod, &container, &sources, &facts)
            .map(|env| env.into_iter().collect())
            .map_err(|error| error.to_string())
    }

    fn one(variable: Value) -> Result<Option<String>, String> {
        let mut variable = variable;
        variable["name"] = "X".into();
        resolved(json!({"name": "c", "resources": {"limits": {"memory": "64Mi"}, "requests": {"cpu": "250m"}}, "env": [variable]}))
            .map(|mut env| env.remove("X"))
    }

    #[test]
    fn each_source_gives_its_value() {
        let from = |source: &str, body: Value| json!({"valueFrom": {source: body}});
        let field = |path: &str| from("fieldRef", json!({"fieldPath": path}));
        let file = |path: &str, key: &str, optional: bool| {
            from("fileKeyRef", json!({"volumeName": "shared", "path": path, "key": key, "optional": optional}))
        };
        for (variable, expected) in [
            (json!({"value": "plain"}), Ok(Some("plain"))),
            (json!({}), Ok(Some(""))),
            (from("configMapKeyRef", json!({"name": "config", "key": "host"})), Ok(Some("db"))),
            (
                from("configMapKeyRef", json!({"name": "config", "key": "user"})),
                Err("couldn't find key user in ConfigMap shop/config"),
            ),
            (from("configMapKeyRef", json!({"name": "config", "key": "user", "optional": true})), Ok(None)),
            (from("configMapKeyRef", json!({"name": "none", "key": "user"})), Err(r#"configmap "none" not found"#)),
            (from("configMapKeyRef", json!({"name": "none", "key": "user", "optional": true})), Ok(None)),
            (from("secretKeyRef", json!({"name": "secret", "key": "password"})), Ok(Some("secret123"))),
            (from("secretKeyRef", json!({"name": "none", "key": "password"})), Err(r#"secret "none" not found"#)),
            (json!({"value": "http://$(DB_SERVICE_HOST)"}), Ok(Some("http://10.96.0.5"))),
            (file("app.env", "MODE", false), Ok(Some("fast"))),
            (file("app.env", "NONE", false), Err(r#"environment variable key "NONE" not found in file "app.env""#)),
            (file("app.env", "NONE", true), Ok(None)),
            (
                file("none.env", "MODE", false),
                Err(r#"failed to read file "none.env" of volume "shared": no such file or directory"#),
            ),
            (field("metadata.name"), Ok(Some("web-1"))),
            (field("metadata.labels"), Ok(Some("app=\"web\""))),
            (field("metadata.labels['app']"), Ok(Some("web"))),
            (field("metadata.annotations['none']"), Ok(Some(""))),
            (field("status.podIP"), Ok(Some("10.244.1.7"))),
            (field("spec.nodeName"), Ok(Some("node-1"))),
            (field("status.phase"), Err("unsupported fieldPath: status.phase")),
            (from("resourceFieldRef", json!({"resource": "limits.memory"})), Ok(Some("67108864"))),
            (from("resourceFieldRef", json!({"resource": "limits.memory", "divisor": "1Mi"})), Ok(Some("64"))),
            (from("resourceFieldRef", json!({"resource": "limits.cpu"})), Ok(Some("4"))),
            (from("resourceFieldRef", json!({"resource": "requests.cpu"})), Ok(Some("1"))),
            (from("resourceFieldRef", json!({"resource": "requests.cpu", "divisor": "1m"})), Ok(Some("250"))),
        ] {
            let expected = expected.map(|value| value.map(str::to_owned)).map_err(str::to_owned);
            assert_eq!(one(variable.clone()), expected, "{variable}");
        }
    }

    #[test]
    fn whole_objects_come_first_and_single_variables_override_them() {
        let env = resolved(json!({"name": "c",
            "envFrom": [{"prefix": "DB_", "configMapRef": {"name": "config"}}, {"secretRef": {"name": "secret"}},
                        {"configMapRef": {"name": "none", "optional": true}}],
            "env": [{"name": "DB_port", "value": "1"}, {"name": "URL", "value": "$(DB_host):$(DB_port)"}]}))
        .unwrap();
        let expected = [
            ("DB_SERVICE_HOST", "10.96.0.5"),
            ("DB_host", "db"),
            ("DB_port", "1"),
            ("URL", "db:1"),
            ("password", "secret123"),
        ];
        assert_eq!(env, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        let missing = resolved(json!({"name": "c", "envFrom": [{"configMapRef": {"name": "none"}}]}));
        assert_eq!(missing, Err(r#"configmap "none" not found"#.to_owned()));
    }

    #[test]
    fn variables_expand_as_in_upstream() {
        let env = BTreeMap::from([("A".to_owned(), "1".to_owned())]);
        for (text, expected) in [
            ("$(A)", "1"),
            ("$$(A)", "$(A)"),
            ("$(B)", "$(B)"),
            ("$A", "$A"),
            ("a$", "a$"),
            ("$(A", "$(A"),
            ("x$(A)y$(A)", "x1y1"),
        ] {
            assert_eq!(expand(text, &env), expected, "{text}");
        }
    }
}
