//! Event of the core group. Source: `legacyValidateEvent` in `pkg/apis/core/validation/events.go`, `printEvent` in `pkg/printers/internalversion/printers.go`,
//! `pkg/registry/core/event/strategy.go`.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

use crate::registry::{
    cells::{self, cells, since, since_micro, text},
    kind::{Column, Kind, column, wide},
    validation::{form, required},
};

/// Event.
pub struct EventKind;

/// The apiserver's default `--event-ttl`.
pub const TTL_SECONDS: u32 = 60 * 60;

/// The columns of events, in both groups.
pub const COLUMNS: &[Column] = &[
    column("Last Seen", "string"),
    column("Type", "string"),
    column("Reason", "string"),
    column("Object", "string"),
    wide("Subobject", "string"),
    wide("Source", "string"),
    column("Message", "string"),
    wide("First Seen", "string"),
    wide("Count", "string"),
    wide("Name", "string"),
];

impl Kind for EventKind {
    type Object = Event;

    const CREATE_ON_UPDATE: bool = true;

    fn validate(event: &Event, errors: &mut Errors) {
        let namespace = text(&event.involved_object.namespace);
        let own = text(&event.metadata.namespace);
        let allowed = match (namespace, event.event_time.is_some()) {
            ("", false) => matches!(own, "" | "default"),
            ("", true) => matches!(own, "default" | "kube-system"),
            (namespace, false) => namespace == own,
            (_, true) => true,
        };
        if !allowed {
            let path = Path::new("involvedObject").child("namespace");
            errors.invalid(&path, namespace, "does not match event.namespace");
        }
        if event.event_time.is_some() {
            of_newer_clients(event, errors);
        }
        for wrong in name::dns1123_subdomain(own) {
            errors.invalid(&Path::new("namespace"), own, &wrong);
        }
    }

    const COLUMNS: &'static [Column] = COLUMNS;

    fn cells(event: &Event, now: Timestamp) -> Vec<Value> {
        let first = match &event.first_timestamp {
            Some(time) => since(Some(time), now),
            None => since_micro(event.event_time.as_ref(), now),
        };
        let (last, count) = match (&event.series, &event.last_timestamp) {
            (Some(series), _) => (since_micro(series.last_observed_time.as_ref(), now), series.count),
            (None, Some(time)) => (since(Some(time), now), event.count),
            (None, None) => (first.clone(), event.count),
        };
        let object = &event.involved_object;
        let kind = text(&object.kind).to_lowercase();
        let target = match text(&object.name) {
            "" => kind,
            name => format!("{kind}/{name}"),
        };
        cells![
            last,
            text(&event.type_),
            text(&event.reason),
            target,
            text(&object.field_path),
            source(event),
            text(&event.message).trim(),
            first,
            // Events of the newer API have no count while they are single.
            count.filter(|count| *count != 0 || event.series.is_some()).unwrap_or(1),
            cells::name(&event.metadata),
        ]
    }

    fn fields(event: &Event) -> Vec<(&'static str, String)> {
        let object = &event.involved_object;
        let component = event.source.as_ref().map_or("", |source| text(&source.component));
        let component = if component.is_empty() { text(&event.reporting_component) } else { component };
        [
            ("involvedObject.kind", text(&object.kind)),
            ("involvedObject.namespace", text(&object.namespace)),
            ("involvedObject.name", text(&object.name)),
            ("involvedObject.uid", text(&object.uid)),
            ("involvedObject.apiVersion", text(&object.api_version)),
            ("involvedObject.resourceVersion", text(&object.resource_version)),
            ("involvedObject.fieldPath", text(&object.field_path)),
            ("reason", text(&event.reason)),
            ("reportingComponent", text(&event.reporting_component)),
            ("source", component),
            ("type", text(&event.type_)),
        ]
        .map(|(field, value)| (field, value.to_owned()))
        .into()
    }

    fn ttl_seconds(_event: &Event) -> Option<u32> {
        Some(TTL_SECONDS)
    }

    fn note(event: &Event, _old: Option<&Event>) -> String {
        format!("{}: {}", text(&event.reason), text(&event.message).trim())
    }
}

/// An event with a time of its own says who reports it, and why.
fn of_newer_clients(event: &Event, errors: &mut Errors) {
    const MAX: usize = 128;
    const MAX_MESSAGE: usize = 1024;
    let reporter = Path::new("reportingController");
    required(text(&event.reporting_component), &reporter, errors);
    form(text(&event.reporting_component), name::label_key, &reporter, errors);
    for (field, value) in
        [("reportingInstance", &event.reporting_instance), ("action", &event.action), ("reason", &event.reason)]
    {
        required(text(value), &Path::new(field), errors);
        if text(value).len() > MAX {
            errors.invalid(&Path::new(field), "", &format!("can have at most {MAX} characters"));
        }
    }
    if text(&event.message).len() > MAX_MESSAGE {
        errors.invalid(&Path::new("message"), "", &format!("can have at most {MAX_MESSAGE} characters"));
    }
}

fn source(event: &Event) -> String {
    let source = event.source.clone().unwrap_or_default();
    let component = source.component.filter(|text| !text.is_empty()).or_else(|| event.reporting_component.clone());
    let host = source.host.filter(|text| !text.is_empty()).or_else(|| event.reporting_instance.clone());
    match host.filter(|host| !host.is_empty()) {
        Some(host) => format!("{}, {host}", component.unwrap_or_default()),
        None => component.unwrap_or_default(),
    }
}
