//! Event of `events.k8s.io`: stored as one of the core group, and held to more than one that is sent there. Source:
//! `pkg/apis/events/v1/conversion.go`, `ValidateEventCreate` and `ValidateEventUpdate` in
//! `pkg/apis/core/validation/events.go`.

use k8s_openapi::api::{core::v1 as core, events::v1};
use kubelab_api::field::{Errors, Path};

use crate::registry::{cells::text, handler::Conversion, validation::immutable};

/// Between `events.k8s.io/v1` and the stored `v1`.
pub struct EventsV1;

impl Conversion for EventsV1 {
    type Stored = core::Event;
    type Served = v1::Event;

    fn to_stored(served: v1::Event) -> core::Event {
        core::Event {
            action: served.action,
            count: served.deprecated_count,
            event_time: served.event_time,
            first_timestamp: served.deprecated_first_timestamp,
            involved_object: served.regarding.unwrap_or_default(),
            last_timestamp: served.deprecated_last_timestamp,
            message: served.note,
            metadata: served.metadata,
            reason: served.reason,
            related: served.related,
            reporting_component: served.reporting_controller,
            reporting_instance: served.reporting_instance,
            series: served.series.map(|series| core::EventSeries {
                count: Some(series.count),
                last_observed_time: Some(series.last_observed_time),
            }),
            source: served.deprecated_source,
            type_: served.type_,
        }
    }

    fn to_served(stored: core::Event) -> v1::Event {
        v1::Event {
            action: stored.action,
            deprecated_count: stored.count,
            deprecated_first_timestamp: stored.first_timestamp,
            deprecated_last_timestamp: stored.last_timestamp,
            deprecated_source: stored.source,
            event_time: stored.event_time,
            metadata: stored.metadata,
            note: stored.message,
            reason: stored.reason,
            regarding: Some(stored.involved_object).filter(|object| *object != Default::default()),
            related: stored.related,
            reporting_controller: stored.reporting_component,
            reporting_instance: stored.reporting_instance,
            series: stored.series.and_then(|series| {
                Some(v1::EventSeries {
                    count: series.count.unwrap_or_default(),
                    last_observed_time: series.last_observed_time?,
                })
            }),
            type_: stored.type_,
        }
    }

    fn validate_create(event: &core::Event, errors: &mut Errors) {
        series(event, errors);
        if event.event_time.is_none() {
            errors.required(&Path::new("eventTime"), "");
        }
        let kind = text(&event.type_);
        if !["Normal", "Warning"].contains(&kind) {
            errors.invalid(&Path::new("type"), "", &format!("has invalid value: {kind}"));
        }
        let source = event.source.clone().unwrap_or_default();
        for (field, set) in [
            ("firstTimestamp", event.first_timestamp.is_some()),
            ("lastTimestamp", event.last_timestamp.is_some()),
            ("count", event.count.is_some_and(|count| count != 0)),
            ("source", !text(&source.component).is_empty() || !text(&source.host).is_empty()),
        ] {
            if set {
                errors.invalid(&Path::new(field), "", "needs to be unset");
            }
        }
    }

    fn validate_update(new: &core::Event, old: &core::Event, errors: &mut Errors) {
        if new.series != old.series {
            series(new, errors);
        }
        let at = Path::new;
        immutable(&new.involved_object, &old.involved_object, &at("involvedObject"), errors);
        immutable(&new.reason, &old.reason, &at("reason"), errors);
        immutable(&new.message, &old.message, &at("message"), errors);
        immutable(&new.source, &old.source, &at("source"), errors);
        immutable(&new.first_timestamp, &old.first_timestamp, &at("firstTimestamp"), errors);
        immutable(&new.last_timestamp, &old.last_timestamp, &at("lastTimestamp"), errors);
        immutable(&new.count, &old.count, &at("count"), errors);
        // Upstream says it a second time.
        immutable(&new.reason, &old.reason, &at("reason"), errors);
        immutable(&new.type_, &old.type_, &at("type"), errors);
        immutable(&new.event_time, &old.event_time, &at("eventTime"), errors);
        immutable(&new.action, &old.action, &at("action"), errors);
        immutable(&new.related, &old.related, &at("related"), errors);
        immutable(&new.reporting_component, &old.reporting_component, &at("reportingController"), errors);
        immutable(&new.reporting_instance, &old.reporting_instance, &at("reportingInstance"), errors);
    }
}

/// A series has begun when something happened twice.
fn series(event: &core::Event, errors: &mut Errors) {
    let Some(series) = &event.series else { return };
    if series.count.unwrap_or_default() < 2 {
        errors.invalid(&Path::new("series.count"), "", "should be at least 2");
    }
    if series.last_observed_time.is_none() {
        errors.required(&Path::new("series.lastObservedTime"), "");
    }
}
