//! Which objects a pod's volumes are made of, and whether they are all there.

use k8s_openapi::api::core::v1::{KeyToPath, Pod, Volume};

use super::env::{Needs, Sources};

/// One object that a volume shows.
struct Part<'a> {
    volume: &'a str,
    is_secret: bool,
    name: &'a str,
    optional: bool,
    items: &'a [KeyToPath],
}

/// The objects that a pod's volumes show.
pub fn needs(pod: &Pod) -> Needs {
    let mut needs = Needs::default();
    for part in parts(pod) {
        let names = if part.is_secret { &mut needs.secrets } else { &mut needs.config_maps };
        names.insert(part.name.to_owned());
    }
    needs
}

/// The message of the `FailedMount` event if a volume cannot be mounted.
/// Source of the wording: `pkg/volume/configmap` and `pkg/volume/secret` of Kubernetes.
pub fn check(pod: &Pod, sources: &Sources) -> Result<(), String> {
    for part in parts(pod) {
        let failed = |why: String| format!("MountVolume.SetUp failed for volume {:?} : {why}", part.volume);
        let (kind, keys) = if part.is_secret {
            let found = sources.secrets.get(part.name).and_then(Option::as_ref);
            ("secret", found.map(|found| found.data.iter().flatten().map(|(key, _)| key.as_str()).collect::<Vec<_>>()))
        } else {
            let found = sources.config_maps.get(part.name).and_then(Option::as_ref);
            let keys = found.map(|found| {
                let data = found.data.iter().flatten().map(|(key, _)| key.as_str());
                data.chain(found.binary_data.iter().flatten().map(|(key, _)| key.as_str())).collect::<Vec<_>>()
            });
            ("configmap", keys)
        };
        match keys {
            _ if part.optional => {}
            None => return Err(failed(format!("{kind} {:?} not found", part.name))),
            Some(keys) => {
                let missing = part.items.iter().find(|item| !keys.contains(&item.key.as_str()));
                let reference = if part.is_secret {
                    "references non-existent secret key"
                } else {
                    "configmap references non-existent config key"
                };
                if let Some(item) = missing {
                    return Err(failed(format!("{reference}: {}", item.key)));
                }
            }
        }
    }
    Ok(())
}

fn parts(pod: &Pod) -> Vec<Part<'_>> {
    let mut parts = Vec::new();
    for volume in pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten()) {
        plain_parts(volume, &mut parts);
        for source in volume.projected.iter().flat_map(|projected| projected.sources.iter().flatten()) {
            if let Some(map) = &source.config_map {
                parts.push(part(volume, false, &map.name, map.optional, map.items.as_deref()));
            }
            if let Some(secret) = &source.secret {
                parts.push(part(volume, true, &secret.name, secret.optional, secret.items.as_deref()));
            }
        }
    }
    parts
}

fn plain_parts<'a>(volume: &'a Volume, parts: &mut Vec<Part<'a>>) {
    if let Some(map) = &volume.config_map {
        parts.push(part(volume, false, &map.name, map.optional, map.items.as_deref()));
    }
    if let Some(secret) = &volume.secret {
        let name = secret.secret_name.as_deref().unwrap_or_default();
        parts.push(part(volume, true, name, secret.optional, secret.items.as_deref()));
    }
}

fn part<'a>(
    volume: &'a Volume,
    is_secret: bool,
    name: &'a str,
    optional: Option<bool>,
    items: Option<&'a [KeyToPath]>,
) -> Part<'a> {
    let optional = optional.unwrap_or(false);
    Part { volume: &volume.name, is_secret, name, optional, items: items.unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn checked(volume: Value) -> Result<(), String> {
        let mut volume = volume;
        volume["name"] = "v".into();
        let pod: Pod = serde_json::from_value(json!({"spec": {"containers": [], "volumes": [volume]}})).unwrap();
        let mut sources = Sources::default();
        for name in needs(&pod).config_maps {
            let found = (name == "config").then(|| serde_json::from_value(json!({"data": {"a": "1"}})).unwrap());
            sources.config_maps.insert(name, found);
        }
        for name in needs(&pod).secrets {
            let found = (name == "secret").then(|| serde_json::from_value(json!({"data": {"a": "MQ=="}})).unwrap());
            sources.secrets.insert(name, found);
        }
        check(&pod, &sources)
    }

    #[test]
    fn what_a_volume_shows_must_be_there() {
        let prefix = r#"MountVolume.SetUp failed for volume "v" : "#;
        for (volume, expected) in [
            (json!({"emptyDir": {}}), Ok(())),
            (json!({"configMap": {"name": "config"}}), Ok(())),
            (json!({"configMap": {"name": "none"}}), Err(r#"configmap "none" not found"#)),
            (json!({"configMap": {"name": "none", "optional": true}}), Ok(())),
            (json!({"configMap": {"name": "config", "items": [{"key": "a", "path": "a"}]}}), Ok(())),
            (
                json!({"configMap": {"name": "config", "items": [{"key": "b", "path": "b"}]}}),
                Err("configmap references non-existent config key: b"),
            ),
            (json!({"secret": {"secretName": "secret"}}), Ok(())),
            (json!({"secret": {"secretName": "none"}}), Err(r#"secret "none" not found"#)),
            (json!({"projected": {"sources": [{"secret": {"name": "none"}}]}}), Err(r#"secret "none" not found"#)),
        ] {
            let expected = expected.map_err(|why| format!("{prefix}{why}"));
            assert_eq!(checked(volume.clone()), expected, "{volume}");
        }
    }
}
