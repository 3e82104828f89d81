//! ReplicationController. Source: `pkg/apis/core/v1/defaults.go`, `pkg/apis/core/validation/validation.go`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::ReplicationController;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    apps::workload,
    cells::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR, cells, template_containers, text},
    core::pod,
    defaults::missing,
    kind::{Column, Kind, Scale, age, column},
    status::spec_and_status,
    validation::{json, nonnegative},
};

/// ReplicationController.
pub struct ReplicationControllerKind;

impl Kind for ReplicationControllerKind {
    type Object = ReplicationController;

    const ORPHANS_DEPENDENTS: bool = true;

    fn default(controller: &mut ReplicationController) {
        let spec = controller.spec.get_or_insert_default();
        missing(&mut spec.replicas, 1);
        let template = spec.template.get_or_insert_default();
        pod::defaults::template(template);
        let Some(labels) = template.metadata.as_ref().and_then(|meta| meta.labels.clone()) else { return };
        if spec.selector.as_ref().is_none_or(BTreeMap::is_empty) {
            spec.selector = Some(labels.clone());
        }
        if controller.metadata.labels.as_ref().is_none_or(BTreeMap::is_empty) {
            controller.metadata.labels = Some(labels);
        }
    }

    spec_and_status!(generation);

    fn validate_status_update(new: &ReplicationController, _old: &ReplicationController, errors: &mut Errors) {
        let Some(status) = &new.status else { return };
        let path = Path::new("status");
        let parts = [
            ("fullyLabeledReplicas", status.fully_labeled_replicas),
            ("readyReplicas", status.ready_replicas),
            ("availableReplicas", status.available_replicas),
        ];
        workload::counts(("replicas", status.replicas), &parts, &path, errors);
        nonnegative(status.observed_generation, &path.child("observedGeneration"), errors);
        workload::available_are_ready(status.available_replicas, status.ready_replicas, &path, errors);
    }

    fn warnings(controller: &ReplicationController) -> Vec<String> {
        workload::create_warnings(
            &controller.metadata,
            controller.spec.as_ref().and_then(|spec| spec.template.as_ref()),
        )
    }

    fn validate(controller: &ReplicationController, errors: &mut Errors) {
        let Some(spec) = &controller.spec else { return };
        let path = Path::new("spec");
        nonnegative(spec.min_ready_seconds, &path.child("minReadySeconds"), errors);
        nonnegative(spec.replicas, &path.child("replicas"), errors);
        let selector = spec.selector.clone().unwrap_or_default();
        if selector.is_empty() {
            errors.required(&path.child("selector"), "");
        }
        let path = path.child("template");
        let Some(template) = &spec.template else { return errors.required(&path, "") };
        let labels = template.metadata.as_ref().and_then(|meta| meta.labels.clone()).unwrap_or_default();
        if !selector.iter().all(|(key, value)| labels.get(key) == Some(value)) {
            let path = path.child("metadata").child("labels");
            errors.invalid(&path, json(&labels), "`selector` does not match template `labels`");
        }
        pod::validation::template(template, &path, errors);
        let restarts = template.spec.as_ref().map_or("", |spec| text(&spec.restart_policy));
        if restarts != "Always" {
            errors.not_supported(&path.child("spec").child("restartPolicy"), restarts, &["Always"]);
        }
        if template.spec.as_ref().is_some_and(|spec| spec.active_deadline_seconds.is_some()) {
            let detail = "activeDeadlineSeconds in ReplicationController is not Supported";
            errors.forbidden(&path.child("spec").child("activeDeadlineSeconds"), detail);
        }
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Desired", "integer"),
        column("Current", "integer"),
        column("Ready", "integer"),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ];

    fn cells(controller: &ReplicationController, now: Timestamp) -> Vec<Value> {
        let (no_spec, no_status) = Default::default();
        let spec = controller.spec.as_ref().unwrap_or(&no_spec);
        let status = controller.status.as_ref().unwrap_or(&no_status);
        let (names, images) = cells::containers(spec.template.as_ref().map_or(&[][..], template_containers));
        cells![
            cells::name(&controller.metadata),
            spec.replicas.unwrap_or_default(),
            status.replicas,
            status.ready_replicas.unwrap_or_default(),
            age(&controller.metadata, now),
            names,
            images,
            cells::labels(spec.selector.as_ref()),
        ]
    }

    fn fields(controller: &ReplicationController) -> Vec<(&'static str, String)> {
        let replicas = controller.status.as_ref().map_or(0, |status| status.replicas);
        vec![("name", cells::name(&controller.metadata).to_owned()), ("status.replicas", replicas.to_string())]
    }

    fn scale(controller: &ReplicationController) -> Option<Scale> {
        let spec = controller.spec.as_ref()?;
        let selector = spec.selector.iter().flatten().map(|(key, value)| format!("{key}={value}"));
        let selector = selector.collect::<Vec<_>>().join(",");
        let observed = controller.status.as_ref().map(|status| status.replicas);
        Some(workload::scale(spec.replicas, observed, selector))
    }

    fn set_replicas(controller: &mut ReplicationController, replicas: i32) {
        controller.spec.get_or_insert_default().replicas = Some(replicas);
    }

    fn note(new: &ReplicationController, old: Option<&ReplicationController>) -> String {
        let size = |controller: &ReplicationController| workload::Size {
            wanted: controller.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default(),
            ready: controller.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default(),
        };
        let template = |controller: &ReplicationController| controller.spec.clone().and_then(|spec| spec.template);
        let (new_template, old_template) = (template(new), old.and_then(template));
        workload::note((size(new), new_template.as_ref()), old.map(|old| (size(old), old_template.as_ref())))
    }
}
