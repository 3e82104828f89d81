//! `authorizer`: whether somebody may do something. Source: `k8s.io/apiserver/pkg/cel/library/authz.go`.

use std::sync::Arc;

use super::{Failure, value::Value};

/// What is asked of an authorizer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Question {
    /// Namespace and name of the service account that it is about; `None` for the caller.
    pub account: Option<(Arc<str>, Arc<str>)>,
    /// A path that is no resource; else the rest says which resource.
    pub path: Option<Arc<str>>,
    pub verb: Arc<str>,
    pub group: Arc<str>,
    pub resource: Arc<str>,
    pub subresource: Arc<str>,
    pub namespace: Arc<str>,
    pub name: Arc<str>,
    pub field_selector: Arc<str>,
    pub label_selector: Arc<str>,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Verdict {
    pub allowed: bool,
    pub reason: String,
}

/// Who answers.
pub trait Authority: Send + Sync {
    /// The answer to a question.
    fn decide(&self, question: &Question) -> Verdict;
}

/// A value that leads to an answer.
pub struct Check {
    authority: Arc<dyn Authority>,
    stage: Stage,
    question: Question,
}

enum Stage {
    Authorizer,
    Path,
    Group,
    Resource,
    Decision(Verdict),
}

impl Check {
    /// cel-go's name of its type.
    pub fn type_name(&self) -> &'static str {
        match self.stage {
            Stage::Authorizer => "kubernetes.authorization.Authorizer",
            Stage::Path => "kubernetes.authorization.PathCheck",
            Stage::Group => "kubernetes.authorization.GroupCheck",
            Stage::Resource => "kubernetes.authorization.ResourceCheck",
            Stage::Decision(_) => "kubernetes.authorization.Decision",
        }
    }
}

impl Value {
    /// `authorizer`.
    pub fn authorizer(authority: Arc<dyn Authority>) -> Self {
        let question = Question::default();
        Value::Authority(Arc::new(Check { authority, stage: Stage::Authorizer, question }))
    }

    /// `authorizer.requestResource`.
    pub fn resource_check(authority: Arc<dyn Authority>, question: Question) -> Self {
        Value::Authority(Arc::new(Check { authority, stage: Stage::Resource, question }))
    }
}

/// A method of an authorizer or of what comes of it.
pub fn call(function: &str, check: &Check, args: &[Value]) -> Result<Value, Failure> {
    let text = |i: usize| match args.get(i) {
        Some(Value::String(text)) => Ok(Arc::clone(text)),
        _ => Err(Failure::no_overload()),
    };
    let filled = |what: &str| {
        let text = text(0)?;
        if text.trim().is_empty() { Err(Failure::new(format!("{what} must not be empty"))) } else { Ok(text) }
    };
    let next = |stage, question| {
        Ok(Value::Authority(Arc::new(Check { authority: Arc::clone(&check.authority), stage, question })))
    };
    let question = check.question.clone();
    match (&check.stage, function) {
        (Stage::Authorizer, "path") => next(Stage::Path, Question { path: Some(filled("path")?), ..question }),
        (Stage::Authorizer, "group") => next(Stage::Group, Question { group: text(0)?, ..question }),
        (Stage::Authorizer, "serviceAccount") => {
            let (namespace, name) = (text(0)?, text(1)?);
            if !kubelab_api::name::dns1123_subdomain(&name).is_empty() {
                return Err(Failure::new("Invalid service account name"));
            }
            if !kubelab_api::name::dns1123_label(&namespace).is_empty() {
                return Err(Failure::new("Invalid service account namespace"));
            }
            next(Stage::Authorizer, Question { account: Some((namespace, name)), ..question })
        }
        (Stage::Group, "resource") => next(Stage::Resource, Question { resource: filled("resource")?, ..question }),
        (Stage::Resource, "subresource") => next(Stage::Resource, Question { subresource: text(0)?, ..question }),
        (Stage::Resource, "namespace") => next(Stage::Resource, Question { namespace: text(0)?, ..question }),
        (Stage::Resource, "name") => next(Stage::Resource, Question { name: text(0)?, ..question }),
        (Stage::Resource, "fieldSelector") => next(Stage::Resource, Question { field_selector: text(0)?, ..question }),
        (Stage::Resource, "labelSelector") => next(Stage::Resource, Question { label_selector: text(0)?, ..question }),
        (Stage::Path | Stage::Resource, "check") => {
            let question = Question { verb: text(0)?, ..question };
            let verdict = check.authority.decide(&question);
            next(Stage::Decision(verdict), question)
        }
        (Stage::Decision(verdict), "allowed") => Ok(verdict.allowed.into()),
        (Stage::Decision(verdict), "reason") => Ok(verdict.reason.as_str().into()),
        (Stage::Decision(_), "errored") => Ok(false.into()),
        (Stage::Decision(_), "error") => Ok("".into()),
        _ => Err(Failure::no_overload()),
    }
}
