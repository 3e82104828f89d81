//! A finished object, as far as every object is alike: read without decoding the rest.

use serde::Deserialize;
use serde_json::value::RawValue;

#[derive(Deserialize)]
struct Outline<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

/// Three fields of an object's metadata.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Identity {
    /// Its name.
    pub name: String,
    /// Its version.
    pub resource_version: String,
    /// Its age.
    pub creation_timestamp: Option<String>,
}

/// The metadata of a finished object, as it stands there.
pub fn metadata(json: &[u8]) -> &str {
    serde_json::from_slice::<Outline<'_>>(json).map_or("{}", |outline| outline.metadata.get())
}

/// Name, version and age of a finished object.
pub fn identity(json: &[u8]) -> Identity {
    serde_json::from_str(metadata(json)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metadata_is_found_wherever_it_stands() {
        let cases = [
            (r#"{"kind":"Pod","metadata":{"name":"a","resourceVersion":"7"},"spec":{}}"#, ("a", "7")),
            (r#"{"spec":{"metadata":{"name":"no"}},"metadata":{"labels":{"x":"}"},"name":"b"}}"#, ("b", "")),
            (r#"{"kind":"Status"}"#, ("", "")),
        ];
        for (json, expected) in cases {
            let found = identity(json.as_bytes());
            assert_eq!((&*found.name, &*found.resource_version), expected, "{json}");
        }
    }
}
