//! A certificate request says who made it, whatever its maker says, and when it was decided. Upstream does this in the
//! kind's strategy (`pkg/registry/certificates/certificates/strategy.go`), where ours knows neither who asks nor the time.

use k8s_openapi::{api::certificates::v1::CertificateSigningRequest, apimachinery::pkg::apis::meta::v1::Time};
use kubelab_api::Error;

use super::{Attributes, Operation, Plugin};
use crate::{corridor::User, registry::object::AnyObject};

/// See the module.
pub struct CertificateRequestor;

impl Plugin for CertificateRequestor {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let Some(csr) = object.downcast_mut::<CertificateSigningRequest>() else { return Ok(()) };
        match (attributes.operation, attributes.request.subresource.as_str()) {
            (Operation::Create, "") => belongs_to(csr, &attributes.request.user),
            (Operation::Update, "approval" | "status") => {
                decided(csr, old.and_then(|old| old.downcast_ref()), &Time(attributes.now));
            }
            _ => {}
        }
        Ok(())
    }
}

fn belongs_to(csr: &mut CertificateSigningRequest, user: &User) {
    csr.spec.username = Some(user.name.clone()).filter(|name| !name.is_empty());
    csr.spec.uid = Some(user.uid.clone()).filter(|uid| !uid.is_empty());
    csr.spec.groups = Some(user.groups.clone()).filter(|groups| !groups.is_empty());
    csr.spec.extra = Some(user.extra.clone()).filter(|extra| !extra.is_empty());
}

/// Source: `populateConditionTimestamps`.
fn decided(new: &mut CertificateSigningRequest, old: Option<&CertificateSigningRequest>, now: &Time) {
    let before = old.and_then(|old| old.status.as_ref()).and_then(|status| status.conditions.as_deref());
    let before = before.unwrap_or_default();
    let conditions = new.status.as_mut().and_then(|status| status.conditions.as_mut());
    for condition in conditions.into_iter().flatten() {
        condition.last_update_time.get_or_insert_with(|| now.clone());
        let same = before.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
        let since = same.and_then(|same| same.last_transition_time.clone());
        condition.last_transition_time.get_or_insert_with(|| since.unwrap_or_else(|| now.clone()));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value, json};

    use super::*;

    fn csr(spec: Value, conditions: Value) -> CertificateSigningRequest {
        let mut whole = json!({"request": "", "signerName": "x"});
        whole.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        serde_json::from_value(json!({"metadata": {}, "spec": whole, "status": {"conditions": conditions}})).unwrap()
    }

    #[test]
    fn requests_belong_to_whoever_makes_them() {
        let mut request = csr(json!({"username": "boss", "groups": ["system:masters"], "uid": "1"}), json!([]));
        belongs_to(&mut request, &User { name: "jane".into(), groups: vec!["dev".into()], ..User::default() });
        let spec = serde_json::to_value(&request.spec).unwrap();
        assert_eq!(spec, json!({"request": "", "signerName": "x", "username": "jane", "groups": ["dev"]}));
    }

    #[test]
    fn conditions_say_since_when() {
        let (then, now) = ("2026-11-27T11:00:00Z", "2026-11-27T12:00:00Z");
        let condition = |status: &str, updated: Option<&str>, since: Option<&str>| {
            let mut condition = json!({"type": "Approved", "status": status});
            for (key, time) in [("lastUpdateTime", updated), ("lastTransitionTime", since)] {
                if let Some(time) = time {
                    condition[key] = time.into();
                }
            }
            condition
        };
        let before = csr(json!({}), json!([condition("True", Some(then), Some(then))]));
        for (given, old, expected) in [
            (condition("True", None, None), None, condition("True", Some(now), Some(now))),
            (condition("True", Some(then), None), None, condition("True", Some(then), Some(now))),
            (condition("True", None, None), Some(&before), condition("True", Some(now), Some(then))),
            (condition("False", None, None), Some(&before), condition("False", Some(now), Some(now))),
        ] {
            let mut new = csr(json!({}), json!([given]));
            decided(&mut new, old, &Time(now.parse().unwrap()));
            assert_eq!(serde_json::to_value(&new.status).unwrap()["conditions"], json!([expected]));
        }
    }
}
