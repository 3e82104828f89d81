//! PodTemplate. Source: `pkg/registry/core/podtemplate/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::PodTemplate;
use kubelab_api::field::{Errors, Path};
use serde_json::Value;

use crate::registry::{
    apps::workload::template_warnings,
    cells::{self, NAME, cells, template_containers},
    core::pod,
    kind::{Column, Kind, column},
};

/// PodTemplate.
pub struct PodTemplateKind;

impl Kind for PodTemplateKind {
    type Object = PodTemplate;

    const RETURNS_DELETED: bool = true;

    fn default(template: &mut PodTemplate) {
        pod::defaults::template(template.template.get_or_insert_default());
    }

    const GENERATION: bool = true;

    fn spec_changed(new: &PodTemplate, old: &PodTemplate) -> bool {
        new.template != old.template
    }

    fn validate(template: &PodTemplate, errors: &mut Errors) {
        if let Some(template) = &template.template {
            pod::validation::template(template, &Path::new("template"), errors);
        }
    }

    fn warnings(template: &PodTemplate) -> Vec<String> {
        template_warnings(template.template.as_ref(), &Path::new("template"))
    }

    const COLUMNS: &'static [Column] =
        &[NAME, column("Containers", "string"), column("Images", "string"), column("Pod Labels", "string")];

    fn cells(template: &PodTemplate, _now: Timestamp) -> Vec<Value> {
        let inner = template.template.as_ref();
        let (names, images) = cells::containers(inner.map_or(&[][..], template_containers));
        let labels = inner.and_then(|template| template.metadata.as_ref()).and_then(|meta| meta.labels.as_ref());
        cells![cells::name(&template.metadata), names, images, cells::labels(labels)]
    }
}
