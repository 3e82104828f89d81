#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::*;

fn told(standard: &str, annotations: &Value, spec: &Value) -> String {
    let (level, version) = standard.split_once(':').unwrap();
    let level = Level::TABLE.iter().find(|row| row.0 == level).unwrap().1;
    let version = match version.strip_prefix("v1.") {
        Some(minor) => Version::Minor(minor.parse().unwrap()),
        None => Version::Latest,
    };
    let annotations: Option<Annotations> = serde_json::from_value(annotations.clone()).unwrap();
    let spec: PodSpec = serde_json::from_value(spec.clone()).unwrap();
    details(&violations(Standard { level, version }, annotations.as_ref(), &spec))
}

fn one(context: Value) -> Value {
    json!({"containers": [{"name": "c", "securityContext": context}]})
}

/// Keeps to the strictest standard.
fn strict() -> Value {
    json!({
        "securityContext": {"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": [{"name": "c", "securityContext": {"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}}}],
    })
}

#[test]
fn a_plain_pod_is_baseline_and_not_restricted() {
    let plain = json!({"containers": [{"name": "c"}]});
    assert_eq!(told("baseline:latest", &Value::Null, &plain), "");
    assert_eq!(
        told("restricted:latest", &Value::Null, &plain),
        "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), \
         unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != \
         true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" \
         must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")"
    );
    assert_eq!(told("restricted:latest", &Value::Null, &strict()), "");
    assert_eq!(told("privileged:latest", &Value::Null, &one(json!({"privileged": true}))), "");
}

#[test]
fn baseline_checks_tell_what_is_wrong() {
    let pod = |context: Value| json!({"containers": [{"name": "c"}], "securityContext": context});
    let two = json!({"containers": [{"name": "b", "securityContext": {"privileged": true}}],
                     "initContainers": [{"name": "a", "securityContext": {"privileged": true}}]});
    let cases = [
        (
            json!({"hostNetwork": true, "hostPID": true, "hostIPC": true, "containers": []}),
            "host namespaces (hostNetwork=true, hostPID=true, hostIPC=true)",
        ),
        (one(json!({"privileged": true})), "privileged (container \"c\" must not set securityContext.privileged=true)"),
        (two, "privileged (containers \"a\", \"b\" must not set securityContext.privileged=true)"),
        (
            one(json!({"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}})),
            "non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
        ),
        (
            json!({"containers": [], "volumes": [{"name": "v", "hostPath": {"path": "/"}}]}),
            "hostPath volumes (volume \"v\")",
        ),
        (
            json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 90}, {"containerPort": 81, "hostPort": 8080}]}]}),
            "hostPort (container \"c\" uses hostPorts 8080, 90)",
        ),
        (
            json!({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"port": 80, "host": "10.0.0.1"}},
                                   "lifecycle": {"preStop": {"tcpSocket": {"port": 80, "host": "db"}}}}]}),
            "probe or lifecycle host (container \"c\" uses probe or lifecycle hosts \"10.0.0.1\", \"db\")",
        ),
        (
            one(json!({"procMount": "Unmasked"})),
            "procMount (container \"c\" must not set securityContext.procMount to \"Unmasked\")",
        ),
        (
            pod(json!({"seLinuxOptions": {"type": "spc_t", "user": "u", "role": "r"}})),
            "seLinuxOptions (pod set forbidden securityContext.seLinuxOptions: type \"spc_t\"; user may not be set; role may \
             not be set)",
        ),
        (
            pod(json!({"seccompProfile": {"type": "Unconfined"}})),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
        (
            pod(
                json!({"sysctls": [{"name": "net.core.somaxconn", "value": "1"}, {"name": "net.ipv4.tcp_rmem", "value": "1"}]}),
            ),
            "forbidden sysctls (net.core.somaxconn)",
        ),
        (
            pod(json!({"windowsOptions": {"hostProcess": true}})),
            "hostProcess (pod must not set securityContext.windowsOptions.hostProcess=true)",
        ),
        (
            pod(json!({"appArmorProfile": {"type": "Unconfined"}})),
            "forbidden AppArmor profile (pod must not set AppArmor profile type to \"Unconfined\")",
        ),
    ];
    for (spec, wanted) in cases {
        assert_eq!(told("baseline:latest", &Value::Null, &spec), wanted);
    }
    let annotation = json!({"container.apparmor.security.beta.kubernetes.io/c": "unconfined"});
    assert_eq!(
        told("baseline:latest", &annotation, &json!({"containers": [{"name": "c"}]})),
        "forbidden AppArmor profile (annotation must not set AppArmor profile type to \
         \"container.apparmor.security.beta.kubernetes.io/c=\\\"unconfined\\\"\")"
    );
}

#[test]
fn restricted_checks_tell_what_is_wrong() {
    let with = |change: fn(&mut Value)| {
        let mut spec = strict();
        change(&mut spec);
        spec
    };
    let cases = [
        (
            with(|spec| {
                spec["containers"][0]["securityContext"]["capabilities"]["add"] = json!(["CHOWN", "NET_BIND_SERVICE"])
            }),
            "unrestricted capabilities (container \"c\" must not include \"CHOWN\" in securityContext.capabilities.add)",
        ),
        (
            with(|spec| {
                spec["volumes"] = json!([{"name": "v", "hostPath": {"path": "/"}}, {"name": "w", "nfs": {"path": "/", "server": "s"}}])
            }),
            "restricted volume types (volumes \"v\", \"w\" use restricted volume types \"hostPath\", \"nfs\")",
        ),
        (with(|spec| spec["volumes"] = json!([{"name": "v", "image": {"reference": "a"}}])), ""),
        (
            with(|spec| spec["containers"][0]["securityContext"]["runAsNonRoot"] = false.into()),
            "runAsNonRoot != true (container \"c\" must not set securityContext.runAsNonRoot=false)",
        ),
        (with(|spec| spec["securityContext"]["runAsUser"] = 0.into()), "runAsUser=0 (pod must not set runAsUser=0)"),
        (
            with(|spec| spec["securityContext"]["seccompProfile"]["type"] = "Unconfined".into()),
            "seccompProfile (pod must not set securityContext.seccompProfile.type to \"Unconfined\")",
        ),
    ];
    for (spec, wanted) in cases {
        assert_eq!(told("restricted:latest", &Value::Null, &spec), wanted);
    }
}

#[test]
fn versions_differ() {
    let windows =
        json!({"os": {"name": "windows"}, "containers": [{"name": "c"}], "securityContext": {"runAsNonRoot": true}});
    let user_namespace =
        json!({"hostUsers": false, "containers": [{"name": "c", "securityContext": {"procMount": "Unmasked"}}]});
    let unconfined = json!({"seccomp.security.alpha.kubernetes.io/pod": "unconfined"});
    let cases = [
        ("restricted:v1.24", Value::Null, windows.clone(), true),
        ("restricted:v1.25", Value::Null, windows, false),
        ("baseline:v1.34", Value::Null, user_namespace.clone(), true),
        ("baseline:v1.35", Value::Null, user_namespace.clone(), false),
        ("restricted:v1.35", Value::Null, user_namespace, true),
        ("baseline:v1.18", unconfined.clone(), json!({"containers": []}), true),
        ("baseline:v1.19", unconfined, json!({"containers": []}), false),
        (
            "baseline:v1.36",
            Value::Null,
            json!({"containers": [], "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_notsent_lowat", "value": "1"}]}}),
            true,
        ),
        (
            "baseline:v1.99",
            Value::Null,
            json!({"containers": [], "securityContext": {"sysctls": [{"name": "net.ipv4.tcp_notsent_lowat", "value": "1"}]}}),
            false,
        ),
        ("baseline:v1.30", Value::Null, one(json!({"seLinuxOptions": {"type": "container_engine_t"}})), true),
        ("baseline:v1.31", Value::Null, one(json!({"seLinuxOptions": {"type": "container_engine_t"}})), false),
        ("restricted:v1.7", Value::Null, one(json!({"runAsNonRoot": true})), false),
    ];
    for (standard, annotations, spec, wrong) in cases {
        assert_eq!(!told(standard, &annotations, &spec).is_empty(), wrong, "{standard} {spec}");
    }
}
