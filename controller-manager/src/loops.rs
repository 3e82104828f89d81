//! The table of control loops.

use std::{pin::Pin, sync::LazyLock};

use k8s_openapi::api::{apps::v1::ReplicaSet, core::v1::ReplicationController};
use kubelab_client::metrics::{By, Family, Gauge, gauges};
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::{
    Context, attach_detach, bootstrap_token, certificates, cluster_role_aggregation, cron_job,
    custom_resource_definition, daemon_set, deployment, disruption, endpoint_slice, endpoint_slice_mirroring,
    endpoints, ephemeral_volume, garbage_collector, job, load_balancer, namespace, node_ipam, node_lifecycle, node_ttl,
    persistent_volume, pod_autoscaler, pod_gc, replica_set, resource_quota, root_ca_publisher, service_account,
    stateful_set, storage_protection, taint_eviction, token, ttl_after_finished, volume_expansion, volume_provisioner,
};

/// One control loop.
pub struct Loop {
    /// Upstream's name, for `--controllers`. Source: `cmd/kube-controller-manager/names/controller_names.go`. Those that end
    /// otherwise than in `-controller` stand for processes that a real cluster runs beside its controller-manager.
    pub name: &'static str,
    start: fn(Context) -> Pin<Box<dyn Future<Output = ()> + Send>>,
}

/// Every loop. To add one: a file with `pub async fn run(context: Context)`, and a row here.
pub const LOOPS: &[Loop] = &[
    Loop { name: "deployment-controller", start: |context| Box::pin(deployment::run(context)) },
    Loop { name: "replicaset-controller", start: |context| Box::pin(replica_set::run::<ReplicaSet>(context)) },
    Loop {
        name: "replicationcontroller-controller",
        start: |context| Box::pin(replica_set::run::<ReplicationController>(context)),
    },
    Loop { name: "daemonset-controller", start: |context| Box::pin(daemon_set::run(context)) },
    Loop { name: "statefulset-controller", start: |context| Box::pin(stateful_set::run(context)) },
    Loop { name: "job-controller", start: |context| Box::pin(job::run(context)) },
    Loop { name: "cronjob-controller", start: |context| Box::pin(cron_job::run(context)) },
    Loop { name: "ttl-after-finished-controller", start: |context| Box::pin(ttl_after_finished::run(context)) },
    Loop { name: "disruption-controller", start: |context| Box::pin(disruption::run(context)) },
    Loop { name: "horizontal-pod-autoscaler-controller", start: |context| Box::pin(pod_autoscaler::run(context)) },
    Loop { name: "endpoints-controller", start: |context| Box::pin(endpoints::run(context)) },
    Loop { name: "endpointslice-controller", start: |context| Box::pin(endpoint_slice::run(context)) },
    Loop {
        name: "endpointslice-mirroring-controller",
        start: |context| Box::pin(endpoint_slice_mirroring::run(context)),
    },
    Loop { name: "node-lifecycle-controller", start: |context| Box::pin(node_lifecycle::run(context)) },
    Loop { name: "taint-eviction-controller", start: |context| Box::pin(taint_eviction::run(context)) },
    Loop { name: "node-ipam-controller", start: |context| Box::pin(node_ipam::run(context)) },
    Loop { name: "ttl-controller", start: |context| Box::pin(node_ttl::run(context)) },
    Loop { name: "service-lb-controller", start: |context| Box::pin(load_balancer::run(context)) },
    Loop { name: "serviceaccount-controller", start: |context| Box::pin(service_account::run(context)) },
    Loop {
        name: "root-ca-certificate-publisher-controller",
        start: |context| Box::pin(root_ca_publisher::run(context)),
    },
    Loop { name: "garbage-collector-controller", start: |context| Box::pin(garbage_collector::run(context)) },
    Loop {
        name: "custom-resource-definition-controller",
        start: |context| Box::pin(custom_resource_definition::run(context)),
    },
    Loop { name: "namespace-controller", start: |context| Box::pin(namespace::run(context)) },
    Loop { name: "resourcequota-controller", start: |context| Box::pin(resource_quota::run(context)) },
    Loop { name: "persistentvolume-binder-controller", start: |context| Box::pin(persistent_volume::run(context)) },
    Loop { name: "volume-provisioner", start: |context| Box::pin(volume_provisioner::run(context)) },
    Loop { name: "persistentvolume-expander-controller", start: |context| Box::pin(volume_expansion::run(context)) },
    Loop { name: "ephemeral-volume-controller", start: |context| Box::pin(ephemeral_volume::run(context)) },
    Loop { name: "persistentvolume-attach-detach-controller", start: |context| Box::pin(attach_detach::run(context)) },
    Loop { name: "volume-attacher", start: |context| Box::pin(attach_detach::attacher::run(context)) },
    Loop {
        name: "persistentvolumeclaim-protection-controller",
        start: |context| Box::pin(storage_protection::run_for_claims(context)),
    },
    Loop {
        name: "persistentvolume-protection-controller",
        start: |context| Box::pin(storage_protection::run_for_volumes(context)),
    },
    Loop { name: "pod-garbage-collector-controller", start: |context| Box::pin(pod_gc::run(context)) },
    Loop { name: "serviceaccount-token-controller", start: |context| Box::pin(token::run(context)) },
    Loop {
        name: "clusterrole-aggregation-controller",
        start: |context| Box::pin(cluster_role_aggregation::run(context)),
    },
    Loop { name: "bootstrap-signer-controller", start: |context| Box::pin(bootstrap_token::signer::run(context)) },
    Loop { name: "token-cleaner-controller", start: |context| Box::pin(bootstrap_token::cleaner::run(context)) },
    Loop {
        name: "certificatesigningrequest-approving-controller",
        start: |context| Box::pin(certificates::approver::run(context)),
    },
    Loop {
        name: "certificatesigningrequest-signing-controller",
        start: |context| Box::pin(certificates::signer::run(context)),
    },
    Loop {
        name: "certificatesigningrequest-cleaner-controller",
        start: |context| Box::pin(certificates::cleaner::run(context)),
    },
];

/// Which loops run, under upstream's name.
static RUNNING: LazyLock<Family<By<2>, Gauge>> = LazyLock::new(|| {
    gauges("running_managed_controllers", "Indicates where instances of a controller are currently running")
});

/// Runs the loops that `--controllers` asks for until dropped. None of them ends by itself.
pub async fn run(context: Context) -> anyhow::Result<()> {
    let mut tasks = JoinSet::new();
    for Loop { name, start } in LOOPS.iter().filter(|row| is_enabled(row.name, &context.options.controllers)) {
        let context = Context { client: context.client.with_agent(name), ..context.clone() };
        RUNNING.get_or_create(&[("name", name), ("manager", "kube-controller-manager")]).set(1);
        tasks.spawn(start(context).instrument(tracing::info_span!("loop", name)));
    }
    match tasks.join_next().await {
        Some(Ok(())) => anyhow::bail!("a control loop ended by itself"),
        Some(Err(error)) => Err(anyhow::Error::new(error).context("a control loop failed")),
        None => anyhow::bail!("--controllers leaves no control loop to run"),
    }
}

/// `*` means all, `name` this one, `-name` all but this one. Source: the flag of the same name upstream.
fn is_enabled(name: &str, flags: &[String]) -> bool {
    let is_off = flags.iter().any(|flag| flag.strip_prefix('-') == Some(name));
    !is_off && flags.iter().any(|flag| flag == "*" || flag == name)
}

/// What is wrong with the value of `--controllers`, if anything.
pub fn check(flags: &[String]) -> Result<(), String> {
    let known = |flag: &&String| {
        let name = flag.strip_prefix('-').unwrap_or(flag);
        name == "*" || LOOPS.iter().any(|row| row.name == name)
    };
    match flags.iter().find(|flag| !known(flag)) {
        None => Ok(()),
        Some(unknown) => {
            let names: Vec<&str> = LOOPS.iter().map(|row| row.name).collect();
            Err(format!("{unknown:?} is not in the list of known controllers: {}", names.join(", ")))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_chooses() {
        for (flags, expected) in [
            (vec!["*"], [true, true]),
            (vec!["*", "-deployment-controller"], [false, true]),
            (vec!["deployment-controller"], [true, false]),
            (vec![], [false, false]),
        ] {
            let flags: Vec<String> = flags.into_iter().map(str::to_owned).collect();
            let names = ["deployment-controller", "replicaset-controller"];
            assert_eq!(names.map(|name| is_enabled(name, &flags)), expected, "{flags:?}");
            assert_eq!(check(&flags), Ok(()));
        }
        assert!(check(&["deploy".to_owned()]).is_err());
    }
}
