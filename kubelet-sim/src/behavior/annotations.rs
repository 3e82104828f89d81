//! Annotations that override what a container does: `kubelab.dev/<key>` for all containers of the pod,
//! `kubelab.dev/<container>.<key>` for one.
//!
//! | key | value | effect |
//! | --- | --- | --- |
//! | `pull-time` | duration (`500ms`, `1.5s`, `2m`) | how long the image takes to pull |
//! | `pull-error` | text | the pull fails with it |
//! | `start-time` | duration | from the end of the pull until it runs |
//! | `exit-after` | duration | it exits so long after its start |
//! | `exit-code` | 0 to 255 | what it exits with; alone: right after its start |
//! | `stop-time` | duration, or `never` | how long it takes to end after SIGTERM; `never`: until SIGKILL |
//! | `ready-after` | duration | until then it answers 503 |
//! | `cpu-usage` | CPU (`250m`) or a curve (`0s:10m,1m:500m`) | what it uses; no more than its limit |
//! | `memory-usage` | bytes (`64Mi`) or a curve (`0s:10Mi,30s:200Mi`) | what it uses; past its limit it is OOMKilled |
//! | `probe-readiness`, `probe-liveness`, `probe-startup` | `pass`, `fail` or `timeout` | what these probes find |
//!
//! What concerns health and usage takes effect at once on a running pod; the rest when a container starts.

use std::{str::FromStr, time::Duration};

use k8s_openapi::api::core::v1::Pod;

use super::{
    Answer, Behavior, OnTerminate, Pull, Run,
    usage::{Curve, Unit},
};
use crate::duration;

const PREFIX: &str = "kubelab.dev/";

/// An annotation that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No such key.
    #[error("annotation {0:?} is not known; see `kubelab.dev/` in the documentation for those that are")]
    UnknownKey(String),
    /// No such container.
    #[error("annotation {0:?} names no container of this pod")]
    UnknownContainer(String),
    /// Not a value for this key.
    #[error("annotation {key:?} has the value {value:?}, but needs {wanted}")]
    Value {
        /// The annotation's name.
        key: String,
        /// Its value.
        value: String,
        /// What would be right.
        wanted: &'static str,
    },
}

/// One thing to change.
#[derive(Debug)]
enum Override {
    PullTime(Duration),
    PullError(String),
    StartTime(Duration),
    ExitAfter(Duration),
    ExitCode(i32),
    StopTime(Option<Duration>),
    ReadyAfter(Duration),
    Readiness(Answer),
    Liveness(Answer),
    Startup(Answer),
    Cpu(Curve),
    Memory(Curve),
}

impl Override {
    fn parse(annotation: &str, key: &str, value: &str) -> Result<Self, Error> {
        let wrong = |wanted| Error::Value { key: annotation.to_owned(), value: value.to_owned(), wanted };
        let time = || duration::parse(value).ok_or_else(|| wrong("a duration such as 500ms, 1.5s or 2m"));
        let answer = || match value {
            "pass" => Ok(Answer::Pass),
            "fail" => Ok(Answer::Fail),
            "timeout" => Ok(Answer::Timeout),
            _ => Err(wrong("pass, fail or timeout")),
        };
        Ok(match key {
            "pull-time" => Self::PullTime(time()?),
            "pull-error" => Self::PullError(value.to_owned()),
            "start-time" => Self::StartTime(time()?),
            "exit-after" => Self::ExitAfter(time()?),
            "exit-code" => {
                let code = u8::from_str(value).map_err(|_| wrong("a number from 0 to 255"))?;
                Self::ExitCode(code.into())
            }
            "stop-time" if value == "never" => Self::StopTime(None),
            "stop-time" => Self::StopTime(Some(time()?)),
            "ready-after" => Self::ReadyAfter(time()?),
            "probe-readiness" => Self::Readiness(answer()?),
            "probe-liveness" => Self::Liveness(answer()?),
            "probe-startup" => Self::Startup(answer()?),
            "cpu-usage" => Self::Cpu(
                Curve::parse(value, Unit::Nanocores)
                    .ok_or_else(|| wrong("CPU such as 250m, or a curve such as 0s:10m,1m:500m"))?,
            ),
            "memory-usage" => Self::Memory(
                Curve::parse(value, Unit::Bytes)
                    .ok_or_else(|| wrong("bytes such as 64Mi, or a curve such as 0s:10Mi,30s:200Mi"))?,
            ),
            _ => return Err(Error::UnknownKey(annotation.to_owned())),
        })
    }

    fn apply(self, behavior: &mut Behavior) {
        match self {
            Self::PullTime(new) => {
                if let Pull::Succeeds { time, .. } = &mut behavior.pull {
                    *time = new;
                }
            }
            Self::PullError(message) => behavior.pull = Pull::Fails(message),
            Self::StartTime(time) => behavior.start_time = time,
            Self::ExitAfter(time) => {
                let exit_code = if let Run::For { exit_code, .. } = behavior.run { exit_code } else { 0 };
                behavior.run = Run::For { time, exit_code };
            }
            Self::ExitCode(exit_code) => {
                let time = if let Run::For { time, .. } = behavior.run { time } else { Duration::ZERO };
                behavior.run = Run::For { time, exit_code };
            }
            Self::StopTime(Some(after)) => behavior.on_terminate = OnTerminate::Exit { after, code: 0 },
            Self::StopTime(None) => behavior.on_terminate = OnTerminate::Ignore,
            Self::ReadyAfter(time) => behavior.health.ready_after = time,
            Self::Readiness(answer) => behavior.health.readiness = Some(answer),
            Self::Liveness(answer) => behavior.health.liveness = Some(answer),
            Self::Startup(answer) => behavior.health.startup = Some(answer),
            Self::Cpu(curve) => behavior.usage.cpu = curve,
            Self::Memory(curve) => behavior.usage.memory = curve,
        }
    }
}

/// Each annotation of ours: its whole name, the container it names, its key and its value. Those for all containers
/// come first, so that those for one override them.
fn ours(pod: &Pod) -> impl Iterator<Item = (&str, Option<&str>, &str, &str)> {
    let annotations = || pod.metadata.annotations.iter().flatten();
    let split = |(name, value)| {
        let (name, value): (&String, &String) = (name, value);
        let key = name.strip_prefix(PREFIX)?;
        // Container names have no dots, keys neither.
        let (container, key) = key.split_once('.').map_or((None, key), |(container, key)| (Some(container), key));
        Some((name.as_str(), container, key, value.as_str()))
    };
    let for_all = annotations().filter_map(split).filter(|row| row.1.is_none());
    for_all.chain(annotations().filter_map(split).filter(|row| row.1.is_some()))
}

/// Applies a pod's annotations to one container's behaviour, passing over those that make no sense.
pub fn apply(behavior: &mut Behavior, pod: &Pod, container: &str) {
    for (name, only, key, value) in ours(pod) {
        if only.is_none_or(|only| only == container)
            && let Ok(change) = Override::parse(name, key, value)
        {
            change.apply(behavior);
        }
    }
}

/// The annotations of a pod that make no sense.
pub fn check(pod: &Pod) -> Vec<Error> {
    let spec = pod.spec.as_ref();
    let is_container = |name: &str| {
        spec.is_some_and(|spec| {
            spec.containers.iter().chain(spec.init_containers.iter().flatten()).any(|container| container.name == name)
        })
    };
    let check = |(name, container, key, value): (&str, Option<&str>, &str, &str)| {
        if container.is_some_and(|container| !is_container(container)) {
            return Err(Error::UnknownContainer(name.to_owned()));
        }
        Override::parse(name, key, value).map(drop)
    };
    ours(pod).filter_map(|row| check(row).err()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn pod(annotations: serde_json::Value) -> Pod {
        serde_json::from_value(json!({
            "metadata": {"annotations": annotations},
            "spec": {"containers": [{"name": "web", "image": "nginx"}, {"name": "log", "image": "busybox"}]}
        }))
        .unwrap()
    }

    fn behavior(pod: &Pod, container: usize) -> Behavior {
        Behavior::of(pod, &pod.spec.as_ref().unwrap().containers[container])
    }

    #[test]
    fn one_container_can_differ_from_the_others() {
        let pod = pod(
            json!({"kubelab.dev/exit-after": "9s", "kubelab.dev/web.exit-after": "2s", "kubelab.dev/web.exit-code": "3"}),
        );
        assert_eq!(behavior(&pod, 0).run, Run::For { time: Duration::from_secs(2), exit_code: 3 });
        assert_eq!(behavior(&pod, 1).run, Run::For { time: Duration::from_secs(9), exit_code: 0 });
        assert_eq!(check(&pod), []);
    }

    #[test]
    fn every_key_does_something() {
        let plain = behavior(&pod(json!({})), 0);
        for (key, value) in [
            ("pull-time", "7s"),
            ("pull-error", "no"),
            ("start-time", "7s"),
            ("exit-after", "7s"),
            ("exit-code", "7"),
            ("stop-time", "never"),
            ("ready-after", "7s"),
            ("probe-readiness", "fail"),
            ("probe-liveness", "timeout"),
            ("probe-startup", "pass"),
            ("cpu-usage", "0s:1m,9s:1"),
            ("memory-usage", "777Mi"),
        ] {
            let pod = pod(json!({format!("kubelab.dev/{key}"): value}));
            assert_ne!(behavior(&pod, 0), plain, "{key}");
            assert_eq!(check(&pod), [], "{key}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_named_and_changes_nothing() {
        for (key, value) in [
            ("kubelab.dev/exit-code", "many"),
            ("kubelab.dev/exit-code", "256"),
            ("kubelab.dev/pull-time", "soon"),
            ("kubelab.dev/probe-readiness", "perhaps"),
            ("kubelab.dev/memory-usage", "much"),
            ("kubelab.dev/colour", "blue"),
            ("kubelab.dev/db.exit-code", "1"),
        ] {
            let bad = pod(json!({key: value}));
            let errors = check(&bad);
            assert_eq!(errors.len(), 1, "{key}");
            assert!(errors[0].to_string().contains(key), "{}", errors[0]);
            assert_eq!(behavior(&bad, 0), behavior(&pod(json!({})), 0), "{key}");
        }
        assert_eq!(check(&pod(json!({"example.com/exit-code": "x"}))), []);
    }
}
