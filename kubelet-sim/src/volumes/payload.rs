//! The files that a volume made of API objects shows: their paths, bytes and modes. Source of the rules and the wording:
//! `MakePayload` and `collectData` in `pkg/volume/{configmap,secret,projected,downwardapi}` of Kubernetes.

use std::collections::BTreeMap;

use k8s_openapi::{
    ByteString,
    api::core::v1::{
        DownwardAPIVolumeFile, KeyToPath, Pod, PodSpec, ServiceAccountTokenProjection, Volume, VolumeProjection,
    },
};

use super::token;
use crate::pod::env::{self, Facts, Needs, Sources};

/// Files by their path in the volume.
pub type Payload = BTreeMap<String, Entry>;

/// A file.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// What is in it.
    pub bytes: Vec<u8>,
    /// Who may read it.
    pub mode: u32,
}

/// Why a volume cannot be shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// An object is not there.
    #[error("{kind} {name:?} not found")]
    Missing {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// A ConfigMap has no such key.
    #[error("configmap references non-existent config key: {0}")]
    ConfigKey(String),
    /// A Secret has no such key.
    #[error("references non-existent secret key: {0}")]
    SecretKey(String),
    /// No token could be had.
    #[error("failed to fetch token: {0}")]
    Token(String),
    /// A field cannot be given.
    #[error(transparent)]
    Field(#[from] env::Error),
    /// A source that these nodes do not know.
    #[error("no volume source of this kind is known: {0}")]
    Unknown(&'static str),
    /// Several sources cannot be shown.
    #[error("[{}]", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))]
    Several(Vec<Error>),
}

/// What a payload is made of.
pub struct Given<'a> {
    /// ConfigMaps and Secrets.
    pub sources: &'a Sources,
    /// Tokens, or why there is none.
    pub tokens: &'a BTreeMap<token::Wanted, Result<String, String>>,
    /// What the node knows.
    pub facts: &'a Facts,
}

/// Whether a volume's files are made of API objects.
pub fn is_written(volume: &Volume) -> bool {
    volume.config_map.is_some()
        || volume.secret.is_some()
        || volume.projected.is_some()
        || volume.downward_api.is_some()
}

/// The objects that a volume shows.
pub fn needs(volume: &Volume) -> Needs {
    let mut needs = Needs::default();
    needs.config_maps.extend(volume.config_map.iter().map(|map| map.name.clone()));
    needs.secrets.extend(volume.secret.iter().filter_map(|secret| secret.secret_name.clone()));
    for source in projections(volume) {
        needs.config_maps.extend(source.config_map.iter().map(|map| map.name.clone()));
        needs.secrets.extend(source.secret.iter().map(|secret| secret.name.clone()));
    }
    needs
}

/// The tokens that a volume shows.
pub fn tokens(volume: &Volume) -> Vec<token::Wanted> {
    projections(volume).filter_map(|source| source.service_account_token.as_ref()).map(token::Wanted::of).collect()
}

fn projections(volume: &Volume) -> impl Iterator<Item = &VolumeProjection> {
    volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten())
}

/// Whether a volume is what every pod gets for its service account. Every namespace has what it is made of, so nobody asks
/// for that before a program looks.
pub fn is_access(volume: &Volume) -> bool {
    let known = |source: &VolumeProjection| {
        source.service_account_token.is_some()
            || source.downward_api.is_some()
            || source.config_map.as_ref().is_some_and(|map| map.name == "kube-root-ca.crt")
    };
    !tokens(volume).is_empty() && projections(volume).all(known)
}

/// The files of a volume.
pub fn payload(pod: &Pod, volume: &Volume, given: &Given<'_>) -> Result<Payload, Error> {
    let mode = |mode: Option<i32>| mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(0o644);
    let mut files = Payload::new();
    if let Some(map) = &volume.config_map {
        let mode = mode(map.default_mode);
        files.extend(config_map(given, &map.name, map.items.as_deref(), map.optional, mode)?);
    } else if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        let mode = mode(secret.default_mode);
        files.extend(self::secret(given, name, secret.items.as_deref(), secret.optional, mode)?);
    } else if let Some(downward) = &volume.downward_api {
        let mode = mode(downward.default_mode);
        files.extend(fields(pod, downward.items.as_deref().unwrap_or_default(), given.facts, mode)?);
    } else if let Some(projected) = &volume.projected {
        let mode = mode(projected.default_mode);
        let mut errors = Vec::new();
        for source in projected.sources.iter().flatten() {
            match projection(pod, source, given, mode) {
                Ok(more) => files.extend(more),
                Err(error) => errors.push(error),
            }
        }
        match errors.len() {
            0 => {}
            1 => return Err(errors.remove(0)),
            _ => return Err(Error::Several(errors)),
        }
    }
    if group(pod).is_some() {
        // Source: `SetVolumeOwnership` in `pkg/volume/volume_linux.go`.
        files.values_mut().for_each(|entry| entry.mode |= 0o440);
    }
    Ok(files)
}

fn projection(pod: &Pod, source: &VolumeProjection, given: &Given<'_>, mode: u32) -> Result<Payload, Error> {
    if let Some(map) = &source.config_map {
        return config_map(given, &map.name, map.items.as_deref(), map.optional, mode);
    }
    if let Some(from) = &source.secret {
        return secret(given, &from.name, from.items.as_deref(), from.optional, mode);
    }
    if let Some(downward) = &source.downward_api {
        return fields(pod, downward.items.as_deref().unwrap_or_default(), given.facts, mode);
    }
    if let Some(from) = &source.service_account_token {
        return token_file(pod, from, given, mode);
    }
    match &source.cluster_trust_bundle {
        Some(bundle) if bundle.optional == Some(true) => Ok(Payload::new()),
        Some(_) => Err(Error::Unknown("clusterTrustBundle")),
        None => Err(Error::Unknown("podCertificate")),
    }
}

fn config_map(
    given: &Given<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<Payload, Error> {
    let optional = optional == Some(true);
    let Some(found) = given.sources.config_maps.get(name).and_then(Option::as_ref) else {
        let missing = || Error::Missing { kind: "configmap", name: name.to_owned() };
        return if optional { Ok(Payload::new()) } else { Err(missing()) };
    };
    let text = found.data.iter().flatten().map(|(key, value)| (key.as_str(), value.as_bytes()));
    let binary = found.binary_data.iter().flatten().map(|(key, ByteString(value))| (key.as_str(), value.as_slice()));
    choose(&text.chain(binary).collect(), items, optional, mode, Error::ConfigKey)
}

fn secret(
    given: &Given<'_>,
    name: &str,
    items: Option<&[KeyToPath]>,
    optional: Option<bool>,
    mode: u32,
) -> Result<Payload, Error> {
    let optional = optional == Some(true);
    let Some(found) = given.sources.secrets.get(name).and_then(Option::as_ref) else {
        let missing = || Error::Missing { kind: "secret", name: name.to_owned() };
        return if optional { Ok(Payload::new()) } else { Err(missing()) };
    };
    let data = found.data.iter().flatten().map(|(key, ByteString(value))| (key.as_str(), value.as_slice()));
    choose(&data.collect(), items, optional, mode, Error::SecretKey)
}

/// All keys under their own names, or some under others.
fn choose(
    data: &BTreeMap<&str, &[u8]>,
    items: Option<&[KeyToPath]>,
    optional: bool,
    default: u32,
    missing: fn(String) -> Error,
) -> Result<Payload, Error> {
    let entry = |bytes: &[u8], mode| Entry { bytes: bytes.to_vec(), mode };
    let Some(items) = items.filter(|items| !items.is_empty()) else {
        return Ok(data.iter().map(|(key, bytes)| ((*key).to_owned(), entry(bytes, default))).collect());
    };
    let mut files = Payload::new();
    for item in items {
        let mode = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default);
        match data.get(item.key.as_str()) {
            Some(bytes) => drop(files.insert(item.path.clone(), entry(bytes, mode))),
            None if optional => {}
            None => return Err(missing(item.key.clone())),
        }
    }
    Ok(files)
}

fn fields(pod: &Pod, items: &[DownwardAPIVolumeFile], facts: &Facts, default: u32) -> Result<Payload, Error> {
    let mut files = Payload::new();
    for item in items {
        let text = if let Some(from) = &item.field_ref {
            env::field(pod, &from.field_path, facts)?
        } else if let Some(from) = &item.resource_field_ref {
            env::resource_of(pod, None, from, facts)?
        } else {
            continue;
        };
        let mode = item.mode.and_then(|mode| u32::try_from(mode).ok()).unwrap_or(default);
        files.insert(item.path.clone(), Entry { bytes: text.into_bytes(), mode });
    }
    Ok(files)
}

fn token_file(
    pod: &Pod,
    from: &ServiceAccountTokenProjection,
    given: &Given<'_>,
    default: u32,
) -> Result<Payload, Error> {
    let found = given.tokens.get(&token::Wanted::of(from));
    let token = match found {
        Some(Ok(token)) => token.clone(),
        Some(Err(why)) => return Err(Error::Token(why.clone())),
        None => return Err(Error::Token("it was not asked for".to_owned())),
    };
    // Who owns the file need not share it.
    let mode = if group(pod).is_some() || user(pod).is_some() { 0o600 } else { default };
    Ok([(from.path.clone(), Entry { bytes: token.into_bytes(), mode })].into())
}

/// The group that a pod's volumes belong to.
fn group(pod: &Pod) -> Option<i64> {
    pod.spec.as_ref()?.security_context.as_ref()?.fs_group
}

/// The user that all containers run as. Source: `FsUserFrom` in `pkg/volume/util/util.go`.
fn user(pod: &Pod) -> Option<i64> {
    let spec: &PodSpec = pod.spec.as_ref()?;
    let of_pod = spec.security_context.as_ref().and_then(|security| security.run_as_user);
    let mut users = kubelab_api::pod::containers(pod)
        .map(|container| container.security_context.as_ref().and_then(|security| security.run_as_user).or(of_pod));
    let first = users.next()??;
    users.all(|user| user == Some(first)).then_some(first)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn shown(volume: Value, pod_spec: Value) -> Result<Vec<(String, String, u32)>, String> {
        let mut volume = volume;
        volume["name"] = "v".into();
        let pod = json!({
            "metadata": {"name": "web-1", "namespace": "shop", "labels": {"app": "web", "tier": "a\"b"}},
            "spec": {"containers": [{"name": "c", "resources": {"limits": {"memory": "64Mi"}}}]}
        });
        let mut pod: Pod = serde_json::from_value(pod).unwrap();
        if let Ok(security) = serde_json::from_value(pod_spec) {
            pod.spec.as_mut().unwrap().security_context = security;
        }
        let volume: Volume = serde_json::from_value(volume).unwrap();
        let mut sources = Sources::default();
        for name in needs(&volume).config_maps {
            let map = json!({"data": {"a": "1", "b": "2"}, "binaryData": {"c": "Aw=="}});
            sources.config_maps.insert(name.clone(), (name == "config").then(|| serde_json::from_value(map).unwrap()));
        }
        for name in needs(&volume).secrets {
            let secret = json!({"data": {"key": "MQ=="}});
            sources.secrets.insert(name.clone(), (name == "secret").then(|| serde_json::from_value(secret).unwrap()));
        }
        let tokens = tokens(&volume).into_iter().map(|wanted| {
            let token = if wanted.audience == "closed" { Err("no".to_owned()) } else { Ok("t0k3n".to_owned()) };
            (wanted, token)
        });
        let facts = Facts {
            pod_ip: "10.244.1.7".parse().unwrap(),
            host_ip: "127.0.0.1".parse().unwrap(),
            allocatable: [("cpu".to_owned(), "4".parse().unwrap())].into(),
            services: Vec::new(),
        };
        let tokens = tokens.collect();
        let files = payload(&pod, &volume, &Given { sources: &sources, tokens: &tokens, facts: &facts });
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        files
            .map(|files| files.into_iter().map(|(path, entry)| (path, text(entry.bytes), entry.mode)).collect())
            .map_err(|error| error.to_string())
    }

    #[test]
    fn each_source_gives_its_files() {
        let token = |audience: &str| json!({"serviceAccountToken": {"path": "token", "audience": audience}});
        let none = json!({"configMap": {"name": "none"}});
        for (volume, expected) in [
            (json!({"configMap": {"name": "config"}}), Ok("a=1:644 b=2:644 c=\u{3}:644")),
            (json!({"configMap": {"name": "config", "defaultMode": 0o400}}), Ok("a=1:400 b=2:400 c=\u{3}:400")),
            (
                json!({"configMap": {"name": "config", "items": [{"key": "a", "path": "x/y", "mode": 0o755}]}}),
                Ok("x/y=1:755"),
            ),
            (
                json!({"configMap": {"name": "config", "items": [{"key": "z", "path": "z"}]}}),
                Err("configmap references non-existent config key: z"),
            ),
            (json!({"configMap": {"name": "config", "optional": true, "items": [{"key": "z", "path": "z"}]}}), Ok("")),
            (none.clone(), Err(r#"configmap "none" not found"#)),
            (json!({"configMap": {"name": "none", "optional": true}}), Ok("")),
            (json!({"secret": {"secretName": "secret", "defaultMode": 0o400}}), Ok("key=1:400")),
            (json!({"secret": {"secretName": "none"}}), Err(r#"secret "none" not found"#)),
            (
                json!({"secret": {"secretName": "secret", "items": [{"key": "z", "path": "z"}]}}),
                Err("references non-existent secret key: z"),
            ),
            (
                json!({"downwardAPI": {"items": [
                    {"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}},
                    {"path": "memory", "mode": 0o600,
                        "resourceFieldRef": {"containerName": "c", "resource": "limits.memory", "divisor": "1Mi"}},
                    {"path": "cpu", "resourceFieldRef": {"containerName": "c", "resource": "limits.cpu"}}]}}),
                Ok("cpu=4:644 labels=app=\"web\"\ntier=\"a\\\"b\":644 memory=64:600"),
            ),
            (
                json!({"projected": {"defaultMode": 0o444, "sources": [token(""), {"configMap": {"name": "config",
                    "items": [{"key": "a", "path": "ca.crt"}]}}, {"secret": {"name": "secret"}}]}}),
                Ok("ca.crt=1:444 key=1:444 token=t0k3n:444"),
            ),
            (json!({"projected": {"sources": [token("closed")]}}), Err("failed to fetch token: no")),
            (
                json!({"projected": {"sources": [none, {"secret": {"name": "none"}}]}}),
                Err(r#"[configmap "none" not found, secret "none" not found]"#),
            ),
        ] {
            let files = shown(volume.clone(), Value::Null).map(|files| {
                let text: Vec<_> =
                    files.into_iter().map(|(path, text, mode)| format!("{path}={text}:{mode:o}")).collect();
                text.join(" ")
            });
            assert_eq!(files, expected.map(str::to_owned).map_err(str::to_owned), "{volume}");
        }
    }

    #[test]
    fn a_group_may_read_and_a_token_is_for_its_owner() {
        let volume = json!({"projected": {"sources": [{"serviceAccountToken": {"path": "token"}}]}});
        for (security, mode) in [(json!({"fsGroup": 5}), 0o640), (json!({"runAsUser": 5}), 0o600), (json!({}), 0o644)] {
            assert_eq!(shown(volume.clone(), security.clone()).unwrap()[0].2, mode, "{security}");
        }
        let secret = json!({"secret": {"secretName": "secret", "defaultMode": 0o400}});
        assert_eq!(shown(secret, json!({"fsGroup": 5})).unwrap()[0].2, 0o440);
    }

    #[test]
    fn the_volume_that_every_pod_gets_is_known() {
        let volume = |sources: Value| -> Volume {
            serde_json::from_value(json!({"name": "v", "projected": {"sources": sources}})).unwrap()
        };
        let token = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 3607}});
        let authority = |name: &str| json!({"configMap": {"name": name}});
        assert!(is_access(&volume(json!([token, authority("kube-root-ca.crt"), {"downwardAPI": {}}]))));
        assert!(!is_access(&volume(json!([token, authority("own")]))));
        assert!(!is_access(&volume(json!([authority("kube-root-ca.crt")]))));
    }
}
