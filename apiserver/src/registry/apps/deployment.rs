//! Deployment. Source: `pkg/apis/apps/v1/defaults.go`, `pkg/apis/apps/validation/validation.go`,
//! `pkg/registry/apps/deployment/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus},
    apimachinery::pkg::util::intstr::IntOrString,
};
use serde_json::Value;

use super::workload;
use crate::registry::{
    cells::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR, cells, name, template_containers},
    core::pod,
    defaults::{missing, text},
    kind::{Column, Kind, Scale, age, column},
};

/// Deployment.
pub struct DeploymentKind;

impl Kind for DeploymentKind {
    type Object = Deployment;

    fn default(deployment: &mut Deployment) {
        let spec = &mut deployment.spec;
        missing(&mut spec.replicas, 1);
        missing(&mut spec.revision_history_limit, 10);
        missing(&mut spec.progress_deadline_seconds, 600);
        let strategy = spec.strategy.get_or_insert_default();
        text(&mut strategy.type_, "RollingUpdate");
        if strategy.type_.as_deref() == Some("RollingUpdate") {
            let rolling = strategy.rolling_update.get_or_insert_default();
            missing(&mut rolling.max_surge, IntOrString::String("25%".into()));
            missing(&mut rolling.max_unavailable, IntOrString::String("25%".into()));
        }
        pod::defaults::template(&mut spec.template);
    }

    fn prepare_create(deployment: &mut Deployment) {
        deployment.status = Some(DeploymentStatus::default());
    }

    fn prepare_update(new: &mut Deployment, old: &Deployment) {
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut Deployment, old: &Deployment) {
        new.spec.clone_from(&old.spec);
        new.metadata.labels.clone_from(&old.metadata.labels);
    }

    const GENERATION: bool = true;

    // The controller copies annotations down, so they count as the spec does.
    fn spec_changed(new: &Deployment, old: &Deployment) -> bool {
        new.spec != old.spec || new.metadata.annotations != old.metadata.annotations
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Ready", "string"),
        column("Up-to-date", "string"),
        column("Available", "string"),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ];

    fn cells(deployment: &Deployment, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&deployment.spec, deployment.status.as_ref());
        let replicas = |of: fn(&DeploymentStatus) -> Option<i32>| status.and_then(of).unwrap_or_default();
        let (names, images) = cells::containers(template_containers(&spec.template));
        cells![
            name(&deployment.metadata),
            format!("{}/{}", replicas(|status| status.ready_replicas), spec.replicas.unwrap_or_default()),
            replicas(|status| status.updated_replicas),
            replicas(|status| status.available_replicas),
            age(&deployment.metadata, now),
            names,
            images,
            cells::selector(Some(&spec.selector)),
        ]
    }

    fn scale(deployment: &Deployment) -> Option<Scale> {
        let spec = &deployment.spec;
        let observed = deployment.status.as_ref().and_then(|status| status.replicas);
        Some(workload::scale(spec.replicas, observed, cells::selector_text(&spec.selector)))
    }

    fn set_replicas(deployment: &mut Deployment, replicas: i32) {
        deployment.spec.replicas = Some(replicas);
    }

    fn note(new: &Deployment, old: Option<&Deployment>) -> String {
        let size = |deployment: &Deployment| workload::Size {
            wanted: deployment.spec.replicas.unwrap_or_default(),
            ready: deployment.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default(),
        };
        workload::note((size(new), Some(&new.spec.template)), old.map(|old| (size(old), Some(&old.spec.template))))
    }
}
