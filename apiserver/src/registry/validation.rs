//! Checks that many kinds share. Source: `k8s.io/apimachinery/pkg/api/validation`, `pkg/apis/core/validation`.

use std::net::{IpAddr, Ipv4Addr};

use k8s_openapi::{
    apimachinery::pkg::{apis::meta::v1::LabelSelector, util::intstr::IntOrString},
    serde::Serialize,
};
use kubelab_api::{
    field::{Errors, Path},
    name,
};
use serde_json::Value;

/// What a number may not be below.
pub const NEGATIVE: &str = "must be greater than or equal to 0";
/// What a number must be above.
pub const NOT_POSITIVE: &str = "must be greater than 0";
/// What is said of every field that an update may not change.
pub const IMMUTABLE: &str = "field is immutable";

/// A value as an error shows it.
pub fn json(value: &impl Serialize) -> Value {
    serde_json::to_value(value).unwrap_or_default()
}

/// A number must not be negative. A missing one is not.
pub fn nonnegative(value: Option<impl Into<i64>>, path: &Path, errors: &mut Errors) {
    if let Some(value) = value.map(Into::into)
        && value < 0
    {
        errors.invalid(path, value, NEGATIVE);
    }
}

/// A value must keep the form that `rule` (of [`kubelab_api::name`]) knows.
pub fn form(value: &str, rule: fn(&str) -> Vec<String>, path: &Path, errors: &mut Errors) {
    for wrong in rule(value) {
        errors.invalid(path, value, &wrong);
    }
}

/// A value must be given, and keep its form.
pub fn required_form(value: &str, rule: fn(&str) -> Vec<String>, path: &Path, errors: &mut Errors) {
    match value {
        "" => errors.required(path, ""),
        _ => form(value, rule, path, errors),
    }
}

/// A value must be given.
pub fn required(value: &str, path: &Path, errors: &mut Errors) {
    if value.is_empty() {
        errors.required(path, "");
    }
}

/// A value must be given, and be one of those allowed.
pub fn required_choice(value: &str, allowed: &[&str], path: &Path, errors: &mut Errors) {
    match value {
        "" => errors.required(path, ""),
        _ => choice(value, allowed, path, errors),
    }
}

/// A value must be one of those allowed.
pub fn choice(value: &str, allowed: &[&str], path: &Path, errors: &mut Errors) {
    if !allowed.contains(&value) {
        errors.not_supported(path, value, allowed);
    }
}

/// A number must be a port's.
pub fn port(value: i32, path: &Path, errors: &mut Errors) {
    for wrong in name::port_number(value.into()) {
        errors.invalid(path, value, &wrong);
    }
}

/// A port by its number or its name.
pub fn port_or_name(value: &IntOrString, path: &Path, errors: &mut Errors) {
    match value {
        IntOrString::Int(number) => port(*number, path, errors),
        IntOrString::String(text) => form(text, name::port_name, path, errors),
    }
}

/// A number that is not negative, or a percentage.
pub fn int_or_percent(value: &IntOrString, path: &Path, errors: &mut Errors) {
    match value {
        IntOrString::Int(number) => nonnegative(Some(*number), path, errors),
        IntOrString::String(text) => form(text, name::percent, path, errors),
    }
}

/// A percentage must be at most 100.
pub fn at_most_100_percent(value: &IntOrString, path: &Path, errors: &mut Errors) {
    if kubelab_api::intstr::percent(value).is_some_and(|percent| percent > 100) {
        errors.invalid(path, json(value), "must not be greater than 100%");
    }
}

/// A value must be as it was.
pub fn immutable<T: Serialize + PartialEq>(new: &T, old: &T, path: &Path, errors: &mut Errors) {
    if new != old {
        errors.invalid(path, json(new), IMMUTABLE);
    }
}

/// An IP address.
pub fn ip(value: &str, path: &Path, errors: &mut Errors) -> Option<IpAddr> {
    let parsed = value.parse().ok();
    if parsed.is_none() {
        errors.invalid(path, value, "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)");
    }
    parsed
}

/// An address block.
pub fn cidr(value: &str, path: &Path, errors: &mut Errors) {
    if value.parse::<ipnet::IpNet>().is_err() {
        errors.invalid(path, value, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)");
    }
}

/// An address that a service may forward to: none with a special meaning.
pub fn endpoint_ip(value: &str, path: &Path, errors: &mut Errors) {
    let Some(address) = ip(value, path, errors) else { return };
    let (link_local, link_local_multicast) = match address {
        IpAddr::V4(v4) => (v4.is_link_local(), v4.octets()[..3] == Ipv4Addr::new(224, 0, 0, 0).octets()[..3]),
        IpAddr::V6(v6) => (v6.segments()[0] & 0xffc0 == 0xfe80, v6.segments()[0] & 0xff0f == 0xff02),
    };
    if address.is_unspecified() {
        errors.invalid(path, value, &format!("may not be unspecified ({value})"));
    }
    if address.is_loopback() {
        errors.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if link_local {
        errors.invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if link_local_multicast {
        errors.invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// The key of a label, a taint or the like.
pub fn label_key(value: &str, path: &Path, errors: &mut Errors) {
    form(value, name::label_key, path, errors);
}

/// The selector has no requirements at all.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty())
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

#[cfg(test)]
pub mod tests {
    //! What the kinds' tables of (object, errors) are checked with.

    use kubelab_api::field::Errors;
    use serde_json::Value;

    use crate::registry::kind::Kind;

    /// The object that JSON says, with its defaults.
    pub fn object<K: Kind>(json: Value) -> K::Object {
        let mut object = serde_json::from_value(json).unwrap();
        K::default(&mut object);
        object
    }

    /// Everything that is wrong with a new object.
    pub fn new_errors<K: Kind>(json: Value) -> Vec<String> {
        let object = object::<K>(json);
        let mut errors = Errors::default();
        K::validate(&object, &mut errors);
        K::validate_create(&object, &mut errors);
        texts(&errors)
    }

    /// Everything that is wrong with an update of `old` by `new`.
    pub fn update_errors<K: Kind>(old: Value, new: Value) -> Vec<String> {
        let mut old = object::<K>(old);
        K::prepare_create(&mut old);
        let mut new = object::<K>(new);
        K::prepare_update(&mut new, &old);
        let mut errors = Errors::default();
        K::validate(&new, &mut errors);
        K::validate_update(&new, &old, &mut errors);
        texts(&errors)
    }

    fn texts(errors: &Errors) -> Vec<String> {
        errors.0.iter().map(ToString::to_string).collect()
    }

    /// `base` with `patch` merged into it.
    pub fn merged(base: &Value, patch: Value) -> Value {
        let mut merged = base.clone();
        json_patch::merge(&mut merged, &patch);
        merged
    }
}
