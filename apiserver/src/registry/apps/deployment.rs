//! Deployment. Source: `pkg/apis/apps/v1/defaults.go`, `pkg/apis/apps/validation/validation.go`,
//! `pkg/registry/apps/deployment/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{Deployment, DeploymentStatus, DeploymentStrategy},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kubelab_api::{
    field::{Errors, Path},
    intstr,
};
use serde_json::Value;

use super::workload;
use crate::registry::{
    cells::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR, cells, name, template_containers},
    core::pod,
    defaults::{missing, text},
    kind::{Column, Kind, Scale, age, column},
    validation::{at_most_100_percent, immutable, int_or_percent, json, nonnegative},
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

    fn validate(deployment: &Deployment, errors: &mut Errors) {
        let (spec, path) = (&deployment.spec, Path::new("spec"));
        nonnegative(spec.replicas, &path.child("replicas"), errors);
        workload::selector_and_template(&spec.selector, Some(&spec.template), "ReplicaSet", &path, errors);
        if let Some(strategy) = &spec.strategy {
            validate_strategy(strategy, &path.child("strategy"), errors);
        }
        nonnegative(spec.min_ready_seconds, &path.child("minReadySeconds"), errors);
        nonnegative(spec.revision_history_limit, &path.child("revisionHistoryLimit"), errors);
        if let Some(seconds) = spec.progress_deadline_seconds {
            let path = path.child("progressDeadlineSeconds");
            nonnegative(Some(seconds), &path, errors);
            if seconds <= spec.min_ready_seconds.unwrap_or_default() {
                errors.invalid(&path, seconds, "must be greater than minReadySeconds");
            }
        }
    }

    fn validate_update(new: &Deployment, old: &Deployment, errors: &mut Errors) {
        immutable(&new.spec.selector, &old.spec.selector, &Path::new("spec").child("selector"), errors);
    }

    fn validate_status_update(new: &Deployment, old: &Deployment, errors: &mut Errors) {
        let Some(status) = &new.status else { return };
        let path = Path::new("status");
        nonnegative(status.observed_generation, &path.child("observedGeneration"), errors);
        let parts = [
            ("updatedReplicas", status.updated_replicas),
            ("readyReplicas", status.ready_replicas),
            ("availableReplicas", status.available_replicas),
        ];
        workload::counts(("replicas", status.replicas.unwrap_or_default()), &parts, &path, errors);
        nonnegative(status.unavailable_replicas, &path.child("unavailableReplicas"), errors);
        workload::available_are_ready(status.available_replicas, status.ready_replicas, &path, errors);
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        workload::not_decremented(status.collision_count, before, &path, errors);
    }

    fn warnings(deployment: &Deployment) -> Vec<String> {
        workload::create_warnings(&deployment.metadata, Some(&deployment.spec.template))
    }

    fn update_warnings(new: &Deployment, old: &Deployment) -> Vec<String> {
        workload::update_warnings(Some(&new.spec.template), Some(&old.spec.template))
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

fn validate_strategy(strategy: &DeploymentStrategy, path: &Path, errors: &mut Errors) {
    let path_of_rolling = path.child("rollingUpdate");
    match (cells::text(&strategy.type_), &strategy.rolling_update) {
        ("Recreate", Some(_)) => {
            errors.forbidden(&path_of_rolling, "may not be specified when strategy `type` is 'Recreate'");
        }
        ("Recreate", None) => {}
        ("RollingUpdate", rolling) => {
            let none = IntOrString::Int(0);
            let rolling = rolling.clone().unwrap_or_default();
            let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&none);
            let surge = rolling.max_surge.as_ref().unwrap_or(&none);
            int_or_percent(unavailable, &path_of_rolling.child("maxUnavailable"), errors);
            int_or_percent(surge, &path_of_rolling.child("maxSurge"), errors);
            if is_zero(unavailable) && is_zero(surge) {
                let detail = "may not be 0 when `maxSurge` is 0";
                errors.invalid(&path_of_rolling.child("maxUnavailable"), json(unavailable), detail);
            }
            at_most_100_percent(unavailable, &path_of_rolling.child("maxUnavailable"), errors);
        }
        (other, rolling) => {
            let rolling = rolling.as_ref().map(|rolling| (&rolling.max_unavailable, &rolling.max_surge));
            workload::unknown_strategy(other, rolling, &["Recreate", "RollingUpdate"], path, errors);
        }
    }
}

fn is_zero(value: &IntOrString) -> bool {
    match value {
        IntOrString::Int(number) => *number == 0,
        IntOrString::String(_) => intstr::percent(value).unwrap_or_default() == 0,
    }
}
