#![allow(clippy::unwrap_used)]

use serde_json::{Value as Json, json};

use super::{super::to_json, *};

fn back(bytes: &[u8]) -> Json {
    serde_json::from_slice(&to_json(bytes).unwrap()).unwrap()
}

#[test]
fn bytes_are_those_of_gos_encoder() {
    let map = json!({ "metadata": { "name": "p" }, "kind": "ConfigMap", "apiVersion": "v1" });
    // As kubectl v1.33 sends `create configmap p`.
    let expected = b"k8s\0\n\x0f\n\x02v1\x12\tConfigMap\x12\x13\n\x11\n\x01p\x12\0\x1a\0\"\0*\x002\x008\0B\0\x1a\0\"\0";
    assert_eq!(any(map.to_string().as_bytes()).unwrap(), &expected[..]);
    assert_eq!(object("v1", "ConfigMap", map.to_string().as_bytes()).unwrap(), &expected[..]);
}

#[test]
fn what_is_written_can_be_read() {
    let metadata = json!({
        "name": "x",
        "namespace": "default",
        "uid": "3d1b0b5c-6d5c-4a1c-8d3d-0b8a0c6a9e7f",
        "resourceVersion": "7",
        "creationTimestamp": "2023-11-14T22:13:20Z",
        "labels": { "app": "web", "tier": "b" },
        "finalizers": ["a/b"],
        "managedFields": [{ "manager": "m", "operation": "Update", "fieldsV1": { "f:spec": { ".": {} } } }],
        "ownerReferences": [{ "apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u", "controller": true }],
    });
    let objects = [
        json!({
            "kind": "Pod", "apiVersion": "v1", "metadata": metadata,
            "spec": {
                "terminationGracePeriodSeconds": 0,
                "volumes": [{ "name": "v", "secret": { "secretName": "s", "defaultMode": 420 } }],
                "containers": [{
                    "name": "web",
                    "resources": { "limits": { "cpu": "500m", "memory": "1Gi" } },
                    "livenessProbe": { "httpGet": { "port": 8080, "path": "/" }, "initialDelaySeconds": 3 },
                    "readinessProbe": { "httpGet": { "port": "http" } },
                    "env": [{ "name": "A", "valueFrom": { "secretKeyRef": { "name": "s", "key": "k" } } }],
                    "ports": [{ "containerPort": 80, "protocol": "TCP" }],
                }],
            },
            "status": { "phase": "Running", "startTime": "2023-11-14T22:13:21Z" },
        }),
        json!({ "kind": "Secret", "apiVersion": "v1", "metadata": metadata, "data": { "k": "/w==" }, "type": "Opaque" }),
        json!({
            "kind": "Lease", "apiVersion": "coordination.k8s.io/v1", "metadata": metadata,
            "spec": { "renewTime": "1970-01-01T00:00:01.000005Z", "holderIdentity": "h" },
        }),
        json!({
            "kind": "ControllerRevision", "apiVersion": "apps/v1", "metadata": metadata,
            "data": { "spec": { "x": [1, "é", null] } }, "revision": -3,
        }),
        json!({
            "kind": "CustomResourceDefinition", "apiVersion": "apiextensions.k8s.io/v1", "metadata": metadata,
            "spec": {
                "group": "g.io", "scope": "Namespaced", "names": { "kind": "Foo", "plural": "foos" },
                "versions": [{
                    "name": "v1", "served": true, "storage": true,
                    "subresources": { "status": {} },
                    "schema": { "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "a": { "type": "array", "items": { "type": "string" }, "default": ["x"] },
                            "b": { "additionalProperties": { "type": "integer", "minimum": 0.5 } },
                            "c": { "additionalProperties": true, "enum": ["x", 1] },
                            "d": { "dependencies": { "e": ["f"], "g": { "type": "object" } } },
                        },
                    } },
                }],
            },
            "status": { "acceptedNames": { "kind": "Foo", "plural": "foos" }, "conditions": [], "storedVersions": ["v1"] },
        }),
        json!({
            "kind": "SelfSubjectReview", "apiVersion": "authentication.k8s.io/v1", "metadata": {},
            "status": { "userInfo": { "username": "u", "extra": { "k": ["a", "b"] } } },
        }),
    ];
    for object in objects {
        let text = object.to_string();
        let again = back(&any(text.as_bytes()).unwrap());
        assert_holds(&again, &object, &text);
        assert_eq!(any(again.to_string().as_bytes()).unwrap(), any(text.as_bytes()).unwrap(), "{text}");
    }
}

/// All of `expected` is in `found`, which may have empty objects and lists beside.
fn assert_holds(found: &Json, expected: &Json, text: &str) {
    match expected {
        Json::Object(members) => {
            for (key, expected) in members {
                let blank = expected.as_array().is_some_and(Vec::is_empty);
                assert!(blank || found.get(key).is_some(), "{key} is missing in {found} of {text}");
                if !blank {
                    assert_holds(&found[key], expected, text);
                }
            }
        }
        Json::Array(elements) => {
            assert_eq!(found.as_array().map(Vec::len), Some(elements.len()), "{found} of {text}");
            for (at, expected) in elements.iter().enumerate() {
                assert_holds(&found[at], expected, text);
            }
        }
        expected => assert_eq!(found, expected, "of {text}"),
    }
}

#[test]
fn lists_and_events_are_framed() {
    let item = br#"{"metadata":{"name":"a"},"data":{"k":"v"}}"#;
    let list =
        list("v1", "ConfigMapList", "ConfigMap", br#"{"resourceVersion":"9"}"#, [&item[..]].into_iter()).unwrap();
    let expected = b"k8s\0\n\x13\n\x02v1\x12\rConfigMapList\x12&\n\x07\n\0\x12\x019\x1a\0\x12\x1b\n\x11\n\x01a\x12\0\x1a\0\"\0*\x00\
                     2\x008\0B\0\x12\x06\n\x01k\x12\x01v\x1a\0\"\0";
    assert_eq!(list, &expected[..]);

    let mut frame = Vec::new();
    event("ADDED", b"k8s\0", &mut frame);
    assert_eq!(frame, b"\0\0\0\x0f\n\x05ADDED\x12\x06\n\x04k8s\0");
    let mut long = Vec::new();
    event("MODIFIED", &[7; 300], &mut long);
    assert_eq!(long.len() - 4, u32::from_be_bytes(long[..4].try_into().unwrap()) as usize);
}

#[test]
fn metadata_alone_is_read_from_the_whole_object() {
    let pod = br#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","labels":{"x":"y"}},"spec":{"nodeName":"n"}}"#;
    let bytes = object("meta.k8s.io/v1", "PartialObjectMetadata", pod).unwrap();
    let envelope = b"k8s\0\n'\n\x0emeta.k8s.io/v1\x12\x15PartialObjectMetadata\x12";
    assert!(bytes.starts_with(envelope), "{bytes:?}");
    assert!(!bytes.windows(8).any(|window| window == b"nodeName"));
}

#[test]
fn a_refusal_has_a_form_too() {
    let status = Error::bad_request("no").to_status();
    let bytes = any(&serde_json::to_vec(&status).unwrap()).unwrap();
    let expected = b"k8s\0\n\x0c\n\x02v1\x12\x06Status\x12";
    assert!(bytes.starts_with(expected), "{bytes:?}");
    assert!(!knows("example.com/v1", "Foo"));
    assert!(knows("apps/v1", "Deployment"));
}
