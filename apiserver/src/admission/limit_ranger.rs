//! A namespace's LimitRanges give containers their requests and limits, and bound them.
//! Source: `plugin/pkg/admission/limitranger/admission.go`.

use std::{collections::BTreeMap, fmt::Display};

use k8s_openapi::{
    api::core::v1::{Container, LimitRange, LimitRangeItem, PersistentVolumeClaim, Pod, PodSpec},
    apimachinery::pkg::api::resource,
};
use kubelab_api::{Error, Quantity, pod};

use super::{Attributes, Operation, Plugin};
use crate::registry::object::AnyObject;

const ANNOTATION: &str = "kubernetes.io/limit-ranger";

/// See the module.
pub struct LimitRanger;

impl Plugin for LimitRanger {
    fn admit(
        &self,
        attributes: &Attributes,
        object: &mut dyn AnyObject,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        if attributes.operation != Operation::Create || !attributes.is_about::<Pod>("") {
            return Ok(());
        }
        let Some(pod) = object.downcast_mut::<Pod>() else { return Ok(()) };
        for item in items(attributes)?.iter().filter(|item| item.type_ == "Container") {
            set_defaults(pod, item);
        }
        Ok(())
    }

    fn validate(
        &self,
        attributes: &Attributes,
        object: Option<&dyn AnyObject>,
        _old: Option<&dyn AnyObject>,
    ) -> Result<(), Error> {
        let is_new = attributes.operation == Operation::Create;
        let wrong = match object {
            Some(object) if (is_new && attributes.is_about::<Pod>("")) || attributes.is_about::<Pod>("resize") => {
                let spec = object.downcast_ref::<Pod>().and_then(|pod| pod.spec.as_ref());
                spec.map(|spec| items(attributes).map(|items| check_pod(spec, &items))).transpose()?
            }
            Some(object) if attributes.is_about::<PersistentVolumeClaim>("") => {
                let claim = object.downcast_ref::<PersistentVolumeClaim>();
                claim.map(|claim| items(attributes).map(|items| check_claim(claim, &items))).transpose()?
            }
            _ => None,
        };
        match wrong.unwrap_or_default().as_slice() {
            [] => Ok(()),
            [one] => Err(attributes.forbidden(object, one)),
            many => Err(attributes.forbidden(object, &format!("[{}]", many.join(", ")))),
        }
    }
}

fn items(attributes: &Attributes) -> Result<Vec<LimitRangeItem>, Error> {
    let ranges = attributes.list::<LimitRange>("core/limitranges", &attributes.request.namespace)?;
    Ok(ranges.into_iter().filter_map(|range| range.spec).flat_map(|spec| spec.limits).collect())
}

type Amounts = BTreeMap<String, resource::Quantity>;

fn amount(text: &resource::Quantity) -> Quantity {
    text.0.parse().unwrap_or_default()
}

fn set_defaults(pod: &mut Pod, item: &LimitRangeItem) {
    let mut told = Vec::new();
    let spec = pod.spec.get_or_insert_default();
    let init = spec.init_containers.iter_mut().flatten().map(|container| ("init container", container));
    let all = init.chain(spec.containers.iter_mut().map(|container| ("container", container)));
    for (what, container) in all {
        let resources = container.resources.get_or_insert_default();
        let limits = fill(&mut resources.limits, item.default.as_ref());
        let requests = fill(&mut resources.requests, item.default_request.as_ref());
        for (names, kind) in [(requests, "request"), (limits, "limit")] {
            if !names.is_empty() {
                told.push(format!("{} {kind} for {what} {}", names.join(", "), container.name));
            }
        }
    }
    if !told.is_empty() {
        let told = format!("LimitRanger plugin set: {}", told.join("; "));
        pod.metadata.annotations.get_or_insert_default().insert(ANNOTATION.into(), told);
    }
}

/// Adds the amounts that are missing, and says which.
fn fill(given: &mut Option<Amounts>, defaults: Option<&Amounts>) -> Vec<String> {
    let mut set = Vec::new();
    for (name, amount) in defaults.into_iter().flatten() {
        if !given.as_ref().is_some_and(|given| given.contains_key(name)) {
            given.get_or_insert_default().insert(name.clone(), amount.clone());
            set.push(name.clone());
        }
    }
    set
}

fn check_pod(spec: &PodSpec, items: &[LimitRangeItem]) -> Vec<String> {
    let mut wrong = Vec::new();
    for item in items {
        match item.type_.as_str() {
            "Container" => {
                for container in spec.containers.iter().chain(spec.init_containers.iter().flatten()) {
                    check(item, &of_container(container, false), &of_container(container, true), &mut wrong);
                }
            }
            "Pod" => check(item, &of_pod(spec, false), &of_pod(spec, true), &mut wrong),
            _ => {}
        }
    }
    wrong
}

fn check_claim(claim: &PersistentVolumeClaim, items: &[LimitRangeItem]) -> Vec<String> {
    let mut wrong = Vec::new();
    let resources = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let requests = amounts(resources.and_then(|resources| resources.requests.as_ref()));
    for item in items.iter().filter(|item| item.type_ == "PersistentVolumeClaim") {
        // A claim has a size, which counts as both.
        check(item, &requests, &requests, &mut wrong);
    }
    wrong
}

fn amounts(given: Option<&Amounts>) -> BTreeMap<String, Quantity> {
    given.into_iter().flatten().map(|(name, text)| (name.clone(), amount(text))).collect()
}

fn of_container(container: &Container, limits: bool) -> BTreeMap<String, Quantity> {
    let resources = container.resources.as_ref();
    amounts(resources.and_then(|all| if limits { all.limits.as_ref() } else { all.requests.as_ref() }))
}

/// What the pod as a whole asks for or may use, beside its overhead.
fn of_pod(spec: &PodSpec, limits: bool) -> BTreeMap<String, Quantity> {
    let pod = Pod { spec: Some(PodSpec { overhead: None, ..spec.clone() }), ..Pod::default() };
    if limits { pod::limits(&pod) } else { pod::requests(&pod) }
}

fn check(
    item: &LimitRangeItem,
    requests: &BTreeMap<String, Quantity>,
    limits: &BTreeMap<String, Quantity>,
    wrong: &mut Vec<String>,
) {
    let what = &item.type_;
    for (name, least) in item.min.iter().flatten() {
        let usage = |rest: &dyn Display| format!("minimum {name} usage per {what} is {}{rest}", least.0);
        let (request, limit, least) = (requests.get(name), limits.get(name), amount(least));
        match (request, limit) {
            (None, _) => wrong.push(usage(&".  No request is specified")),
            (Some(request), _) if *request < least => wrong.push(usage(&format!(", but request is {request}"))),
            (_, Some(limit)) if *limit < least => wrong.push(usage(&format!(", but limit is {limit}"))),
            _ => {}
        }
    }
    for (name, most) in item.max.iter().flatten() {
        let usage = |rest: &dyn Display| format!("maximum {name} usage per {what} is {}{rest}", most.0);
        let (request, limit, most) = (requests.get(name), limits.get(name), amount(most));
        let is_claim = what == "PersistentVolumeClaim";
        match (limit, request) {
            (None, _) => wrong.push(usage(&".  No limit is specified")),
            (Some(limit), _) if *limit > most => {
                let kind = if is_claim { "request" } else { "limit" };
                wrong.push(usage(&format!(", but {kind} is {limit}")));
            }
            (_, Some(request)) if *request > most => wrong.push(usage(&format!(", but request is {request}"))),
            _ => {}
        }
    }
    for (name, ratio) in item.max_limit_request_ratio.iter().flatten() {
        let told =
            |rest: &dyn Display| format!("{name} max limit to request ratio per {what} is {}, but {rest}", ratio.0);
        let given = |all: &BTreeMap<String, Quantity>| all.get(name).copied().filter(|amount| !amount.is_zero());
        match (given(requests), given(limits)) {
            (None, _) => wrong.push(told(&"no request is specified or request is 0")),
            (_, None) => wrong.push(told(&"no limit is specified or limit is 0")),
            (Some(request), Some(limit)) => {
                let provided = limit.as_f64() / request.as_f64();
                if provided > amount(ratio).as_f64() {
                    wrong.push(told(&format!("provided ratio is {provided:.6}")));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(pairs: &[(&str, &str)]) -> Option<Amounts> {
        let pair = |(name, text): &(&str, &str)| ((*name).to_owned(), resource::Quantity((*text).to_owned()));
        (!pairs.is_empty()).then(|| pairs.iter().map(pair).collect())
    }

    fn container(requests: &[(&str, &str)], limits: &[(&str, &str)]) -> Container {
        let mut container = Container { name: "c".into(), ..Default::default() };
        let resources = container.resources.get_or_insert_default();
        (resources.requests, resources.limits) = (all(requests), all(limits));
        container
    }

    #[test]
    fn defaults_are_filled_in_and_told() {
        let item = LimitRangeItem {
            type_: "Container".into(),
            default: all(&[("cpu", "1"), ("memory", "1Gi")]),
            default_request: all(&[("cpu", "100m")]),
            ..Default::default()
        };
        let mut pod = Pod {
            spec: Some(PodSpec { containers: vec![container(&[], &[("memory", "2Gi")])], ..Default::default() }),
            ..Default::default()
        };
        set_defaults(&mut pod, &item);
        let once = pod.clone();
        set_defaults(&mut pod, &item);
        assert_eq!(pod, once);
        let told = pod.metadata.annotations.and_then(|mut all| all.remove(ANNOTATION));
        assert_eq!(
            told.as_deref(),
            Some("LimitRanger plugin set: cpu request for container c; cpu limit for container c")
        );
        let filled = container(&[("cpu", "100m")], &[("cpu", "1"), ("memory", "2Gi")]);
        assert_eq!(pod.spec.map(|spec| spec.containers), Some(vec![filled]));
    }

    #[test]
    fn bounds_are_told_in_upstreams_words() {
        let item = |min: &[(&str, &str)], max: &[(&str, &str)], ratio: &[(&str, &str)]| LimitRangeItem {
            type_: "Container".into(),
            min: all(min),
            max: all(max),
            max_limit_request_ratio: all(ratio),
            ..Default::default()
        };
        let cases = [
            (item(&[("cpu", "100m")], &[], &[]), "minimum cpu usage per Container is 100m, but request is 50m"),
            (
                item(&[("memory", "1Mi")], &[], &[]),
                "minimum memory usage per Container is 1Mi.  No request is specified",
            ),
            (item(&[], &[("cpu", "100m")], &[]), "maximum cpu usage per Container is 100m, but limit is 200m"),
            (item(&[], &[("memory", "1Gi")], &[]), "maximum memory usage per Container is 1Gi.  No limit is specified"),
            (
                item(&[], &[], &[("cpu", "2")]),
                "cpu max limit to request ratio per Container is 2, but provided ratio is 4.000000",
            ),
            (item(&[("cpu", "50m")], &[("cpu", "200m")], &[("cpu", "4")]), ""),
        ];
        let spec = PodSpec { containers: vec![container(&[("cpu", "50m")], &[("cpu", "200m")])], ..Default::default() };
        for (item, wrong) in cases {
            let found = check_pod(&spec, std::slice::from_ref(&item)).join(", ");
            assert_eq!(found, wrong);
        }
    }
}
