//! Nothing is created where there is no namespace, or where one is ending; some namespaces never end.
//! Source: `plugin/namespace/lifecycle/admission.go`.

use k8s_openapi::{
    api::{authorization::v1::LocalSubjectAccessReview, core::v1::Namespace},
    apimachinery::pkg::apis::meta::v1::StatusCause,
};
use kubelab_api::{Error, resource};

use super::{Attributes, Operation, Plugin};
use crate::registry::{object::AnyObject, scan};

/// These namespaces may not be deleted.
const IMMORTAL: [&str; 3] = ["default", "kube-system", "kube-public"];

/// See the module.
pub struct NamespaceLifecycle;

impl Plugin for NamespaceLifecycle {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let request = attributes.request;
        if attributes.operation != Operation::Create
            || !request.resource.namespaced
            || attributes.is_about::<LocalSubjectAccessReview>("")
        {
            return Ok(());
        }
        let name = request.namespace.as_str();
        let Some(namespace) = attributes.stored("core/namespaces", name) else {
            let namespaces = resource::find("", "v1", "namespaces").ok_or_else(Error::no_such_page)?;
            return Err(Error::not_found(namespaces, name));
        };
        if phase(namespace).as_deref() != Some("Terminating") {
            return Ok(());
        }
        let message = format!("unable to create new content in namespace {name} because it is being terminated");
        let mut error = attributes.forbidden(Some(object), &message);
        if let Some(details) = &mut error.details {
            details.causes.get_or_insert_default().push(StatusCause {
                reason: Some("NamespaceTerminating".into()),
                message: Some(format!("namespace {name} is being terminated")),
                field: Some("metadata.namespace".into()),
            });
        }
        Err(error)
    }

    fn validate(
        &self,
        attributes: &Attributes,
        _object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let immortal = attributes.operation == Operation::Delete
            && attributes.is_about::<Namespace>("")
            && old.is_some_and(|namespace| IMMORTAL.contains(&namespace.name()));
        if immortal { Err(attributes.forbidden(old, "this namespace may not be deleted")) } else { Ok(()) }
    }
}

fn phase(namespace: &[u8]) -> Option<String> {
    let status = scan::member(namespace, 0, "status")?;
    let phase = scan::member(namespace, status.start, "phase")?;
    Some(scan::text(namespace, phase)?.into_owned())
}
