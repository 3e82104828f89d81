//! Nobody gives away rights that he does not have. Upstream does this in the storage of RBAC's kinds
//! (`pkg/registry/rbac/*/policybased`), with the same outcome.

use std::sync::Arc;

use kubelab_api::Error;

use super::{Attributes, Plugin};
use crate::{
    authorization::{Decider, policy::check_write},
    registry::object::AnyObject,
};

const GROUP: &str = "rbac.authorization.k8s.io";

/// See the module.
pub struct RbacEscalation(pub Arc<dyn Decider>);

impl Plugin for RbacEscalation {
    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let request = attributes.request;
        let Some(object) = object.filter(|_| request.resource.group == GROUP) else { return Ok(()) };
        let old = old.map(AnyObject::encode).transpose()?;
        check_write(&*self.0, &request.user, &request.resource, &object.encode()?, old.as_deref())
    }
}
