//! Event of `events.k8s.io`: stored as one of the core group. Source: `pkg/apis/events/v1/conversion.go`.

use k8s_openapi::api::{core::v1 as core, events::v1};

use crate::registry::handler::Conversion;

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
}
