//! StatefulSet. Source: `pkg/apis/apps/v1/defaults.go`, `pkg/apis/apps/validation/validation.go`,
//! `pkg/registry/apps/statefulset/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::{
    apps::v1::{StatefulSet, StatefulSetSpec},
    core::v1::{PersistentVolumeClaimVolumeSource, PodTemplateSpec, Volume},
};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use super::workload;
use crate::registry::{
    cells::{self, AGE, CONTAINERS, IMAGES, NAME, cells, list, template_containers, text},
    core::{
        persistent_volume_claim::{default_claim, spec_warnings},
        pod,
    },
    defaults::{self, each, missing},
    kind::{Column, Kind, Scale, age, column},
    status::spec_and_status,
    validation::{at_most_100_percent, int_or_percent, json, nonnegative},
};

/// StatefulSet.
pub struct StatefulSetKind;

/// The template as the pods have it: with a volume for each claim, which containers may mount. Upstream leaves the
/// template's pod unchecked until a pod is made of it.
fn with_claims(spec: &StatefulSetSpec) -> PodTemplateSpec {
    let mut template = spec.template.clone();
    if let Some(pod) = &mut template.spec {
        let volumes = pod.volumes.get_or_insert_default();
        for claim in spec.volume_claim_templates.iter().flatten() {
            let name = claim.metadata.name.clone().unwrap_or_default();
            let source = PersistentVolumeClaimVolumeSource { claim_name: name.clone(), ..Default::default() };
            volumes.retain(|volume| volume.name != name);
            volumes.push(Volume { name, persistent_volume_claim: Some(source), ..Volume::default() });
        }
    }
    template
}

const MAY_NOT: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
    'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

impl Kind for StatefulSetKind {
    type Object = StatefulSet;

    fn default(set: &mut StatefulSet) {
        let spec = &mut set.spec;
        defaults::text(&mut spec.pod_management_policy, "OrderedReady");
        let strategy = spec.update_strategy.get_or_insert_default();
        defaults::text(&mut strategy.type_, "RollingUpdate");
        if text(&strategy.type_) == "RollingUpdate" {
            missing(&mut strategy.rolling_update.get_or_insert_default().partition, 0);
        }
        let retention = spec.persistent_volume_claim_retention_policy.get_or_insert_default();
        defaults::text(&mut retention.when_deleted, "Retain");
        defaults::text(&mut retention.when_scaled, "Retain");
        missing(&mut spec.replicas, 1);
        missing(&mut spec.revision_history_limit, 10);
        pod::defaults::template(&mut spec.template);
        each(&mut spec.volume_claim_templates).for_each(default_claim);
    }

    spec_and_status!(generation);

    fn validate(set: &StatefulSet, errors: &mut Errors) {
        let (spec, path) = (&set.spec, Path::new("spec"));
        let policy = text(&spec.pod_management_policy);
        if !matches!(policy, "OrderedReady" | "Parallel") {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            errors.invalid(&path.child("podManagementPolicy"), policy, detail);
        }
        if let Some(strategy) = &spec.update_strategy {
            let path = path.child("updateStrategy");
            match (text(&strategy.type_), &strategy.rolling_update) {
                ("RollingUpdate", rolling) => {
                    let path = path.child("rollingUpdate");
                    let partition = rolling.as_ref().and_then(|rolling| rolling.partition);
                    nonnegative(partition, &path.child("partition"), errors);
                    if let Some(most) = rolling.as_ref().and_then(|rolling| rolling.max_unavailable.as_ref()) {
                        let path = path.child("maxUnavailable");
                        int_or_percent(most, &path, errors);
                        let zero = matches!(most, IntOrString::Int(0)) || kubelab_api::intstr::percent(most) == Some(0);
                        if zero {
                            errors.invalid(&path, json(most), "cannot be 0");
                        }
                        at_most_100_percent(most, &path, errors);
                    }
                }
                ("OnDelete", None) => {}
                ("OnDelete", Some(_)) => {
                    let detail = "only allowed for updateStrategy 'RollingUpdate'";
                    errors.invalid(&path.child("rollingUpdate"), json(&strategy.rolling_update), detail);
                }
                _ => errors.invalid(&path, json(strategy), "must be 'RollingUpdate' or 'OnDelete'"),
            }
        }
        if let Some(retention) = &spec.persistent_volume_claim_retention_policy {
            let path = path.child("persistentVolumeClaimRetentionPolicy");
            for (field, value) in
                [("whenDeleted", text(&retention.when_deleted)), ("whenScaled", text(&retention.when_scaled))]
            {
                if !matches!(value, "Retain" | "Delete") {
                    errors.not_supported(&path.child(field), value, &["Retain", "Delete"]);
                }
            }
        }
        nonnegative(spec.replicas, &path.child("replicas"), errors);
        nonnegative(spec.min_ready_seconds, &path.child("minReadySeconds"), errors);
        if let Some(ordinals) = &spec.ordinals {
            nonnegative(ordinals.start, &path.child("ordinals.start"), errors);
        }
        workload::selector_and_template(&spec.selector, Some(&with_claims(spec)), "StatefulSet", &path, errors);
    }

    fn validate_update(new: &StatefulSet, old: &StatefulSet, errors: &mut Errors) {
        let (new, old) = (&new.spec, &old.spec);
        let rest = StatefulSetSpec {
            replicas: old.replicas,
            ordinals: old.ordinals.clone(),
            template: old.template.clone(),
            update_strategy: old.update_strategy.clone(),
            revision_history_limit: old.revision_history_limit,
            persistent_volume_claim_retention_policy: old.persistent_volume_claim_retention_policy.clone(),
            min_ready_seconds: old.min_ready_seconds,
            ..new.clone()
        };
        if rest != *old {
            errors.forbidden(&Path::new("spec"), MAY_NOT);
        }
    }

    fn validate_status_update(new: &StatefulSet, old: &StatefulSet, errors: &mut Errors) {
        let Some(status) = &new.status else { return };
        let path = Path::new("status");
        let parts = [
            ("readyReplicas", status.ready_replicas),
            ("currentReplicas", status.current_replicas),
            ("updatedReplicas", status.updated_replicas),
            ("availableReplicas", status.available_replicas),
        ];
        workload::counts(("replicas", status.replicas), &parts, &path, errors);
        nonnegative(status.observed_generation, &path.child("observedGeneration"), errors);
        workload::available_are_ready(status.available_replicas, status.ready_replicas, &path, errors);
        let before = old.status.as_ref().and_then(|status| status.collision_count);
        workload::not_decremented(status.collision_count, before, &path, errors);
    }

    fn warnings(set: &StatefulSet) -> Vec<String> {
        let mut warnings = workload::warnings(Some(&set.spec.template));
        for (i, claim) in list(&set.spec.volume_claim_templates).iter().enumerate() {
            let path = Path::new("spec").child("volumeClaimTemplates").index(i);
            claim.spec.iter().for_each(|spec| spec_warnings(spec, &path, &mut warnings));
        }
        if set.spec.revision_history_limit.is_some_and(|limit| limit < 0) {
            let words = "a negative value retains all historical revisions; a value >= 0 is recommended";
            warnings.push(format!("spec.revisionHistoryLimit: {words}"));
        }
        warnings
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Ready", "string"), AGE, CONTAINERS, IMAGES];

    fn cells(set: &StatefulSet, now: Timestamp) -> Vec<Value> {
        let (names, images) = cells::containers(template_containers(&set.spec.template));
        let size = size(set);
        cells![
            cells::name(&set.metadata),
            format!("{}/{}", size.ready, size.wanted),
            age(&set.metadata, now),
            names,
            images,
        ]
    }

    fn scale(set: &StatefulSet) -> Option<Scale> {
        let spec = &set.spec;
        let observed = set.status.as_ref().map(|status| status.replicas);
        Some(workload::scale(spec.replicas, observed, cells::selector_text(&spec.selector)))
    }

    fn set_replicas(set: &mut StatefulSet, replicas: i32) {
        set.spec.replicas = Some(replicas);
    }

    fn note(new: &StatefulSet, old: Option<&StatefulSet>) -> String {
        workload::note((size(new), Some(&new.spec.template)), old.map(|old| (size(old), Some(&old.spec.template))))
    }
}

fn size(set: &StatefulSet) -> workload::Size {
    workload::Size {
        wanted: set.spec.replicas.unwrap_or_default(),
        ready: set.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default(),
    }
}
