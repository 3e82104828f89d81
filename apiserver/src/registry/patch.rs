//! Patch: the stored object with changes applied takes the path of an update.
//! Source: `endpoints/handlers/patch.go`.

use json_patch::PatchOperation;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{StatusCause, StatusDetails};
use kubelab_api::{
    Error, Reason, field,
    patch::{Schema, merge, strategic},
};
use serde_json::Value;

use super::{
    apply,
    decode::Validation,
    plan::{Context, Plan},
    scan, syntax, update,
};
use crate::corridor::Body;

/// RFC 6902.
pub const JSON: &str = "application/json-patch+json";
/// RFC 7386.
pub const MERGE: &str = "application/merge-patch+json";
/// Kubernetes' own.
pub const STRATEGIC: &str = "application/strategic-merge-patch+json";
/// Server-side apply.
pub const APPLY: &str = "application/apply-patch+yaml";

/// Source: `maxJSONPatchOperations`.
const MAX_OPERATIONS: usize = 10_000;
/// How deep a document may become while operations move it into itself, counted on the safe side. What the parser takes
/// nests at most [`PARSED_DEPTH`], so that nothing this deep could be stored.
const MAX_DEPTH: usize = 512;
/// Source: serde_json's recursion limit.
const PARSED_DEPTH: usize = 128;
/// What `copy` operations may add up to. Source: `AccumulatedCopySizeLimit`, set to the largest request body.
const MAX_COPIED: usize = 3 * 1024 * 1024;

/// A PATCH.
pub fn plan(context: &Context) -> Result<Plan, Error> {
    apply::check_options(context.request)?;
    if apply::is_apply(context.request) {
        return apply::plan(context);
    }
    let stored = context.existing(&context.request.name)?;
    let present = context.handler.present(&stored.entry.value)?;
    let (json, mut warnings) = if speaks_of_managers(context) {
        patched(context, &present)?
    } else {
        // Where they are missing, the live ones count; they are a third of many an object.
        patched(context, &scan::without(&present, &["metadata", "managedFields"]))?
    };
    let validation = context.validation()?;
    let (object, more) = context.handler.decode(&json, validation).map_err(|error| unfit(&json, error))?;
    warnings.extend(more);
    update::replace(context, &stored, object, warnings)
}

/// The patch may look at who manages what, or change it.
fn speaks_of_managers(context: &Context) -> bool {
    const NAME: &[u8] = b"managedFields";
    match &context.request.body {
        // A key may hide behind escapes.
        Body::Patch { media_type, patch } if matches!(media_type.as_str(), MERGE | STRATEGIC) => {
            patch.contains(&b'\\') || patch.windows(NAME.len()).any(|part| part == NAME)
        }
        _ => true,
    }
}

/// The patch of a request applied to a document; and warnings.
pub fn patched(context: &Context, present: &[u8]) -> Result<(Vec<u8>, Vec<String>), Error> {
    let Body::Patch { media_type, patch } = &context.request.body else {
        return Err(Error::bad_request("the request has no patch in its body"));
    };
    let warnings = check_duplicates(patch, context.validation()?)?;
    let mut document: Value = serde_json::from_slice(present).map_err(Error::internal)?;
    match media_type.as_str() {
        JSON => json_patch(&mut document, patch)?,
        MERGE => match parse(patch)? {
            changes @ Value::Object(_) => merge(&mut document, &changes),
            _ => return Err(Error::bad_request("Invalid JSON Patch")),
        },
        STRATEGIC => {
            let changes = parse(patch)?;
            let schema = Schema::of(&context.handler.resource).ok_or_else(|| unsupported(&[JSON, MERGE, APPLY]))?;
            document = strategic::apply(document, changes, &schema).map_err(|error| match error {
                strategic::Error::NotAnObject => Error::bad_request(error.to_string()),
                error => unprocessable(&error.to_string()),
            })?;
        }
        _ => return Err(unsupported(&[JSON, MERGE, STRATEGIC, APPLY])),
    }
    Ok((serde_json::to_vec(&document).map_err(Error::internal)?, warnings))
}

fn unsupported(accepted: &[&str]) -> Error {
    Error::new(
        Reason::UnsupportedMediaType,
        format!(
            "the body of the request was in an unknown format - accepted media types include: {}",
            accepted.join(", ")
        ),
    )
}

fn unprocessable(message: &str) -> Error {
    tracing::debug!(message, "a patch does not apply");
    Error::new(Reason::Invalid, "the server rejected our request due to an error in our request")
}

pub(super) fn parse(patch: &[u8]) -> Result<Value, Error> {
    serde_json::from_slice(patch)
        .map_err(|error| Error::bad_request(format!("error decoding patch: {}", syntax::wording(patch, &error))))
}

pub(super) fn check_duplicates(patch: &[u8], validation: Validation) -> Result<Vec<String>, Error> {
    if validation == Validation::Ignore {
        return Ok(Vec::new());
    }
    let too_deep = |_| Error::bad_request("error decoding patch: exceeded max depth");
    let twice = scan::duplicates(patch, 100).map_err(too_deep)?;
    let strict: Vec<_> = twice.iter().map(|path| format!("duplicate field {path:?}")).collect();
    if validation == Validation::Strict && !strict.is_empty() {
        return Err(Error::bad_request(format!("error strict decoding patch: {}", strict.join(", "))));
    }
    Ok(strict)
}

fn json_patch(document: &mut Value, patch: &[u8]) -> Result<(), Error> {
    apply_operations(document, &operations(patch)?).map_err(|misfit| unprocessable(&misfit.to_string()))
}

/// The operations of an RFC 6902 patch, of which there may be so many.
pub fn operations(patch: &[u8]) -> Result<Vec<PatchOperation>, Error> {
    let changes = parse(patch)?;
    let count = changes.as_array().map_or(0, Vec::len);
    if count > MAX_OPERATIONS {
        return Err(Error::too_large(format!(
            "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
        )));
    }
    serde_json::from_value(changes).map_err(|error| Error::bad_request(format!("error decoding patch: {error}")))
}

/// Why a patch does not apply.
#[derive(Debug, thiserror::Error)]
pub enum Misfit {
    /// It is not for this document: one of its tests says so.
    #[error("testing value failed")]
    Test,
    /// It names what is not there.
    #[error("{0}")]
    Path(String),
    /// It makes a document that is too large.
    #[error("copies too much")]
    Size,
    /// It makes a document that nests too deep.
    #[error("exceeded max depth")]
    Depth,
}

/// Applies an RFC 6902 patch, within bounds.
pub fn apply_operations(document: &mut Value, operations: &[PatchOperation]) -> Result<(), Misfit> {
    let mut copied = 0;
    let mut depth = PARSED_DEPTH;
    for operation in operations {
        depth = depth.max(depth_after(operation, depth));
        if depth > MAX_DEPTH {
            return Err(Misfit::Depth);
        }
        if let PatchOperation::Copy(copy) = operation {
            let source = document.pointer(copy.from.as_str()).unwrap_or(&Value::Null);
            copied += serde_json::to_vec(source).map_or(0, |json| json.len());
            if copied > MAX_COPIED {
                return Err(Misfit::Size);
            }
        }
        json_patch::patch(document, std::slice::from_ref(operation)).map_err(|error| match error.kind {
            json_patch::PatchErrorKind::TestFailed => Misfit::Test,
            kind => Misfit::Path(format!("{kind}: {}", error.path)),
        })?;
    }
    Ok(())
}

/// How deep the value can reach that an operation puts somewhere in a document of this depth.
fn depth_after(operation: &PatchOperation, depth: usize) -> usize {
    let steps = |path: &str| path.matches('/').count();
    match operation {
        PatchOperation::Add(add) => steps(add.path.as_str()) + PARSED_DEPTH,
        PatchOperation::Replace(replace) => steps(replace.path.as_str()) + PARSED_DEPTH,
        PatchOperation::Move(moved) => steps(moved.path.as_str()) + depth.saturating_sub(steps(moved.from.as_str())),
        PatchOperation::Copy(copy) => steps(copy.path.as_str()) + depth.saturating_sub(steps(copy.from.as_str())),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => 0,
    }
}

/// What is wrong with the object that a patch leads to.
pub fn unfit(json: &[u8], error: Error) -> Error {
    let why = match error.message.split_once(" cannot be handled as a ").and_then(|(_, rest)| rest.split_once(": ")) {
        Some((_, why)) => why.to_owned(),
        None => return error,
    };
    let mut errors = field::Errors::default();
    errors.invalid(&field::Path::new("patch"), String::from_utf8_lossy(json).into_owned(), &why);
    let cause = StatusCause {
        field: Some("patch".into()),
        message: errors.0.first().map(|error| error.message.clone()),
        reason: Some("FieldValueInvalid".into()),
    };
    let details = StatusDetails { causes: Some(vec![cause]), ..Default::default() };
    Error { details: Some(Box::new(details)), ..Error::new(Reason::Invalid, format!(" \"\" is invalid: {errors}")) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn json_patches_are_bounded() {
        let mut document = json!({"a": "x"});
        json_patch(&mut document, br#"[{"op":"add","path":"/b","value":1},{"op":"remove","path":"/a"}]"#).unwrap();
        assert_eq!(document, json!({"b": 1}));

        let many = vec![json!({"op": "test", "path": "/b", "value": 1}); MAX_OPERATIONS + 1];
        let error = json_patch(&mut document, &serde_json::to_vec(&many).unwrap()).unwrap_err();
        assert_eq!(
            (error.code(), &*error.message),
            (413, "The allowed maximum operations in a JSON patch is 10000, got 10001")
        );

        let error = json_patch(&mut document, br#"[{"op":"test","path":"/b","value":2}]"#).unwrap_err();
        assert_eq!(error.code(), 422);

        let deeper = [
            json!({"op": "add", "path": "/c", "value": {}}),
            json!({"op": "move", "from": "/b", "path": "/c/b"}),
            json!({"op": "move", "from": "/c", "path": "/b"}),
        ];
        let error =
            json_patch(&mut document, &serde_json::to_vec(&vec![deeper.clone(); 3_000].concat()).unwrap()).unwrap_err();
        assert_eq!(error.code(), 422);
        let mut document = json!({"b": 1});
        assert!(json_patch(&mut document, &serde_json::to_vec(&vec![deeper; 100].concat()).unwrap()).is_ok());

        let double = json!({"op": "copy", "from": "/list", "path": "/list/-"});
        let mut bomb = json!({"list": ["x".repeat(1000)]});
        let error = json_patch(&mut bomb, &serde_json::to_vec(&vec![double; 100]).unwrap()).unwrap_err();
        assert_eq!(error.code(), 422);
    }
}
