//! Pods of one operating system. Source: `validateOS`, `validateLinux`, `validateWindows` and
//! `validateWindowsHostProcessPod`.

use k8s_openapi::api::core::v1::{Container, PodSpec};
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{cells::list, core::pod::ephemeral, validation::json};

/// All containers with their paths.
fn containers(spec: &PodSpec, path: &Path) -> Vec<(Container, Path)> {
    let at = |field: &str, i: usize| path.child(field).index(i);
    let init = list(&spec.init_containers).iter().cloned().enumerate().map(|(i, one)| (one, at("initContainers", i)));
    let main = spec.containers.iter().cloned().enumerate().map(|(i, one)| (one, at("containers", i)));
    let ephemeral = list(&spec.ephemeral_containers).iter().cloned().enumerate();
    let ephemeral = ephemeral.map(|(i, one)| (ephemeral::split(one).0, at("ephemeralContainers", i)));
    init.chain(main).chain(ephemeral).collect()
}

const WINDOWS_POD: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "fsGroup",
    "fsGroupChangePolicy",
    "sysctls",
    "runAsUser",
    "runAsGroup",
    "supplementalGroups",
    "supplementalGroupsPolicy",
    "seLinuxChangePolicy",
];
const WINDOWS_CONTAINER: &[&str] = &[
    "appArmorProfile",
    "seLinuxOptions",
    "seccompProfile",
    "capabilities",
    "readOnlyRootFilesystem",
    "privileged",
    "allowPrivilegeEscalation",
    "procMount",
    "runAsUser",
    "runAsGroup",
];

fn forbid(said: &Value, fields: &[&str], detail: &str, path: &Path, errors: &mut Errors) {
    for field in fields.iter().filter(|field| said.get(**field).is_some()) {
        errors.forbidden(&path.child(field), detail);
    }
}

/// What a pod for one operating system may not say.
pub(super) fn validate(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let Some(os) = &spec.os else { return };
    let linux = match os.name.as_str() {
        "" => return errors.required(&path.child("os").child("name"), "cannot be empty"),
        "linux" => true,
        "windows" => false,
        other => return errors.not_supported(&path.child("os"), other, &["linux", "windows"]),
    };
    let (pod, container, detail) = match linux {
        true => (&["windowsOptions"][..], &["windowsOptions"][..], "windows options cannot be set for a linux pod"),
        false => (WINDOWS_POD, WINDOWS_CONTAINER, "cannot be set for a windows pod"),
    };
    if let Some(context) = &spec.security_context {
        forbid(&json(context), pod, detail, &path.child("securityContext"), errors);
    }
    if !linux {
        let given = [
            ("hostUsers", spec.host_users.is_some()),
            ("hostPID", spec.host_pid == Some(true)),
            ("hostIPC", spec.host_ipc == Some(true)),
            ("shareProcessNamespace", spec.share_process_namespace.is_some()),
        ];
        for (field, _) in given.iter().filter(|(_, given)| *given) {
            errors.forbidden(&path.child(field), detail);
        }
    }
    for (one, path) in containers(spec, path) {
        if let Some(context) = &one.security_context {
            forbid(&json(context), container, detail, &path.child("securityContext"), errors);
        }
    }
}

/// Containers that run as processes of a Windows host: all of a pod, or none.
pub(super) fn host_process(spec: &PodSpec, path: &Path, errors: &mut Errors) {
    let options = spec.security_context.as_ref().and_then(|context| context.windows_options.as_ref());
    let of_pod = options.and_then(|options| options.host_process);
    let all = containers(spec, path);
    let mut count = 0;
    for (container, path) in &all {
        let options = container.security_context.as_ref().and_then(|context| context.windows_options.as_ref());
        let own = options.and_then(|options| options.host_process);
        if let (Some(of_pod), Some(own)) = (of_pod, own)
            && of_pod != own
        {
            let path = path.child("securityContext").child("windowsOptions").child("hostProcess");
            let detail = format!("pod hostProcess value must be identical if both are specified, was {of_pod}");
            errors.invalid(&path, own, &detail);
        }
        count += usize::from(own.or(of_pod) == Some(true));
    }
    if count == 0 {
        return;
    }
    if count != all.len() {
        let detail = "If pod contains any hostProcess containers then all containers must be HostProcess containers";
        errors.invalid(path, "", detail);
    }
    if spec.host_network != Some(true) {
        let detail = "hostNetwork must be true if pod contains any hostProcess containers";
        errors.invalid(&path.child("hostNetwork"), false, detail);
    }
}
