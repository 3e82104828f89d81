//! AdmissionReview: what a webhook is sent, and what it answers. Source:
//! `k8s.io/apiserver/pkg/admission/plugin/webhook/request/admissionreview.go` and `webhook/errors/statuserror.go`.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Status;
use kubelab_api::{Error, Reason};
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The group of AdmissionReview.
const GROUP: &str = "admission.k8s.io";

/// The first of the versions that a webhook speaks which is known here.
pub fn version(spoken: &[String]) -> Option<&'static str> {
    spoken.iter().find_map(|version| match version.as_str() {
        "v1" => Some("v1"),
        "v1beta1" => Some("v1beta1"),
        _ => None,
    })
}

/// What a webhook is sent.
pub fn request(
    version: &str,
    uid: &str,
    request: Map<String, Value>,
    object: Option<Value>,
    old: Option<Value>,
) -> Result<Bytes, Error> {
    let mut whole = Map::from_iter([("uid".to_owned(), Value::from(uid))]);
    whole.extend(request);
    whole.insert("object".into(), object.unwrap_or_default());
    whole.insert("oldObject".into(), old.unwrap_or_default());
    let review = json!({"kind": "AdmissionReview", "apiVersion": format!("{GROUP}/{version}"), "request": whole});
    Ok(serde_json::to_vec(&review).map_err(Error::internal)?.into())
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Review {
    kind: String,
    api_version: String,
    response: Option<Response>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Response {
    uid: String,
    allowed: bool,
    status: Option<Status>,
    patch: Option<String>,
    patch_type: Option<String>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

/// What a webhook answered.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Yes or no.
    pub allowed: bool,
    /// Why not.
    pub status: Option<Status>,
    /// A JSON patch, as text.
    pub patch: Option<Vec<u8>>,
    /// For the audit log.
    pub annotations: BTreeMap<String, String>,
    /// For the caller.
    pub warnings: Vec<String>,
}

/// Reads an answer, or says what is wrong with it.
pub fn verdict(version: &str, uid: &str, mutating: bool, body: &[u8]) -> Result<Verdict, String> {
    let review: Review = serde_json::from_slice(body)
        .map_err(|error| format!("couldn't get version/kind; json parse error: {error}"))?;
    let response = review.response.ok_or("webhook response was absent")?;
    let strict = version == "v1";
    if strict && response.uid != uid {
        return Err(format!("expected response.uid={uid:?}, got {:?}", response.uid));
    }
    let expected = format!("{GROUP}/{version}");
    if strict && (review.api_version != expected || review.kind != "AdmissionReview") {
        return Err(format!(
            "expected webhook response of {expected}, Kind=AdmissionReview, got {}, Kind={}",
            review.api_version, review.kind
        ));
    }
    let patch = response.patch.filter(|patch| !patch.is_empty());
    match (mutating, &patch, response.patch_type.as_deref()) {
        (true, Some(_), None) if strict => {
            return Err("webhook returned response.patch but not response.patchType".into());
        }
        (true, None, Some(_)) if strict => {
            return Err("webhook returned response.patchType but not response.patch".into());
        }
        (true, Some(_), Some(kind)) if strict && kind != "JSONPatch" => {
            return Err(format!("webhook returned invalid response.patchType of {kind:?}"));
        }
        (false, Some(_), _) if strict => return Err("validating webhook may not return response.patch".into()),
        (false, _, Some(_)) if strict => return Err("validating webhook may not return response.patchType".into()),
        _ => {}
    }
    let patch = patch.filter(|_| mutating).map(|patch| STANDARD.decode(patch)).transpose();
    let patch = patch.map_err(|error| format!("json: cannot unmarshal response.patch: {error}"))?;
    Ok(Verdict {
        allowed: response.allowed,
        status: response.status,
        patch,
        annotations: response.audit_annotations.unwrap_or_default(),
        warnings: response.warnings.unwrap_or_default(),
    })
}

/// The refusal that a webhook's "no" is.
pub fn refusal(webhook: &str, status: Option<Status>) -> Error {
    let status = status.unwrap_or_default();
    let denied = format!("admission webhook {webhook:?} denied the request");
    let text = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let message = match (text(&status.message), text(&status.reason)) {
        (Some(message), _) => format!("{denied}: {message}"),
        (None, Some(reason)) => format!("{denied}: {reason}"),
        (None, None) => format!("{denied} without explanation"),
    };
    let code = status.code.and_then(|code| u16::try_from(code).ok()).filter(|code| *code >= 400).unwrap_or(400);
    let known = status.reason.as_deref().map_or(Reason::Unknown, Reason::from_name);
    let reason = if known != Reason::Unknown && known.code() == code { known } else { Reason::Code(code) };
    Error { details: status.details.map(Box::new), ..Error::new(reason, message) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn judge(mutating: bool, response: Value) -> Result<Verdict, String> {
        let body = json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
        verdict("v1", "u", mutating, body.to_string().as_bytes())
    }

    #[test]
    fn answers_are_checked() {
        assert!(judge(true, json!({"uid": "u", "allowed": true})).unwrap().allowed);
        let patched = judge(true, json!({"uid": "u", "allowed": true, "patch": "W10=", "patchType": "JSONPatch"}));
        assert_eq!(patched.unwrap().patch.unwrap(), b"[]");
        for (mutating, response, wrong) in [
            (true, json!({"uid": "x"}), "expected response.uid=\"u\", got \"x\""),
            (true, json!({"uid": "u", "patch": "W10="}), "webhook returned response.patch but not response.patchType"),
            (
                true,
                json!({"uid": "u", "patchType": "JSONPatch"}),
                "webhook returned response.patchType but not response.patch",
            ),
            (
                true,
                json!({"uid": "u", "patch": "W10=", "patchType": "Merge"}),
                "webhook returned invalid response.patchType of \"Merge\"",
            ),
            (false, json!({"uid": "u", "patch": "W10="}), "validating webhook may not return response.patch"),
            (true, Value::Null, "webhook response was absent"),
        ] {
            assert_eq!(judge(mutating, response).unwrap_err(), wrong);
        }
        let old = json!({"response": {"allowed": true, "patch": "W10="}});
        assert!(verdict("v1beta1", "u", true, old.to_string().as_bytes()).unwrap().patch.is_some());
        let kind = json!({"apiVersion": "v1", "kind": "Pod", "response": {"uid": "u"}});
        assert_eq!(
            verdict("v1", "u", true, kind.to_string().as_bytes()).unwrap_err(),
            "expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got v1, Kind=Pod"
        );
    }

    #[test]
    fn refusals_keep_the_webhooks_code_and_words() {
        for (status, code, reason, message) in [
            (json!(null), 400, "", "admission webhook \"w.x.io\" denied the request without explanation"),
            (json!({"message": "no"}), 400, "", "admission webhook \"w.x.io\" denied the request: no"),
            (
                json!({"reason": "Forbidden", "code": 403}),
                403,
                "Forbidden",
                "admission webhook \"w.x.io\" denied the request: Forbidden",
            ),
            (
                json!({"message": "teapot", "code": 418}),
                418,
                "",
                "admission webhook \"w.x.io\" denied the request: teapot",
            ),
            (json!({"message": "fine", "code": 200}), 400, "", "admission webhook \"w.x.io\" denied the request: fine"),
        ] {
            let error = refusal("w.x.io", serde_json::from_value(status).unwrap());
            assert_eq!((error.code(), error.reason.name(), &*error.message), (code, reason, message));
        }
    }
}
