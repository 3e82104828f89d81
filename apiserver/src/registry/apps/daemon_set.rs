//! DaemonSet. Source: `pkg/apis/apps/v1/defaults.go`, `pkg/apis/apps/validation/validation.go`,
//! `pkg/registry/apps/daemonset/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::{
    api::apps::v1::{DaemonSet, DaemonSetStatus},
    apimachinery::pkg::util::intstr::IntOrString,
};
use kubelab_api::{
    field::{Errors, Path},
    well_known::annotation::TEMPLATE_GENERATION,
};
use serde_json::Value;

use super::workload;
use crate::registry::{
    cells::{self, AGE, CONTAINERS, IMAGES, NAME, SELECTOR, cells, template_containers, text},
    core::pod,
    defaults::{self, missing},
    kind::{Column, Kind, age, column},
    validation::{immutable, int_or_percent, json, nonnegative},
};

/// DaemonSet.
pub struct DaemonSetKind;

/// The count of templates, kept in an annotation since `apps/v1` has no field for it.
fn template_generation(set: &DaemonSet) -> i64 {
    kubelab_api::meta::annotation(&set.metadata, TEMPLATE_GENERATION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn set_template_generation(set: &mut DaemonSet, generation: i64) {
    let annotations = set.metadata.annotations.get_or_insert_default();
    annotations.insert(TEMPLATE_GENERATION.into(), generation.to_string());
}

impl Kind for DaemonSetKind {
    type Object = DaemonSet;

    fn default(set: &mut DaemonSet) {
        let spec = &mut set.spec;
        missing(&mut spec.revision_history_limit, 10);
        let strategy = spec.update_strategy.get_or_insert_default();
        defaults::text(&mut strategy.type_, "RollingUpdate");
        if text(&strategy.type_) == "RollingUpdate" {
            let rolling = strategy.rolling_update.get_or_insert_default();
            missing(&mut rolling.max_unavailable, IntOrString::Int(1));
            missing(&mut rolling.max_surge, IntOrString::Int(0));
        }
        pod::defaults::template(&mut spec.template);
    }

    fn prepare_create(set: &mut DaemonSet) {
        set.status = Some(DaemonSetStatus::default());
        set_template_generation(set, template_generation(set).max(1));
    }

    fn prepare_update(new: &mut DaemonSet, old: &DaemonSet) {
        new.status.clone_from(&old.status);
        let changed = new.spec.template != old.spec.template;
        set_template_generation(new, template_generation(old) + i64::from(changed));
    }

    fn prepare_status_update(new: &mut DaemonSet, old: &DaemonSet) {
        new.spec.clone_from(&old.spec);
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &DaemonSet, old: &DaemonSet) -> bool {
        new.spec != old.spec
    }

    fn validate(set: &DaemonSet, errors: &mut Errors) {
        let (spec, path) = (&set.spec, Path::new("spec"));
        workload::selector_and_template(&spec.selector, Some(&spec.template), "DaemonSet", &path, errors);
        nonnegative(spec.min_ready_seconds, &path.child("minReadySeconds"), errors);
        nonnegative(spec.revision_history_limit, &path.child("revisionHistoryLimit"), errors);
        let Some(strategy) = &spec.update_strategy else { return };
        let path = path.child("updateStrategy");
        match (text(&strategy.type_), &strategy.rolling_update) {
            ("RollingUpdate", Some(rolling)) => {
                let path = path.child("rollingUpdate");
                let none = IntOrString::Int(0);
                let unavailable = rolling.max_unavailable.as_ref().unwrap_or(&none);
                let surge = rolling.max_surge.as_ref().unwrap_or(&none);
                int_or_percent(unavailable, &path.child("maxUnavailable"), errors);
                int_or_percent(surge, &path.child("maxSurge"), errors);
                let zero = |value: &IntOrString| matches!(value, IntOrString::Int(0)) || text_is_zero(value);
                match (zero(unavailable), zero(surge)) {
                    (true, true) => {
                        errors.required(&path.child("maxUnavailable"), "cannot be 0 when maxSurge is 0");
                    }
                    (false, false) => {
                        let value = json(surge);
                        errors.invalid(
                            &path.child("maxSurge"),
                            value,
                            "may not be set when maxUnavailable is non-zero",
                        );
                    }
                    _ => {}
                }
            }
            ("RollingUpdate", None) => errors.required(&path.child("rollingUpdate"), ""),
            ("OnDelete", _) => {}
            (other, rolling) => {
                let rolling = rolling.as_ref().map(|rolling| (&rolling.max_unavailable, &rolling.max_surge));
                workload::unknown_strategy(other, rolling, &["RollingUpdate", "OnDelete"], &path, errors);
            }
        }
    }

    fn validate_update(new: &DaemonSet, old: &DaemonSet, errors: &mut Errors) {
        immutable(&new.spec.selector, &old.spec.selector, &Path::new("spec").child("selector"), errors);
    }

    fn validate_status_update(new: &DaemonSet, old: &DaemonSet, errors: &mut Errors) {
        let Some(status) = &new.status else { return };
        let path = Path::new("status");
        for (field, count) in [
            ("currentNumberScheduled", Some(status.current_number_scheduled)),
            ("numberMisscheduled", Some(status.number_misscheduled)),
            ("desiredNumberScheduled", Some(status.desired_number_scheduled)),
            ("numberReady", Some(status.number_ready)),
            ("updatedNumberScheduled", status.updated_number_scheduled),
            ("numberAvailable", status.number_available),
            ("numberUnavailable", status.number_unavailable),
        ] {
            nonnegative(count, &path.child(field), errors);
        }
        nonnegative(status.observed_generation, &path.child("observedGeneration"), errors);
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        workload::not_decremented(status.collision_count, before, &path, errors);
    }

    fn warnings(set: &DaemonSet) -> Vec<String> {
        workload::warnings(Some(&set.spec.template))
    }

    fn update_warnings(new: &DaemonSet, old: &DaemonSet) -> Vec<String> {
        workload::update_warnings(Some(&new.spec.template), Some(&old.spec.template))
    }

    const COLUMNS: &'static [Column] = &[
        NAME,
        column("Desired", "integer"),
        column("Current", "integer"),
        column("Ready", "integer"),
        column("Up-to-date", "integer"),
        column("Available", "integer"),
        column("Node Selector", "string"),
        AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ];

    fn cells(set: &DaemonSet, now: Timestamp) -> Vec<Value> {
        let no_status = DaemonSetStatus::default();
        let spec = &set.spec;
        let status = set.status.as_ref().unwrap_or(&no_status);
        let (names, images) = cells::containers(template_containers(&spec.template));
        let nodes = spec.template.spec.as_ref().and_then(|spec| spec.node_selector.as_ref());
        cells![
            cells::name(&set.metadata),
            status.desired_number_scheduled,
            status.current_number_scheduled,
            status.number_ready,
            status.updated_number_scheduled.unwrap_or_default(),
            status.number_available.unwrap_or_default(),
            cells::labels(nodes),
            age(&set.metadata, now),
            names,
            images,
            cells::selector(Some(&spec.selector)),
        ]
    }

    fn note(new: &DaemonSet, old: Option<&DaemonSet>) -> String {
        let ready = |set: &DaemonSet| {
            let status = set.status.as_ref();
            status.map_or_else(String::new, |s| format!("{}/{}", s.number_ready, s.desired_number_scheduled))
        };
        let Some(old) = old else { return "created".into() };
        let changed = workload::template_note(&new.spec.template, &old.spec.template);
        let progress = (ready(old) != ready(new)).then(|| format!("ready {} → {}", ready(old), ready(new)));
        changed.into_iter().chain(progress).collect::<Vec<_>>().join(", ")
    }
}

fn text_is_zero(value: &IntOrString) -> bool {
    kubelab_api::intstr::percent(value) == Some(0)
}
