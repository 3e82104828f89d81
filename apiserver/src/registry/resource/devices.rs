//! What a claim asks for. Source: `pkg/apis/resource/v1/defaults.go`, `pkg/apis/resource/validation/validation.go`.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::LazyLock,
};

use k8s_openapi::{
    api::resource::v1::{
        DeviceClaim, DeviceConstraint, DeviceRequest, DeviceSelector, DeviceToleration, OpaqueDeviceConfiguration,
        ResourceClaimSpec,
    },
    apimachinery::pkg::runtime::RawExtension,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use crate::{
    cel::{Environment, ObjectType, Type},
    registry::{
        cells::{list, text},
        core::pod::validation::source::csi_driver,
        defaults,
        validation::{choice, form, required, required_form},
    },
};

/// So many requests, constraints, configurations or selectors are allowed.
const MOST: usize = 32;
/// So many alternatives a request may have.
const ALTERNATIVES: usize = 8;
/// An expression, or the parameters of a driver, may be so long.
const LONGEST: usize = 10 * 1024;

/// What selectors can name.
static DEVICE: LazyLock<Environment> = LazyLock::new(|| {
    let domains = |of: Type| Type::map(Type::String, Type::map(Type::String, of));
    let quantity = Type::Named("kubernetes.Quantity".into());
    let fields = [
        ("driver", Type::String),
        ("attributes", domains(Type::Dyn)),
        ("capacity", domains(quantity)),
        ("allowMultipleAllocations", Type::Bool),
    ];
    Environment::new().with("device", Type::object(ObjectType::new("kubernetes.DRADevice", fields)))
});

/// Fills in how many devices are wanted, and how taints are tolerated.
pub(super) fn default(spec: &mut ResourceClaimSpec) {
    for request in spec.devices.iter_mut().flat_map(|devices| devices.requests.iter_mut().flatten()) {
        if let Some(exact) = &mut request.exactly {
            amount(&mut exact.allocation_mode, &mut exact.count);
            exact.tolerations.iter_mut().flatten().for_each(default_toleration);
        }
        for request in request.first_available.iter_mut().flatten() {
            amount(&mut request.allocation_mode, &mut request.count);
            request.tolerations.iter_mut().flatten().for_each(default_toleration);
        }
    }
}

fn amount(mode: &mut Option<String>, count: &mut Option<i64>) {
    defaults::text(mode, "ExactCount");
    if mode.as_deref() == Some("ExactCount") && count.unwrap_or_default() == 0 {
        *count = Some(1);
    }
}

fn default_toleration(toleration: &mut DeviceToleration) {
    defaults::text(&mut toleration.operator, "Equal");
}

/// What is wrong with what a claim asks for.
pub(super) fn validate(spec: &ResourceClaimSpec, path: &Path, errors: &mut Errors) {
    let nothing = DeviceClaim::default();
    let (claim, path) = (spec.devices.as_ref().unwrap_or(&nothing), path.child("devices"));
    let names = Names::of(claim);
    let mut seen = BTreeSet::new();
    let requests = list(&claim.requests);
    at_most(requests.len(), MOST, &path.child("requests"), errors);
    for (i, request) in requests.iter().enumerate() {
        let path = path.child("requests").index(i);
        validate_request(request, &path, errors);
        if !seen.insert(&request.name) {
            errors.duplicate(&path.child("name"), request.name.as_str());
        }
    }
    let constraints = list(&claim.constraints);
    at_most(constraints.len(), MOST, &path.child("constraints"), errors);
    for (i, constraint) in constraints.iter().enumerate() {
        validate_constraint(constraint, &names, &path.child("constraints").index(i), errors);
    }
    let config = list(&claim.config);
    at_most(config.len(), MOST, &path.child("config"), errors);
    for (i, config) in config.iter().enumerate() {
        let path = path.child("config").index(i);
        names.references(list(&config.requests), &path.child("requests"), errors);
        validate_config(config.opaque.as_ref(), &path, errors);
    }
}

fn at_most(count: usize, limit: usize, path: &Path, errors: &mut Errors) {
    if count > limit {
        errors.too_many(path, count, limit);
    }
}

/// The requests of a claim, and the alternatives of each.
pub(super) struct Names<'a>(BTreeMap<&'a str, BTreeSet<&'a str>>);

impl<'a> Names<'a> {
    pub(super) fn of(claim: &'a DeviceClaim) -> Self {
        let name = |request: &'a DeviceRequest| {
            let alternatives = list(&request.first_available).iter().map(|request| request.name.as_str());
            (request.name.as_str(), alternatives.collect())
        };
        Self(list(&claim.requests).iter().map(name).collect())
    }

    fn has(&self, reference: &str) -> bool {
        match reference.split_once('/') {
            None => self.0.contains_key(reference),
            Some((name, alternative)) => self.0.get(name).is_some_and(|known| known.contains(alternative)),
        }
    }

    fn references(&self, given: &[String], path: &Path, errors: &mut Errors) {
        at_most(given.len(), MOST, path, errors);
        let mut seen = BTreeSet::new();
        for (i, reference) in given.iter().enumerate() {
            self.reference(reference, &path.index(i), errors);
            if !seen.insert(reference) {
                errors.duplicate(&path.index(i), reference.as_str());
            }
        }
    }

    /// A request of the claim, or an alternative of it.
    pub(super) fn reference(&self, reference: &str, path: &Path, errors: &mut Errors) {
        let detail = "must be the name of a request in the claim or the name of a request and a subrequest separated by \
                      '/'";
        if reference.matches('/').count() < 2 {
            for part in reference.split('/') {
                form(part, name::dns1123_label, path, errors);
            }
        }
        if !self.has(reference) {
            errors.invalid(path, reference, detail);
        }
    }
}

fn validate_request(request: &DeviceRequest, path: &Path, errors: &mut Errors) {
    form(&request.name, name::dns1123_label, &path.child("name"), errors);
    let alternatives = list(&request.first_available);
    match (&request.exactly, alternatives.is_empty()) {
        (None, true) => errors.required(path, "exactly one of `exactly` or `firstAvailable` is required"),
        (Some(_), false) => {
            let detail = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
            errors.invalid(path, serde_json::Value::Null, detail);
        }
        (Some(exact), true) => {
            let wanted = Wanted {
                class: &exact.device_class_name,
                selectors: list(&exact.selectors),
                mode: text(&exact.allocation_mode),
                count: exact.count.unwrap_or_default(),
                tolerations: list(&exact.tolerations),
            };
            wanted.validate(&path.child("exactly"), errors);
        }
        (None, false) => {
            let path = path.child("firstAvailable");
            at_most(alternatives.len(), ALTERNATIVES, &path, errors);
            let mut seen = BTreeSet::new();
            for (i, request) in alternatives.iter().enumerate() {
                let path = path.index(i);
                form(&request.name, name::dns1123_label, &path.child("name"), errors);
                let wanted = Wanted {
                    class: &request.device_class_name,
                    selectors: list(&request.selectors),
                    mode: text(&request.allocation_mode),
                    count: request.count.unwrap_or_default(),
                    tolerations: list(&request.tolerations),
                };
                wanted.validate(&path, errors);
                if !seen.insert(&request.name) {
                    errors.duplicate(&path.child("name"), request.name.as_str());
                }
            }
        }
    }
}

/// What a request and each of its alternatives say alike.
struct Wanted<'a> {
    class: &'a str,
    selectors: &'a [DeviceSelector],
    mode: &'a str,
    count: i64,
    tolerations: &'a [DeviceToleration],
}

impl Wanted<'_> {
    fn validate(&self, path: &Path, errors: &mut Errors) {
        required_form(self.class, name::dns1123_subdomain, &path.child("deviceClassName"), errors);
        validate_selectors(self.selectors, &path.child("selectors"), errors);
        match (self.mode, self.count) {
            ("All", 0) => {}
            ("All", count) => {
                let detail = "must not be specified when allocationMode is 'All'";
                errors.invalid(&path.child("count"), count, detail);
            }
            ("ExactCount", count) if count <= 0 => {
                errors.invalid(&path.child("count"), count, "must be greater than zero");
            }
            (mode, _) => choice(mode, &["All", "ExactCount"], &path.child("allocationMode"), errors),
        }
        for (i, toleration) in self.tolerations.iter().enumerate() {
            validate_toleration(toleration, &path.child("tolerations").index(i), errors);
        }
    }
}

/// Which devices will do.
pub(super) fn validate_selectors(selectors: &[DeviceSelector], path: &Path, errors: &mut Errors) {
    at_most(selectors.len(), MOST, path, errors);
    for (i, selector) in selectors.iter().enumerate() {
        let path = path.index(i).child("cel");
        let Some(cel) = &selector.cel else {
            errors.required(&path, "");
            continue;
        };
        let (path, given) = (path.child("expression"), cel.expression.as_str());
        if given.len() > LONGEST {
            errors.too_long(&path, LONGEST);
            continue;
        }
        match DEVICE.compile(given) {
            Err(wrong) => errors.invalid(&path, given, &format!("compilation failed: {wrong}")),
            Ok(program) if !matches!(program.output(), Type::Bool | Type::Dyn) => {
                errors.invalid(&path, given, "must evaluate to bool or the unknown type");
            }
            Ok(_) => {}
        }
    }
}

fn validate_toleration(toleration: &DeviceToleration, path: &Path, errors: &mut Errors) {
    let (key, value) = (text(&toleration.key), text(&toleration.value));
    if !key.is_empty() {
        form(key, name::label_key, &path.child("key"), errors);
    }
    match (text(&toleration.operator), value) {
        ("Exists", "") => {}
        ("Exists", value) => {
            errors.invalid(&path.child("value"), value, "must be empty for operator `Exists`");
        }
        ("Equal", value) => form(value, name::label_value, &path.child("value"), errors),
        (other, _) => choice(other, &["Equal", "Exists"], &path.child("operator"), errors),
    }
    if key.is_empty() && text(&toleration.operator) == "Equal" {
        errors.required(&path.child("key"), "required for operator `Equal`");
    }
    let effect = text(&toleration.effect);
    if !effect.is_empty() {
        choice(effect, &["NoExecute", "NoSchedule", "None"], &path.child("effect"), errors);
    }
}

fn validate_constraint(constraint: &DeviceConstraint, names: &Names, path: &Path, errors: &mut Errors) {
    names.references(list(&constraint.requests), &path.child("requests"), errors);
    match (&constraint.match_attribute, &constraint.distinct_attribute) {
        (Some(attribute), _) => qualified(attribute, true, &path.child("matchAttribute"), errors),
        (None, Some(attribute)) => qualified(attribute, true, &path.child("distinctAttribute"), errors),
        (None, None) => {
            let detail = "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields \
                          are set";
            errors.required(path, detail);
        }
    }
}

/// A name with the domain of who gave it: `gpu.example.com/memory`.
pub(super) fn qualified(given: &str, needs_domain: bool, path: &Path, errors: &mut Errors) {
    if given.is_empty() {
        return errors.required(path, "name required");
    }
    let (domain, id) = match given.split_once('/') {
        Some((domain, id)) => (Some(domain), id),
        None => (None, given),
    };
    match domain {
        None if needs_domain => {
            errors.invalid(path, given, "must include a domain");
        }
        None => {}
        Some("") => errors.required(path, "the domain must not be empty"),
        Some(domain) if domain.len() > 63 => errors.too_long(path, 63),
        Some(domain) => form(domain, name::dns1123_subdomain, path, errors),
    }
    let is_identifier = id.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && id.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match id {
        "" => errors.required(path, "the name must not be empty"),
        id if id.len() > 32 => errors.too_long(path, 32),
        id if !is_identifier => {
            let detail = "a valid C identifier must start with alphabetic character or '_', followed by a string of \
                          alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for \
                          validation is '[A-Za-z_][A-Za-z0-9_]*')";
            errors.invalid(path, id, detail);
        }
        _ => {}
    }
}

/// What a driver is told.
pub(super) fn validate_config(opaque: Option<&OpaqueDeviceConfiguration>, path: &Path, errors: &mut Errors) {
    let path = path.child("opaque");
    let Some(opaque) = opaque else { return errors.required(&path, "") };
    csi_driver(&opaque.driver, &path.child("driver"), errors);
    parameters(&opaque.parameters, &path.child("parameters"), errors);
}

fn parameters(parameters: &RawExtension, path: &Path, errors: &mut Errors) {
    let length = parameters.0.to_string().len();
    if parameters.0.is_null() {
        errors.required(path, "");
    } else if length > LONGEST {
        errors.too_long(path, LONGEST);
    } else if !parameters.0.is_object() {
        errors.invalid(path, "<value omitted>", "must be a valid JSON object");
    }
}

/// Whoever uses a claim.
pub(super) fn validate_consumer(resource: &str, name: &str, uid: &str, path: &Path, errors: &mut Errors) {
    for (field, value) in [("resource", resource), ("name", name), ("uid", uid)] {
        required(value, &path.child(field), errors);
    }
}
