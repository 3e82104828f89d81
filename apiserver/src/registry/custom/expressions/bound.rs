//! How much a request can hold of the values of a schema. Source: `SchemaDeclType` in
//! `k8s.io/apiserver/pkg/cel/common/schemas.go`, and `pkg/cel/limits.go`.

use std::{collections::BTreeMap, sync::Arc};

use kubelab_api::structural::{Additional, Schema};

use crate::{cel::Bound, registry::custom::declared::escape};

/// The largest request, in bytes. Source: `MaxRequestSizeBytes`.
pub const REQUEST: u64 = 3 * 1024 * 1024;
/// The longest name of an object, and the longest that its end is made up for. Source: `nameMaxLength`.
const NAMES: [(&str, u64); 2] = [("name", 253), ("generateName", 252)];

/// A limit in characters, in bytes.
fn in_bytes(limit: i64) -> u64 {
    count(limit).saturating_mul(4)
}

fn count(limit: i64) -> u64 {
    u64::try_from(limit).unwrap_or_default()
}

fn scalar(most: u64, least_bytes: u64) -> Bound {
    Bound { most, least_bytes, ..Bound::default() }
}

/// The bound of a value; `None` where rules cannot look into it.
pub fn of(schema: &Schema) -> Option<Bound> {
    let values = &schema.values;
    if schema.int_or_string {
        return Some(scalar(values.max_length.map_or(REQUEST - 2, in_bytes), 1));
    }
    Some(match schema.kind.as_str() {
        "array" => {
            let element = of(schema.items.as_deref()?)?;
            let most = values.max_items.map_or_else(|| (REQUEST - 2) / (element.least_bytes + 1), count);
            Bound { values: Some(element.into()), ..scalar(most, 2) }
        }
        "object" => match &schema.additional {
            Additional::Of(element) => {
                let element = of(element)?;
                // A key of two bytes, its quotes, the colon and the comma.
                let most = values.max_properties.map_or_else(|| (REQUEST - 2) / (element.least_bytes + 6), count);
                Bound { values: Some(element.into()), keyed: true, ..scalar(most, 2) }
            }
            _ => record(schema),
        },
        "string" => text(schema),
        "boolean" => scalar(0, 4),
        "number" | "integer" => scalar(0, 1),
        _ => return None,
    })
}

fn text(schema: &Schema) -> Bound {
    let values = &schema.values;
    match values.format.as_str() {
        "byte" => scalar(values.max_length.map_or(REQUEST - 2, count), 2),
        "duration" => scalar(32, 3),
        "date" => scalar(12, 12),
        "date-time" => scalar(32, 21),
        _ => {
            let longest = values.allowed.iter().filter_map(|value| value.as_str()).map(|text| text.len() as u64).max();
            let allowed = (!values.allowed.is_empty()).then(|| longest.unwrap_or_default());
            scalar(values.max_length.map(in_bytes).or(allowed).unwrap_or(REQUEST - 2), 2)
        }
    }
}

fn record(schema: &Schema) -> Bound {
    let mut fields: BTreeMap<Arc<str>, Bound> = BTreeMap::new();
    let mut least = 2;
    for (name, property) in &schema.properties {
        let Some(bound) = of(property) else { continue };
        // A default stands where a request says nothing.
        if schema.values.required.contains(name) && property.default.is_none() {
            least += name.len() as u64 + bound.least_bytes + 4;
        }
        if let Some(escaped) = escape(name) {
            fields.insert(escaped.into(), bound);
        }
    }
    if schema.embedded {
        for name in ["apiVersion", "kind"] {
            fields.insert(name.into(), scalar(REQUEST - 2, 2));
        }
        let said = schema.properties.get("metadata");
        let names = NAMES.map(|(name, limit)| {
            let said = said.and_then(|metadata| metadata.properties.get(name)?.values.max_length);
            (Arc::from(name), scalar(said.map_or(limit, |said| count(said).min(limit)) * 4, 2))
        });
        fields.insert("metadata".into(), Bound { fields: names.into(), ..scalar(0, 2) });
    }
    Bound { fields, ..scalar(0, least) }
}
