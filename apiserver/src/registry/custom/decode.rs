//! From bytes to a custom object. Source: `unstructuredSchemaCoercer` in `pkg/apiserver/customresource_handler.go`.

use kubelab_api::{
    Error, Resource,
    field::Path,
    structural::{Schema, default, embedded, prune},
};

use super::{
    conversion,
    definition::{Definition, Version},
    object::CustomObject,
};
use crate::registry::decode::{Expected, Validation, decode_body};

/// An object that a client sent, and warnings about what it lost on the way.
pub fn sent(
    resource: &Resource,
    version: &Version,
    json: &[u8],
    validation: Validation,
) -> Result<(CustomObject, Vec<String>), Error> {
    let expected = Expected { group: &resource.group, version: &resource.version, kind: &resource.kind };
    // What is strict is decided below, where all is known that is unknown.
    let lenient = if validation == Validation::Strict { Validation::Warn } else { validation };
    let (mut object, mut strict) = decode_body::<CustomObject>(&expected, json, lenient)?;
    if object.kind.is_empty() {
        object.kind = resource.kind.to_string();
    }
    if object.api_version.is_empty() {
        object.api_version.clone_from(&version.api_version);
    }
    if object.api_version != version.api_version {
        return Err(Error::bad_request(format!(
            "the API version in the data ({}) does not match the expected API version ({})",
            object.api_version, version.api_version
        )));
    }
    let mut unknown = Vec::new();
    let told = object.with_content(|content| -> Result<(), Error> {
        unknown = prune::object(content, &version.schema);
        prune::nulls(content, Some(&version.schema));
        embedded::coerce(content, &version.schema, &Path::default(), &mut unknown)
            .map_err(|errors| unfit(resource, &errors.to_string()))?;
        default::fill(content, &version.schema);
        Ok(())
    });
    told?;
    if validation == Validation::Ignore {
        return Ok((object, Vec::new()));
    }
    strict.extend(unknown.iter().map(|path| format!("unknown field {path:?}")));
    if validation == Validation::Strict && !strict.is_empty() {
        return Err(unfit(resource, &format!("strict decoding error: {}", strict.join(", "))));
    }
    Ok((object, strict))
}

fn unfit(resource: &Resource, why: &str) -> Error {
    let (kind, version) = (&resource.kind, &resource.version);
    Error::bad_request(format!("{kind} in version {version:?} cannot be handled as a {kind}: {why}"))
}

/// An object as it was stored, in the version asked for.
pub fn stored(definition: &Definition, version: &Version, json: &[u8]) -> Result<CustomObject, Error> {
    let mut object: CustomObject = serde_json::from_slice(json)
        .map_err(|error| Error::internal(format!("a stored {} cannot be read: {error}", definition.kind)))?;
    let own = definition.version_of(&object.api_version);
    object.with_content(|content| {
        fit(content, &own.schema);
        default::fill(content, &own.schema);
    });
    convert(definition, &mut object, version)?;
    Ok(object)
}

/// An object in another version. Source: `pkg/apiserver/conversion/nop_converter.go`, where both look alike.
pub fn convert(definition: &Definition, object: &mut CustomObject, version: &Version) -> Result<(), Error> {
    if object.api_version == version.api_version {
        return Ok(());
    }
    match &definition.webhook {
        Some(webhook) => *object = conversion::ask(webhook, object, &version.api_version)?,
        None => object.api_version.clone_from(&version.api_version),
    }
    object.with_content(|content| fit(content, &version.schema));
    Ok(())
}

/// Removes what a schema does not know.
fn fit(content: &mut serde_json::Value, schema: &Schema) {
    prune::object(content, schema);
    prune::nulls(content, Some(schema));
}
