//! Checks that many kinds share. Source: `k8s.io/apimachinery/pkg/api/validation`, `pkg/apis/core/validation`.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
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
#[track_caller]
pub fn nonnegative(value: Option<impl Into<i64>>, path: &Path, errors: &mut Errors) {
    if let Some(value) = value.map(Into::into)
        && value < 0
    {
        errors.invalid(path, value, NEGATIVE);
    }
}

/// A value must keep the form that `rule` (of [`kubelab_api::name`]) knows.
#[track_caller]
pub fn form(value: &str, rule: fn(&str) -> Vec<String>, path: &Path, errors: &mut Errors) {
    for wrong in rule(value) {
        errors.invalid(path, value, &wrong);
    }
}

/// A value must be given, and keep its form.
#[track_caller]
pub fn required_form(value: &str, rule: fn(&str) -> Vec<String>, path: &Path, errors: &mut Errors) {
    match value {
        "" => errors.required(path, ""),
        _ => form(value, rule, path, errors),
    }
}

/// A value must be given.
#[track_caller]
pub fn required(value: &str, path: &Path, errors: &mut Errors) {
    if value.is_empty() {
        errors.required(path, "");
    }
}

/// A value must be given, and be one of those allowed.
#[track_caller]
pub fn required_choice(value: &str, allowed: &[&str], path: &Path, errors: &mut Errors) {
    match value {
        "" => errors.required(path, ""),
        _ => choice(value, allowed, path, errors),
    }
}

/// A value must be one of those allowed.
#[track_caller]
pub fn choice(value: &str, allowed: &[&str], path: &Path, errors: &mut Errors) {
    if !allowed.contains(&value) {
        errors.not_supported(path, value, allowed);
    }
}

/// A number must be a port's.
#[track_caller]
pub fn port(value: i32, path: &Path, errors: &mut Errors) {
    for wrong in name::port_number(value.into()) {
        errors.invalid(path, value, &wrong);
    }
}

/// A port by its number or its name.
#[track_caller]
pub fn port_or_name(value: &IntOrString, path: &Path, errors: &mut Errors) {
    match value {
        IntOrString::Int(number) => port(*number, path, errors),
        IntOrString::String(text) => form(text, name::port_name, path, errors),
    }
}

/// A number that is not negative, or a percentage.
#[track_caller]
pub fn int_or_percent(value: &IntOrString, path: &Path, errors: &mut Errors) {
    match value {
        IntOrString::Int(number) => nonnegative(Some(*number), path, errors),
        IntOrString::String(text) => form(text, name::percent, path, errors),
    }
}

/// A percentage must be at most 100.
#[track_caller]
pub fn at_most_100_percent(value: &IntOrString, path: &Path, errors: &mut Errors) {
    if kubelab_api::intstr::percent(value).is_some_and(|percent| percent > 100) {
        errors.invalid(path, json(value), "must not be greater than 100%");
    }
}

/// A value must be as it was.
#[track_caller]
pub fn immutable<T: Serialize + PartialEq>(new: &T, old: &T, path: &Path, errors: &mut Errors) {
    if new != old {
        errors.invalid(path, json(new), IMMUTABLE);
    }
}

/// An IP address.
pub fn ip(value: &str, path: &Path, errors: &mut Errors) -> Option<IpAddr> {
    let wrong = ip_wrongs(value);
    wrong.iter().for_each(|wrong| errors.invalid(path, value, wrong));
    if wrong.is_empty() { value.parse().ok() } else { None }
}

/// What is wrong with an IP address. Source: `parseIP`.
fn ip_wrongs(value: &str) -> Vec<String> {
    match value.parse::<IpAddr>() {
        Ok(IpAddr::V6(v6)) if v6.to_ipv4_mapped().is_some() => {
            vec!["must not be an IPv4-mapped IPv6 address".into()]
        }
        Ok(_) => Vec::new(),
        Err(_) if without_zeros(value).parse::<Ipv4Addr>().is_ok() => vec!["must not have leading 0s".into()],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".into()],
    }
}

/// The numbers of an address as older programs read them.
fn without_zeros(address: &str) -> String {
    let plain = |number: &str| match number.trim_start_matches('0') {
        "" if !number.is_empty() => "0".to_owned(),
        rest => rest.to_owned(),
    };
    address.split('.').map(plain).collect::<Vec<_>>().join(".")
}

/// What is wrong with an IP address that may be written in one way only. Source: `IsValidIP`.
pub fn canonical_ip(value: &str) -> Vec<String> {
    let wrong = ip_wrongs(value);
    match value.parse::<IpAddr>() {
        Ok(address) if wrong.is_empty() && address.to_string() != value => {
            vec![format!("must be in canonical form ({:?})", address.to_string())]
        }
        _ => wrong,
    }
}

/// An address block.
pub fn cidr(value: &str, path: &Path, errors: &mut Errors) {
    if let Some(wrong) = cidr_wrong(value) {
        errors.invalid(path, value, wrong);
    }
}

/// What is wrong with an address block. Source: `parseCIDR`.
fn cidr_wrong(value: &str) -> Option<&'static str> {
    match value.parse::<IpNet>() {
        Ok(IpNet::V6(block)) if block.addr().to_ipv4_mapped().is_some() => {
            Some("must not have an IPv4-mapped IPv6 address")
        }
        Ok(block) if block.trunc() != block => Some("must not have bits set beyond the prefix length"),
        Ok(_) => None,
        Err(_) => {
            let plain = value
                .split_once('/')
                .map(|(address, length)| format!("{}/{}", without_zeros(address), without_zeros(length)));
            match plain.and_then(|plain| plain.parse::<IpNet>().ok()) {
                Some(_) => Some("must not have leading 0s in IP or prefix length"),
                None => Some("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
            }
        }
    }
}

/// An address block that may be written in one way only. Source: `IsValidCIDR`.
pub fn canonical_cidr(value: &str, path: &Path, errors: &mut Errors) {
    cidr(value, path, errors);
    if let Ok(block) = value.parse::<IpNet>()
        && cidr_wrong(value).is_none()
        && block.to_string() != value
    {
        errors.invalid(path, value, &format!("must be in canonical form ({:?})", block.to_string()));
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
    if address.is_loopback() && !is_a_labs(address) {
        errors.invalid(path, value, "may not be in the loopback range (127.0.0.0/8, ::1/128)");
    }
    if link_local {
        errors.invalid(path, value, "may not be in the link-local range (169.254.0.0/16, fe80::/10)");
    }
    if link_local_multicast {
        errors.invalid(path, value, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)");
    }
}

/// A lab's nodes have their addresses in 127.S.0.0/16, where S is not 0, and so have the pods on their nodes' own network,
/// which Services lead to as to any other.
fn is_a_labs(address: IpAddr) -> bool {
    matches!(address, IpAddr::V4(v4) if v4.is_loopback() && v4.octets()[1] != 0)
}

/// The key of a label, a taint or the like.
pub fn label_key(value: &str, path: &Path, errors: &mut Errors) {
    form(value, name::label_key, path, errors);
}

/// A name below a domain: `example.com/controller`. Source: `IsDomainPrefixedPath`.
pub fn domain_prefixed_path(value: &str, path: &Path, errors: &mut Errors) {
    const FORM: &str = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+";
    match value.split_once('/') {
        _ if value.is_empty() => errors.required(path, ""),
        Some((domain, rest)) if !domain.is_empty() && !rest.is_empty() => {
            for wrong in name::dns1123_subdomain(domain) {
                errors.invalid(path, domain, &wrong);
            }
            let fits = |c: char| c.is_ascii_alphanumeric() || "/-._~%!$&'()*+,;=:".contains(c);
            if !rest.chars().all(fits) {
                errors.invalid(path, rest, &format!("Invalid path (regex used for validation is '{FORM}')"));
            }
        }
        _ => errors.invalid(path, value, "must be a domain-prefixed path (such as \"acme.io/foo\")"),
    }
}

/// The selector has no requirements at all.
pub fn is_empty(selector: &LabelSelector) -> bool {
    selector.match_labels.as_ref().is_none_or(|labels| labels.is_empty())
        && selector.match_expressions.as_ref().is_none_or(Vec::is_empty)
}

/// What differs, field by field, as `-` before and `+` after.
pub fn difference(kind: &str, old: &Value, new: &Value) -> String {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return String::new() };
    let mut lines = vec![format!("  {kind}{{"), "  \t... // identical fields".to_owned()];
    let mut fields: Vec<_> = old.keys().chain(new.keys()).collect();
    fields.sort();
    fields.dedup();
    for field in fields.into_iter().filter(|field| old.get(*field) != new.get(*field)) {
        lines.extend(old.get(field).map(|value| format!("- \t{field}: {value},")));
        lines.extend(new.get(field).map(|value| format!("+ \t{field}: {value},")));
    }
    lines.push("  }\n".into());
    lines.join("\n")
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
