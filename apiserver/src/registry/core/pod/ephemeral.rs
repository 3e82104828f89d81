//! An ephemeral container is a container with a target: one set of rules serves both.

use k8s_openapi::api::core::v1::{Container, EphemeralContainer};

macro_rules! same_fields {
    ($from:expr => $to:ident { $($field:ident),* $(,)? } $($extra:tt)*) => {{
        let from = $from;
        $to { $($field: from.$field,)* $($extra)* }
    }};
}

/// The container, and its target's name.
pub fn split(mut ephemeral: EphemeralContainer) -> (Container, Option<String>) {
    let target = ephemeral.target_container_name.take();
    let container = same_fields!(ephemeral => Container {
        args, command, env, env_from, image, image_pull_policy, lifecycle, liveness_probe, name, ports,
        readiness_probe, resize_policy, resources, restart_policy, restart_policy_rules, security_context,
        startup_probe, stdin, stdin_once, termination_message_path, termination_message_policy, tty,
        volume_devices, volume_mounts, working_dir,
    });
    (container, target)
}

/// The opposite of [`split`].
pub fn join(container: Container, target_container_name: Option<String>) -> EphemeralContainer {
    same_fields!(container => EphemeralContainer {
        args, command, env, env_from, image, image_pull_policy, lifecycle, liveness_probe, name, ports,
        readiness_probe, resize_policy, resources, restart_policy, restart_policy_rules, security_context,
        startup_probe, stdin, stdin_once, termination_message_path, termination_message_policy, tty,
        volume_devices, volume_mounts, working_dir,
    } target_container_name)
}
