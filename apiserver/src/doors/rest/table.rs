//! Tables: what `kubectl get` prints. Source: `k8s.io/apimachinery/pkg/apis/meta/v1` (Table) and
//! `k8s.io/apiserver/pkg/endpoints/handlers/response.go`.

use kubelab_api::Error;
use serde_json::{Value, json};

use crate::{
    doors::outline::metadata,
    registry::kind::{Column, column},
};

/// What of the object goes with its row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Include {
    /// Nothing.
    None,
    /// Its metadata.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl Include {
    /// Reads the query's `includeObject`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" | "Metadata" => Ok(Include::Metadata),
            "None" => Ok(Include::None),
            "Object" => Ok(Include::Object),
            other => Err(Error::bad_request(format!(
                "Invalid value for includeObject: {other:?}: must be 'Metadata', 'Object', 'None', or empty"
            ))),
        }
    }
}

/// The columns of objects that have no room of their own, such as a Scale.
pub const PLAIN: &[Column] = &[column("Name", "string"), column("Created At", "date")];

/// The definitions that head a table.
pub fn definitions(columns: &[Column]) -> Value {
    let define = |column: &Column| {
        let format = if column.format.is_empty() && column.name == "Name" { "name" } else { &*column.format };
        json!({
            "name": column.name,
            "type": column.kind,
            "format": format,
            "description": column.description,
            "priority": column.priority,
        })
    };
    columns.iter().map(define).collect()
}

/// Appends an object's metadata, as an object of its own.
pub fn write_metadata(meta_version: &str, json: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"kind":"PartialObjectMetadata","apiVersion":""#);
    out.extend_from_slice(meta_version.as_bytes());
    out.extend_from_slice(br#"","metadata":"#);
    out.extend_from_slice(metadata(json).as_bytes());
    out.push(b'}');
}

/// Appends an object's row.
pub fn write_row(cells: &[Value], include: Include, meta_version: &str, json: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"cells":["#);
    for (at, cell) in cells.iter().enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(cell.to_string().as_bytes());
    }
    out.extend_from_slice(br#"],"object":"#);
    match include {
        Include::None => out.extend_from_slice(b"null"),
        Include::Metadata => write_metadata(meta_version, json, out),
        Include::Object => out.extend_from_slice(json),
    }
    out.push(b'}');
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::registry::kind::wide;

    const POD: &[u8] =
        br#"{"kind":"Pod","metadata":{"name":"a","labels":{"x":"}"},"resourceVersion":"7"},"spec":{"n":1}}"#;

    #[test]
    fn rows_carry_what_is_asked() {
        let cells = [Value::from("a"), Value::from(2), Value::Null];
        let cases = [
            (Include::None, r#"{"cells":["a",2,null],"object":null}"#.to_owned()),
            (
                Include::Metadata,
                concat!(
                    r#"{"cells":["a",2,null],"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","#,
                    r#""metadata":{"name":"a","labels":{"x":"}"},"resourceVersion":"7"}}}"#
                )
                .to_owned(),
            ),
            (Include::Object, format!(r#"{{"cells":["a",2,null],"object":{}}}"#, std::str::from_utf8(POD).unwrap())),
        ];
        for (include, expected) in cases {
            let mut out = Vec::new();
            write_row(&cells, include, "meta.k8s.io/v1", POD, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
        assert!(Include::parse("Everything").is_err());
    }

    #[test]
    fn columns_are_defined_once() {
        let definitions = definitions(&[column("Name", "string"), wide("IP", "string")]);
        assert_eq!(definitions[0]["format"], "name");
        assert_eq!(definitions[1]["priority"], 1);
    }
}
