//! ReplicaSet. Source: `pkg/apis/apps/v1/defaults.go`, `pkg/apis/apps/validation/validation.go`,
//! `pkg/registry/apps/replicaset/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetStatus};
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::workload;
use crate::registry::{
    cells::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR, cells, name, template_containers},
    core::pod,
    defaults::missing,
    kind::{Column, Kind, Scale, age, column},
    validation::{immutable, nonnegative},
};

/// ReplicaSet.
pub struct ReplicaSetKind;

impl Kind for ReplicaSetKind {
    type Object = ReplicaSet;

    fn default(set: &mut ReplicaSet) {
        let spec = &mut set.spec;
        missing(&mut spec.replicas, 1);
        pod::defaults::template(spec.template.get_or_insert_default());
    }

    fn prepare_create(set: &mut ReplicaSet) {
        set.status = Some(ReplicaSetStatus::default());
    }

    fn prepare_update(new: &mut ReplicaSet, old: &ReplicaSet) {
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut ReplicaSet, old: &ReplicaSet) {
        new.spec.clone_from(&old.spec);
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &ReplicaSet, old: &ReplicaSet) -> bool {
        new.spec != old.spec
    }

    fn validate(set: &ReplicaSet, errors: &mut Errors) {
        let (spec, path) = (&set.spec, Path::new("spec"));
        nonnegative(spec.replicas, &path.child("replicas"), errors);
        nonnegative(spec.min_ready_seconds, &path.child("minReadySeconds"), errors);
        workload::selector_and_template(&spec.selector, spec.template.as_ref(), "ReplicaSet", &path, errors);
    }

    fn validate_update(new: &ReplicaSet, old: &ReplicaSet, errors: &mut Errors) {
        immutable(&new.spec.selector, &old.spec.selector, &Path::new("spec").child("selector"), errors);
    }

    fn validate_status_update(new: &ReplicaSet, _old: &ReplicaSet, errors: &mut Errors) {
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

    fn warnings(set: &ReplicaSet) -> Vec<String> {
        workload::create_warnings(&set.metadata, set.spec.template.as_ref())
    }

    fn update_warnings(new: &ReplicaSet, old: &ReplicaSet) -> Vec<String> {
        workload::update_warnings(new.spec.template.as_ref(), old.spec.template.as_ref())
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

    fn cells(set: &ReplicaSet, now: Timestamp) -> Vec<Value> {
        let (spec, status) = (&set.spec, set.status.as_ref());
        let (names, images) = cells::containers(spec.template.as_ref().map_or(&[], template_containers));
        cells![
            name(&set.metadata),
            spec.replicas.unwrap_or_default(),
            status.map_or(0, |status| status.replicas),
            status.and_then(|status| status.ready_replicas).unwrap_or_default(),
            age(&set.metadata, now),
            names,
            images,
            cells::selector(Some(&spec.selector)),
        ]
    }

    fn fields(set: &ReplicaSet) -> Vec<(&'static str, String)> {
        vec![("status.replicas", set.status.as_ref().map_or(0, |status| status.replicas).to_string())]
    }

    fn scale(set: &ReplicaSet) -> Option<Scale> {
        let spec = &set.spec;
        let observed = set.status.as_ref().map(|status| status.replicas);
        Some(workload::scale(spec.replicas, observed, cells::selector_text(&spec.selector)))
    }

    fn set_replicas(set: &mut ReplicaSet, replicas: i32) {
        set.spec.replicas = Some(replicas);
    }

    fn note(new: &ReplicaSet, old: Option<&ReplicaSet>) -> String {
        let size = |set: &ReplicaSet| workload::Size {
            wanted: set.spec.replicas.unwrap_or_default(),
            ready: set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default(),
        };
        workload::note((size(new), new.spec.template.as_ref()), old.map(|old| (size(old), old.spec.template.as_ref())))
    }
}
