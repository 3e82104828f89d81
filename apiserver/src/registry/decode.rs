//! From the bytes that a client sent to a typed object, as strictly as it asks for.
//!
//! The fast path is one pass of the typed parser; what went wrong is worked out only once something did.
//! Source of the wording: `endpoints/handlers/{create,rest}.go` of the apiserver and `sigs.k8s.io/json`.

use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
    schemars::{JsonSchema, SchemaGenerator},
};
use kubelab_api::{Error, Resource};
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, error::Category, value::RawValue};

use super::{
    go_type,
    kind::Object,
    scan::{self, Step},
    syntax,
};

/// At most this many unknown or duplicate fields are told. Source: `sigs.k8s.io/json`, `unmarshalStrict`.
const MAX_STRICT_ERRORS: usize = 100;

/// What becomes of unknown and duplicate fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Validation {
    /// The request is refused.
    Strict,
    /// The caller is warned.
    Warn,
    /// Nothing.
    Ignore,
}

impl Validation {
    /// From the `fieldValidation` parameter; unset means `Warn`.
    pub fn parse(text: &str) -> Result<Self, Error> {
        match text {
            "" | "Warn" => Ok(Validation::Warn),
            "Strict" => Ok(Validation::Strict),
            "Ignore" => Ok(Validation::Ignore),
            other => Err(Error::bad_request(format!(
                "fieldValidation: Unsupported value: {other:?}: supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""
            ))),
        }
    }
}

/// A decoded object, and the warnings that it gave rise to.
pub type Decoded<T> = (T, Vec<String>);

/// An object of this resource.
pub fn decode<T: Object>(resource: &Resource, json: &[u8], validation: Validation) -> Result<Decoded<T>, Error> {
    let kind = Expected { group: &resource.group, version: &resource.version, kind: &resource.kind };
    decode_body(&kind, json, validation)
}

/// What a body must be.
pub struct Expected<'a> {
    /// The group of `apiVersion`.
    pub group: &'a str,
    /// The version of `apiVersion`.
    pub version: &'a str,
    /// `kind`.
    pub kind: &'a str,
}

impl Expected<'_> {
    fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }

    fn unfit(&self, why: impl std::fmt::Display) -> Error {
        Error::bad_request(format!("{0} in version {1:?} cannot be handled as a {0}: {why}", self.kind, self.version))
    }
}

/// Anything with a kind: an object, a review, a Binding.
pub fn decode_body<T: DeserializeOwned + JsonSchema>(
    expected: &Expected,
    json: &[u8],
    validation: Validation,
) -> Result<Decoded<T>, Error> {
    let mut unknown = Vec::new();
    let object = match parse(json, validation, &mut unknown) {
        Ok(object) => object,
        Err(error) => {
            unknown.clear();
            refine(expected, json, error, |json| parse(json, validation, &mut unknown))?
        }
    };
    if validation == Validation::Ignore {
        return Ok((object, Vec::new()));
    }
    let mut strict: Vec<_> = unknown.iter().map(|path| format!("unknown field {path:?}")).collect();
    let twice = scan::duplicates(json, MAX_STRICT_ERRORS).map_err(|_| expected.unfit("exceeded max depth"))?;
    strict.extend(twice.iter().map(|path| format!("duplicate field {path:?}")));
    if validation == Validation::Strict && !strict.is_empty() {
        return Err(expected.unfit(format!("strict decoding error: {}", strict.join(", "))));
    }
    Ok((object, strict))
}

fn parse<T: DeserializeOwned>(
    json: &[u8],
    validation: Validation,
    unknown: &mut Vec<String>,
) -> Result<T, serde_json::Error> {
    let mut parser = serde_json::Deserializer::from_slice(json);
    let object = if validation == Validation::Ignore {
        T::deserialize(&mut parser)?
    } else {
        serde_ignored::deserialize(&mut parser, |path| {
            if unknown.len() < MAX_STRICT_ERRORS {
                unknown.push(dotted(&path));
            }
        })?
    };
    parser.end()?;
    Ok(object)
}

/// serde_ignored's path as upstream writes it.
fn dotted(path: &serde_ignored::Path) -> String {
    use serde_ignored::Path;
    match path {
        Path::Root => String::new(),
        Path::Map { parent, key } => match dotted(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        Path::Seq { parent, index } => format!("{}[{index}]", dotted(parent)),
        Path::Some { parent } | Path::NewtypeStruct { parent } | Path::NewtypeVariant { parent } => dotted(parent),
    }
}

/// What the parser's refusal means: the text is no JSON, the object is of another kind, a value has another form that Go
/// takes (then a second parse succeeds), or a value has the wrong type.
fn refine<T: JsonSchema>(
    expected: &Expected,
    json: &[u8],
    error: serde_json::Error,
    mut parse: impl FnMut(&[u8]) -> Result<T, serde_json::Error>,
) -> Result<T, Error> {
    if let Err(error) = serde_json::from_slice::<IgnoredAny>(json) {
        let why = format!("couldn't get version/kind; json parse error: {}", syntax::wording(json, &error));
        return Err(unrecognized(expected, &why, json));
    }
    check_header(expected, json)?;
    if error.classify() != Category::Data {
        // The text is JSON, and yet the typed parser stopped for its form: it nests too deep.
        return Err(expected.unfit("exceeded max depth"));
    }
    let schema = SchemaGenerator::default().into_root_schema_for::<T>();
    if let Ok(mut value) = serde_json::from_slice::<Value>(json) {
        go_type::accept_lenient_forms(schema.as_value(), &mut value);
        let lenient = serde_json::to_vec(&value).map_err(Error::internal)?;
        if let Ok(object) = parse(&lenient) {
            return Ok(object);
        }
    }
    let offset = syntax::offset(json, error.line(), error.column());
    let steps = scan::path_at(json, offset);
    Err(expected.unfit(go_type::mismatch(schema.as_value(), expected.kind, json, &steps, &error)))
}

fn unrecognized(expected: &Expected, why: &str, body: &[u8]) -> Error {
    Error::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {why} ({})",
        expected.kind,
        syntax::summary(body, 30)
    ))
}

/// The object says that it is what the address says. Nothing said is fine.
fn check_header(expected: &Expected, json: &[u8]) -> Result<(), Error> {
    let said = |name| scan::member(json, 0, name).and_then(|value| scan::text(json, value)).unwrap_or_default();
    let (api_version, kind) = (said("apiVersion"), said("kind"));
    if json.iter().find(|byte| !byte.is_ascii_whitespace()) != Some(&b'{') {
        let why = format!(
            "couldn't get version/kind; json parse error: json: cannot unmarshal {} into Go value of type \
             struct {{ APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; \
             Kind string \"json:\\\"kind,omitempty\\\"\" }}",
            go_type::json_type(json, &[])
        );
        return Err(unrecognized(expected, &why, json));
    }
    if !api_version.is_empty() && api_version != expected.api_version() {
        return Err(Error::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            expected.api_version()
        )));
    }
    if !kind.is_empty() && kind != expected.kind {
        return Err(Error::bad_request(format!(
            "{kind} in version {:?} cannot be handled as a {}: no kind {kind:?} is registered for this address",
            expected.version, expected.kind
        )));
    }
    Ok(())
}

/// The metadata of a stored object, without decoding the rest.
pub fn metadata(json: &[u8]) -> Option<ObjectMeta> {
    let place = scan::member(json, 0, "metadata")?;
    serde_json::from_slice(json.get(place)?).ok()
}

/// The value to which a path leads.
pub fn value_at<'a>(json: &'a [u8], steps: &[Step]) -> Option<&'a [u8]> {
    let mut raw: &RawValue = serde_json::from_slice(json).ok()?;
    for step in steps {
        raw = match step {
            Step::Member(name) => {
                let place = scan::member(raw.get().as_bytes(), 0, name)?;
                serde_json::from_str(raw.get().get(place)?).ok()?
            }
            Step::Element(index) => {
                let elements: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
                elements.get(*index).copied()?
            }
        };
    }
    Some(raw.get().as_bytes())
}

/// The `apiVersion` that a body names.
pub fn api_version(json: &[u8]) -> Option<String> {
    let place = scan::member(json, 0, "apiVersion")?;
    Some(scan::text(json, place)?.into_owned())
}
