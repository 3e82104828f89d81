//! In which form an answer is wanted. Source: `k8s.io/apiserver/pkg/endpoints/handlers/negotiation`.

use kubelab_api::{Error, Reason};

/// How an answer is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `application/json`.
    #[default]
    Json,
    /// `application/yaml`.
    Yaml,
    /// `application/vnd.kubernetes.protobuf`.
    Protobuf,
}

impl Encoding {
    /// Its name in headers.
    pub fn media_type(self) -> &'static str {
        match self {
            Encoding::Json => "application/json",
            Encoding::Yaml => "application/yaml",
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// Its name in the header of a watch.
    pub fn stream_type(self) -> &'static str {
        match self {
            Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
            other => other.media_type(),
        }
    }

    const ALL: [Encoding; 3] = [Encoding::Json, Encoding::Yaml, Encoding::Protobuf];
}

/// What stands in for the objects.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Form {
    /// The objects themselves.
    #[default]
    Object,
    /// Rows of printed cells.
    Table,
    /// Their metadata alone.
    Metadata,
}

/// One clause of an Accept header: `application/json;as=Table;q=0.5`.
#[derive(Clone, Debug, PartialEq)]
pub struct Clause<'a> {
    media_type: &'a str,
    parameters: Vec<(&'a str, &'a str)>,
    quality: f32,
}

impl Clause<'_> {
    /// A parameter's value; empty where it is missing.
    pub fn parameter(&self, name: &str) -> &str {
        self.parameters.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value)
    }

    /// It asks for this media type, or for any.
    pub fn allows(&self, media_type: &str) -> bool {
        let family = media_type.split('/').next().unwrap_or_default();
        self.media_type == media_type
            || self.media_type == "*/*"
            || self.media_type.strip_suffix("/*").is_some_and(|asked| asked == family)
    }
}

/// The clauses of an Accept header, the most wanted first. A missing header accepts all.
pub fn clauses(header: Option<&str>) -> Vec<Clause<'_>> {
    let header = header.filter(|header| !header.trim().is_empty()).unwrap_or("*/*");
    let mut clauses: Vec<_> = header
        .split(',')
        .map(|clause| {
            let mut parts = clause.split(';').map(str::trim);
            let media_type = parts.next().unwrap_or_default();
            let mut parameters: Vec<_> = parts.filter_map(|part| part.split_once('=')).collect();
            let quality = parameters.iter().find(|(key, _)| *key == "q").and_then(|(_, q)| q.parse().ok());
            parameters.retain(|(key, _)| *key != "q");
            Clause { media_type, parameters, quality: quality.unwrap_or(1.0) }
        })
        .collect();
    clauses.sort_by(|a, b| b.quality.total_cmp(&a.quality));
    clauses
}

/// What an answer should look like.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accepted {
    /// How it is written.
    pub encoding: Encoding,
    /// What stands in for the objects.
    pub form: Form,
    /// The version of `meta.k8s.io` for tables and metadata is the old `v1beta1`.
    pub beta: bool,
    /// For people: indented.
    pub pretty: bool,
}

impl Accepted {
    /// `meta.k8s.io/v1`, or what the caller asked for instead.
    pub fn meta_version(&self) -> &'static str {
        if self.beta { "meta.k8s.io/v1beta1" } else { "meta.k8s.io/v1" }
    }
}

/// The first of the wanted forms that can be served.
pub fn negotiate(header: Option<&str>, watch: bool) -> Result<Accepted, Error> {
    for clause in clauses(header) {
        for encoding in Encoding::ALL {
            // A stream of YAML documents has no framing that a client could read.
            if !clause.allows(encoding.media_type()) || (watch && encoding == Encoding::Yaml) {
                continue;
            }
            let (form, beta) = match (clause.parameter("g"), clause.parameter("v"), clause.parameter("as")) {
                ("", "", "") => (Form::Object, false),
                ("meta.k8s.io", version @ ("v1" | "v1beta1"), kind) => {
                    let form = match kind {
                        // Source: `AllowsMediaTypeTransform` in `k8s.io/apiserver/pkg/endpoints/handlers/rest.go`.
                        "Table" if encoding != Encoding::Protobuf => Form::Table,
                        "PartialObjectMetadata" | "PartialObjectMetadataList" => Form::Metadata,
                        _ => continue,
                    };
                    (form, version == "v1beta1")
                }
                _ => continue,
            };
            if !["", "watch"].contains(&clause.parameter("stream")) {
                continue;
            }
            return Ok(Accepted { encoding, form, beta, pretty: clause.parameter("pretty") == "1" });
        }
    }
    let accepted = if watch {
        "application/json;stream=watch, application/vnd.kubernetes.protobuf;stream=watch"
    } else {
        "application/json, application/yaml, application/vnd.kubernetes.protobuf"
    };
    Err(Error::new(Reason::NotAcceptable, format!("only the following media types are accepted: {accepted}")))
}

/// People get indented answers: those who say so, browsers, and the well-known command line tools.
pub fn wants_pretty(query: Option<&str>, agent: &str) -> bool {
    match query {
        Some(pretty) if !pretty.is_empty() => matches!(pretty, "1" | "t" | "T" | "true" | "TRUE" | "True"),
        _ => ["curl", "Wget", "Mozilla/5.0"].iter().any(|person| agent.starts_with(person)),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_first_servable_form_wins() {
        let kubectl_get = "application/json;as=Table;v=v1;g=meta.k8s.io,\
                           application/json;as=Table;v=v1beta1;g=meta.k8s.io,application/json";
        let cases = [
            ("", Encoding::Json, Form::Object),
            ("*/*", Encoding::Json, Form::Object),
            ("application/*", Encoding::Json, Form::Object),
            ("application/json, */*", Encoding::Json, Form::Object),
            ("application/yaml", Encoding::Yaml, Form::Object),
            ("application/vnd.kubernetes.protobuf,application/json", Encoding::Protobuf, Form::Object),
            (
                "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1,application/json",
                Encoding::Json,
                Form::Object,
            ),
            (
                "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1",
                Encoding::Protobuf,
                Form::Metadata,
            ),
            ("application/json;q=0.1,application/yaml", Encoding::Yaml, Form::Object),
            ("application/json;as=Table;g=else;v=v1,application/json", Encoding::Json, Form::Object),
            (kubectl_get, Encoding::Json, Form::Table),
            (
                "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1,application/json",
                Encoding::Json,
                Form::Metadata,
            ),
        ];
        for (header, encoding, form) in cases {
            let accepted = negotiate(Some(header), false).unwrap();
            assert_eq!((accepted.encoding, accepted.form), (encoding, form), "{header}");
        }
        assert_eq!(negotiate(None, true).unwrap(), Accepted::default());
        assert!(negotiate(Some("application/json;as=Table;g=meta.k8s.io;v=v1beta1"), false).unwrap().beta);
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        for header in [
            "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1",
            "text/html",
            "application/json;as=Table;g=meta.k8s.io;v=v2",
        ] {
            let error = negotiate(Some(header), false).unwrap_err();
            assert_eq!(error.code(), 406, "{header}");
        }
        assert_eq!(negotiate(Some("application/yaml"), true).unwrap_err().code(), 406);
    }

    #[test]
    fn people_get_indented_answers() {
        assert!(wants_pretty(None, "curl/8.5.0"));
        assert!(wants_pretty(Some("true"), "kubectl/v1.33.1"));
        assert!(!wants_pretty(Some("false"), "curl/8.5.0"));
        assert!(!wants_pretty(None, "kubectl/v1.33.1"));
    }
}
