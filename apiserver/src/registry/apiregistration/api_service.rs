//! APIService. Source: `kube-aggregator/pkg/apis/apiregistration/{v1/defaults,validation/validation}.go`,
//! `kube-aggregator/pkg/registry/apiservice/{strategy,storage}.go`.

use jiff::Timestamp;
use k8s_openapi::kube_aggregator::pkg::apis::apiregistration::v1::{
    APIService, APIServiceCondition, APIServiceSpec, APIServiceStatus,
};
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    cells::{self, AGE, NAME, cells, list, text},
    defaults::missing,
    kind::{Column, Kind, age, column},
    validation::{port, required},
};

/// APIService.
pub struct APIServiceKind;

impl Kind for APIServiceKind {
    type Object = APIService;

    const UNCONDITIONAL_UPDATE: bool = false;

    fn default(service: &mut APIService) {
        if let Some(target) = service.spec.as_mut().and_then(|spec| spec.service.as_mut()) {
            missing(&mut target.port, 443);
        }
    }

    fn prepare_create(service: &mut APIService) {
        let local = service.spec.as_ref().is_none_or(|spec| spec.service.is_none());
        let available = APIServiceCondition {
            type_: "Available".into(),
            status: "True".into(),
            reason: Some("Local".into()),
            message: Some("Local APIServices are always available".into()),
            last_transition_time: service.metadata.creation_timestamp.clone(),
        };
        service.status = Some(APIServiceStatus { conditions: local.then(|| vec![available]) });
    }

    fn prepare_update(new: &mut APIService, old: &APIService) {
        new.status.clone_from(&old.status);
    }

    fn prepare_status_update(new: &mut APIService, old: &APIService) {
        new.spec.clone_from(&old.spec);
    }

    fn validate(service: &APIService, errors: &mut Errors) {
        let none = APIServiceSpec::default();
        let spec = service.spec.as_ref().unwrap_or(&none);
        let path = Path::new("spec");
        let (group, version) = (text(&spec.group), text(&spec.version));
        let own = cells::name(&service.metadata);
        let expected = format!("{version}.{group}");
        if own != expected {
            let detail = format!("must be `spec.version+\".\"+spec.group`: {expected:?}");
            errors.invalid(&Path::new("metadata").child("name"), own, &detail);
        }
        required(version, &path.child("version"), errors);
        if !(1..=20_000).contains(&spec.group_priority_minimum) {
            let detail = "must be positive and less than 20000";
            errors.invalid(&path.child("groupPriorityMinimum"), spec.group_priority_minimum, detail);
        }
        if !(1..=1_000).contains(&spec.version_priority) {
            let detail = "must be positive and less than 1000";
            errors.invalid(&path.child("versionPriority"), spec.version_priority, detail);
        }
        let insecure = spec.insecure_skip_tls_verify == Some(true);
        let bundle = spec.ca_bundle.as_ref().is_some_and(|bundle| !bundle.0.is_empty());
        match &spec.service {
            None => {
                if bundle {
                    let detail = "local APIServices may not have a caBundle";
                    errors.invalid(&path.child("caBundle"), "(0 bytes)", detail);
                }
                if insecure {
                    let detail = "local APIServices may not have insecureSkipTLSVerify";
                    errors.invalid(&path.child("insecureSkipTLSVerify"), true, detail);
                }
            }
            Some(target) => {
                required(text(&target.namespace), &path.child("service").child("namespace"), errors);
                required(text(&target.name), &path.child("service").child("name"), errors);
                if let Some(number) = target.port {
                    port(number, &path.child("service").child("port"), errors);
                }
                if insecure && bundle {
                    let detail = "may not be true if caBundle is present";
                    errors.invalid(&path.child("insecureSkipTLSVerify"), true, detail);
                }
            }
        }
    }

    const COLUMNS: &'static [Column] = &[NAME, column("Service", "string"), column("Available", "string"), AGE];

    fn cells(service: &APIService, now: Timestamp) -> Vec<Value> {
        let target = service.spec.as_ref().and_then(|spec| spec.service.as_ref());
        let target = target.map(|target| format!("{}/{}", text(&target.namespace), text(&target.name)));
        let conditions = service.status.as_ref().map_or(&[][..], |status| list(&status.conditions));
        let available = match conditions.iter().find(|condition| condition.type_ == "Available") {
            Some(condition) if condition.status == "True" => "True".to_owned(),
            Some(condition) => format!("{} ({})", condition.status, text(&condition.reason)),
            None => "Unknown".to_owned(),
        };
        cells![
            cells::name(&service.metadata),
            target.unwrap_or_else(|| "Local".into()),
            available,
            age(&service.metadata, now),
        ]
    }
}
