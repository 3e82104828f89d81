//! Probes and life-cycle hooks.

use k8s_openapi::api::core::v1::{
    Container, ExecAction, GRPCAction, HTTPGetAction, Probe, SleepAction, TCPSocketAction,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use super::container::Context;
use crate::registry::{
    cells::{list, text},
    validation::{NOT_POSITIVE, choice, form, nonnegative, port, port_or_name, required},
};

pub(super) fn lifecycle_and_probes(container: &Container, context: &Context<'_>, path: &Path, errors: &mut Errors) {
    let grace_seconds = context.grace_seconds;
    if let Some(lifecycle) = &container.lifecycle {
        let path = path.child("lifecycle");
        for (hook, field) in [(&lifecycle.post_start, "postStart"), (&lifecycle.pre_stop, "preStop")] {
            if let Some(hook) = hook {
                let actions = Actions {
                    exec: hook.exec.as_ref(),
                    http_get: hook.http_get.as_ref(),
                    tcp_socket: hook.tcp_socket.as_ref(),
                    grpc: None,
                    sleep: hook.sleep.as_ref(),
                };
                handler(&actions, grace_seconds, &path.child(field), errors);
            }
        }
        // Which signals there are is up to the operating system. Source: `validateStopSignal`.
        let system = context.spec.os.as_ref().map_or("", |os| os.name.as_str());
        if lifecycle.stop_signal.is_some() && system.is_empty() {
            errors.forbidden(&path.child("stopSignal"), "may not be set for containers with empty `spec.os.name`");
        }
    }
    if let Some(liveness) = &container.liveness_probe {
        let path = path.child("livenessProbe");
        probe(liveness, grace_seconds, &path, errors);
        succeeds_at_once(liveness, &path, errors);
    }
    if let Some(readiness) = &container.readiness_probe {
        let path = path.child("readinessProbe");
        probe(readiness, grace_seconds, &path, errors);
        if let Some(seconds) = readiness.termination_grace_period_seconds {
            let detail = "must not be set for readinessProbes";
            errors.invalid(&path.child("terminationGracePeriodSeconds"), seconds, detail);
        }
    }
    if let Some(startup) = &container.startup_probe {
        let path = path.child("startupProbe");
        probe(startup, grace_seconds, &path, errors);
        succeeds_at_once(startup, &path, errors);
    }
}

fn succeeds_at_once(probe: &Probe, path: &Path, errors: &mut Errors) {
    if let Some(threshold) = probe.success_threshold.filter(|threshold| *threshold != 1) {
        errors.invalid(&path.child("successThreshold"), threshold, "must be 1");
    }
}

fn probe(probe: &Probe, grace_seconds: i64, path: &Path, errors: &mut Errors) {
    let actions = Actions {
        exec: probe.exec.as_ref(),
        http_get: probe.http_get.as_ref(),
        tcp_socket: probe.tcp_socket.as_ref(),
        grpc: probe.grpc.as_ref(),
        sleep: None,
    };
    handler(&actions, grace_seconds, path, errors);
    for (value, field) in [
        (probe.initial_delay_seconds, "initialDelaySeconds"),
        (probe.timeout_seconds, "timeoutSeconds"),
        (probe.period_seconds, "periodSeconds"),
        (probe.success_threshold, "successThreshold"),
        (probe.failure_threshold, "failureThreshold"),
    ] {
        nonnegative(value, &path.child(field), errors);
    }
    if let Some(seconds) = probe.termination_grace_period_seconds.filter(|seconds| *seconds <= 0) {
        errors.invalid(&path.child("terminationGracePeriodSeconds"), seconds, NOT_POSITIVE);
    }
}

/// What a probe or a hook may do: one thing.
struct Actions<'a> {
    exec: Option<&'a ExecAction>,
    http_get: Option<&'a HTTPGetAction>,
    tcp_socket: Option<&'a TCPSocketAction>,
    grpc: Option<&'a GRPCAction>,
    sleep: Option<&'a SleepAction>,
}

fn handler(actions: &Actions<'_>, grace_seconds: i64, path: &Path, errors: &mut Errors) {
    let given = [
        ("exec", actions.exec.is_some()),
        ("httpGet", actions.http_get.is_some()),
        ("tcpSocket", actions.tcp_socket.is_some()),
        ("grpc", actions.grpc.is_some()),
        ("sleep", actions.sleep.is_some()),
    ];
    let mut given = given.into_iter().filter(|(_, given)| *given).map(|(field, _)| field);
    let Some(first) = given.next() else {
        return errors.required(path, "must specify a handler type");
    };
    let at = path.child(first);
    if let Some(exec) = actions.exec {
        if list(&exec.command).is_empty() {
            errors.required(&at.child("command"), "");
        }
    } else if let Some(http) = actions.http_get {
        required(text(&http.path), &at.child("path"), errors);
        port_or_name(&http.port, &at.child("port"), errors);
        choice(text(&http.scheme), &["HTTP", "HTTPS"], &at.child("scheme"), errors);
        for header in list(&http.http_headers) {
            form(&header.name, name::http_header, &at.child("httpHeaders"), errors);
        }
    } else if let Some(tcp) = actions.tcp_socket {
        port_or_name(&tcp.port, &at.child("port"), errors);
    } else if let Some(grpc) = actions.grpc {
        port(grpc.port, &at.child("port"), errors);
    } else if let Some(sleep) = actions.sleep
        && !(0..=grace_seconds).contains(&sleep.seconds)
    {
        let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})");
        errors.invalid(&at, sleep.seconds, &detail);
    }
    for field in given {
        errors.forbidden(&path.child(field), "may not specify more than 1 handler type");
    }
}
