//! What a policy's binding gives it to go by. Source: `CollectParams` in
//! `k8s.io/apiserver/pkg/admission/plugin/policy/generic/policy_dispatcher.go`.

use std::sync::Arc;

use k8s_openapi::api::admissionregistration::v1::{ParamKind, ParamRef};
use kubelab_api::selector::label::Selector;
use serde_json::Value;

use super::subject::Subject;
use crate::registry::handler::Handler;

/// The parameters that a binding names: `None` among them is a policy that does without.
pub fn collect(
    subject: &Subject<'_>,
    kind: Option<&ParamKind>,
    reference: Option<&ParamRef>,
) -> Result<Vec<Option<Value>>, String> {
    let (Some(kind), Some(reference)) = (kind, reference) else { return Ok(vec![None]) };
    let (version, kind) = (kind.api_version.as_deref().unwrap_or_default(), kind.kind.as_deref().unwrap_or_default());
    let handler =
        find(subject, version, kind).ok_or_else(|| format!("paramKind kind `{version}, Kind={kind}` not known"))?;
    let given = reference.namespace.as_deref().unwrap_or_default();
    let prefix = match handler.resource.namespaced {
        false if !given.is_empty() => {
            return Err("paramRef.namespace must not be provided for a cluster-scoped `paramKind`".into());
        }
        false => String::new(),
        true => match [given, subject.namespace()].into_iter().find(|namespace| !namespace.is_empty()) {
            Some(namespace) => format!("{namespace}/"),
            None => {
                return Err(
                    "cannot use namespaced paramRef in policy binding that matches cluster-scoped resources".into()
                );
            }
        },
    };
    let found = match (reference.name.as_deref().unwrap_or_default(), &reference.selector) {
        ("", None) => return Err("one of name or selector must be provided".into()),
        ("", Some(selector)) => {
            let selector = Selector::from_typed(Some(selector)).map_err(|error| error.to_string())?;
            all(subject, handler, &prefix).into_iter().filter(|param| selected(&selector, param)).collect()
        }
        (name, _) => {
            let key = kubelab_store::Key::new(handler.topic.clone(), format!("{prefix}{name}"));
            let entry = subject.context.state.get(&key);
            entry.and_then(|entry| shown(handler, &entry.value)).into_iter().collect::<Vec<_>>()
        }
    };
    if found.is_empty() && reference.parameter_not_found_action.as_deref() == Some("Deny") {
        return Err("no params found for policy binding with `Deny` parameterNotFoundAction".into());
    }
    Ok(found.into_iter().map(Some).collect())
}

fn find<'a>(subject: &Subject<'a>, api_version: &str, kind: &str) -> Option<&'a Arc<Handler>> {
    let mut handlers = subject.context.table.iter();
    handlers.find(|handler| handler.resource.kind == kind && handler.resource.api_version() == api_version)
}

fn all(subject: &Subject<'_>, handler: &Handler, prefix: &str) -> Vec<Value> {
    let entries = subject.context.state.range(&handler.topic, prefix, None);
    entries.filter_map(|(_, entry)| shown(handler, &entry.value)).collect()
}

fn shown(handler: &Handler, stored: &bytes::Bytes) -> Option<Value> {
    serde_json::from_slice(&handler.present(stored).ok()?).ok()
}

fn selected(selector: &Selector, param: &Value) -> bool {
    let labels = serde_json::from_value(param["metadata"]["labels"].clone()).ok();
    selector.matches(labels.as_ref())
}
