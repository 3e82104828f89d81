//! Pods keep to the standard that their namespace's labels name; of templates that do not, the caller is warned.
//! Source: `k8s.io/pod-security-admission/admission/admission.go`. Nobody and nothing is exempt.

use std::collections::BTreeMap;

use k8s_openapi::{
    api::{
        apps::v1::{DaemonSet, Deployment, ReplicaSet, StatefulSet},
        batch::v1::{CronJob, Job},
        core::v1::{Namespace, Pod, PodSpec, PodTemplate, PodTemplateSpec, ReplicationController},
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{
    Error, Reason,
    pod_security::{Level, Policy, Standard, details, reasons, violations},
};

use super::{Attributes, Operation, Plugin};
use crate::{
    audit,
    registry::{decode, object::AnyObject},
};

/// So many pods of a namespace are looked at when it is relabelled. Source: `defaultNamespaceMaxPodsToCheck`.
const MAX_PODS: usize = 3_000;
const ENFORCED: &str = "pod-security.kubernetes.io/enforce-policy";
const AUDITED: &str = "pod-security.kubernetes.io/audit-violations";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// See the module.
pub struct PodSecurity;

impl Plugin for PodSecurity {
    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let Some(object) = object.filter(|_| attributes.operation != Operation::Delete) else { return Ok(()) };
        if attributes.is_about::<Namespace>("") {
            return namespace(attributes, object, old);
        }
        if let Some(pod) = object.downcast_ref::<Pod>() {
            // What changes a pod otherwise than as a whole, and is no container, concerns no standard.
            if !matches!(attributes.request.subresource.as_str(), "" | "ephemeralcontainers" | "resize") {
                return Ok(());
            }
            let old = old.and_then(|old| old.downcast_ref::<Pod>());
            let Some(spec) = pod.spec.as_ref().filter(|_| old.is_none_or(|old| is_significant(pod, old))) else {
                return Ok(());
            };
            return evaluate(attributes, object, Some(&pod.metadata), spec, true);
        }
        match template(object).filter(|_| attributes.request.subresource.is_empty()) {
            Some(PodTemplateSpec { metadata, spec: Some(spec) }) => {
                evaluate(attributes, object, metadata.as_ref(), spec, false)
            }
            _ => Ok(()),
        }
    }
}

/// The template of what makes pods.
fn template(object: &dyn AnyObject) -> Option<&PodTemplateSpec> {
    if let Some(set) = object.downcast_ref::<ReplicaSet>() {
        return set.spec.template.as_ref();
    }
    if let Some(deployment) = object.downcast_ref::<Deployment>() {
        return Some(&deployment.spec.template);
    }
    if let Some(set) = object.downcast_ref::<DaemonSet>() {
        return Some(&set.spec.template);
    }
    if let Some(set) = object.downcast_ref::<StatefulSet>() {
        return Some(&set.spec.template);
    }
    if let Some(job) = object.downcast_ref::<Job>() {
        return Some(&job.spec.as_ref()?.template);
    }
    if let Some(job) = object.downcast_ref::<CronJob>() {
        return Some(&job.spec.job_template.spec.as_ref()?.template);
    }
    if let Some(controller) = object.downcast_ref::<ReplicationController>() {
        return controller.spec.as_ref()?.template.as_ref();
    }
    object.downcast_ref::<PodTemplate>()?.template.as_ref()
}

fn evaluate(
    attributes: &Attributes,
    object: &dyn AnyObject,
    meta: Option<&ObjectMeta>,
    spec: &PodSpec,
    enforce: bool,
) -> Result<(), Error> {
    let Some(namespace) = attributes.stored("core/namespaces", &attributes.request.namespace) else { return Ok(()) };
    let labels = decode::metadata(namespace).and_then(|meta| meta.labels);
    let (policy, _) = Policy::of(labels.as_ref());
    let annotations = meta.and_then(|meta| meta.annotations.as_ref());
    let of = |standard: Standard| violations(standard, annotations, spec);
    if audit::current().is_some() {
        let found = of(policy.audit);
        let found = (!found.is_empty()).then(|| details(&found));
        notes(&policy, enforce, found).into_iter().for_each(|(key, value)| audit::annotate(key, || value));
    }
    if enforce {
        let found = of(policy.enforce);
        if !found.is_empty() {
            let message = format!("violates PodSecurity \"{}\": {}", policy.enforce, details(&found));
            return Err(attributes.forbidden(Some(object), &message));
        }
    }
    let found = of(policy.warn);
    if !found.is_empty() {
        attributes.warn(format!("would violate PodSecurity \"{}\": {}", policy.warn, details(&found)));
    }
    Ok(())
}

/// What the audit log keeps: the standard that was enforced, and violations of the one that is audited.
fn notes(policy: &Policy, enforce: bool, found: Option<String>) -> Vec<(&'static str, String)> {
    let enforced = enforce.then(|| (ENFORCED, policy.enforce.to_string()));
    let found = found.map(|found| (AUDITED, format!("would violate PodSecurity \"{}\": {found}", policy.audit)));
    enforced.into_iter().chain(found).collect()
}

/// Of what may change, only images and the old seccomp annotations matter. Source: `isSignificantPodUpdate`.
fn is_significant(new: &Pod, old: &Pod) -> bool {
    let annotation = |pod: &Pod, key: &str| pod.metadata.annotations.as_ref().and_then(|all| all.get(key).cloned());
    let seccomp = |name: &str| {
        let key = format!("{SECCOMP_CONTAINER}{name}");
        annotation(new, &key) != annotation(old, &key)
    };
    let (now, before) = (images(new), images(old));
    let (more, earlier) = (ephemeral_images(new), ephemeral_images(old));
    annotation(new, SECCOMP_POD) != annotation(old, SECCOMP_POD)
        || now != before
        || more.iter().any(|container| !earlier.contains(container))
        || now.iter().chain(&more).any(|(name, _)| seccomp(name))
}

type Images<'a> = Vec<(&'a str, Option<&'a str>)>;

fn images(pod: &Pod) -> Images<'_> {
    let spec = pod.spec.iter();
    let containers = spec.flat_map(|spec| spec.init_containers.iter().flatten().chain(&spec.containers));
    containers.map(|container| (container.name.as_str(), container.image.as_deref())).collect()
}

fn ephemeral_images(pod: &Pod) -> Images<'_> {
    let containers = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
    containers.map(|container| (container.name.as_str(), container.image.as_deref())).collect()
}

/// Labels must be right, and whoever makes them stricter hears which pods do not keep to them.
fn namespace(attributes: &Attributes, object: &dyn AnyObject, old: Option<&dyn AnyObject>) -> Result<(), Error> {
    let (new, errors) = Policy::of(object.metadata().labels.as_ref());
    let before = old.map(|old| Policy::of(old.metadata().labels.as_ref()));
    if !errors.is_empty() && before.as_ref().is_none_or(|(_, before)| before.to_string() != errors.to_string()) {
        let mut error = attributes.forbidden(Some(object), "");
        (error.reason, error.message) = (Reason::Invalid, errors.to_string());
        return Err(error);
    }
    let Some((before, _)) = before else { return Ok(()) };
    let (enforce, old) = (new.enforce, before.enforce);
    let relaxed = enforce.version == old.version && enforce.level <= old.level;
    if enforce == old || enforce.level == Level::Privileged || relaxed {
        return Ok(());
    }
    let prefix = format!("{}/", object.name());
    let pods = attributes.state.range("core/pods", &prefix, None);
    let mut warned: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut total = 0;
    for (_, entry) in pods {
        total += 1;
        if total > MAX_PODS {
            continue;
        }
        let pod: Pod = serde_json::from_slice(&entry.value).map_err(Error::internal)?;
        let Some(spec) = &pod.spec else { continue };
        let found = violations(enforce, pod.metadata.annotations.as_ref(), spec);
        if !found.is_empty() {
            // Pods come in the order of their names.
            let name = pod.metadata.name.unwrap_or_default();
            warned.entry(reasons(&found)).or_insert((name, 0)).1 += 1;
        }
    }
    if total > MAX_PODS {
        attributes.warn(format!(
            "new PodSecurity enforce level only checked against the first {MAX_PODS} of {total} existing pods"
        ));
    }
    if !warned.is_empty() {
        attributes.warn(format!(
            "existing pods in namespace {:?} violate the new PodSecurity enforce level \"{enforce}\"",
            object.name()
        ));
    }
    let mut told: Vec<_> = warned
        .iter()
        .map(|(reasons, (name, count))| match count {
            1 => format!("{name}: {reasons}"),
            2 => format!("{name} (and 1 other pod): {reasons}"),
            count => format!("{name} (and {} other pods): {reasons}", count - 1),
        })
        .collect();
    told.sort();
    told.into_iter().for_each(|warning| attributes.warn(warning));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_audit_log_keeps_what_was_enforced_and_what_was_violated() {
        let label = |mode: &str| format!("pod-security.kubernetes.io/{mode}");
        let labels = BTreeMap::from([(label("enforce"), "baseline".into()), (label("audit"), "restricted".into())]);
        let (policy, _) = Policy::of(Some(&labels));
        let violated =
            ("pod-security.kubernetes.io/audit-violations", "would violate PodSecurity \"restricted:latest\": x");
        let enforced = ("pod-security.kubernetes.io/enforce-policy", "baseline:latest");
        let told = |enforce, found: Option<&str>| notes(&policy, enforce, found.map(Into::into));
        let owned = |notes: &[(&'static str, &str)]| -> Vec<_> {
            notes.iter().map(|(key, value)| (*key, (*value).to_owned())).collect()
        };
        assert_eq!(told(true, Some("x")), owned(&[enforced, violated]));
        assert_eq!(told(false, Some("x")), owned(&[violated]), "templates are not enforced");
        assert_eq!(told(true, None), owned(&[enforced]));
    }
}
