//! Which requests a FlowSchema takes. Source: `pkg/apis/flowcontrol/validation/validation.go`.

use k8s_openapi::api::flowcontrol::v1::{PolicyRulesWithSubjects, Subject};
use kubelab_api::{
    field::{Errors, Path},
    name,
};

use crate::registry::{
    cells::list,
    validation::{choice, form, json, required},
};

const VERBS: [&str; 9] = ["create", "delete", "deletecollection", "get", "list", "patch", "proxy", "update", "watch"];

pub(super) fn validate(rules: &PolicyRulesWithSubjects, path: &Path, errors: &mut Errors) {
    for (i, subject) in rules.subjects.iter().enumerate() {
        validate_subject(subject, &path.child("subjects").index(i), errors);
    }
    if rules.subjects.is_empty() {
        errors.required(&path.child("subjects"), "subjects must contain at least one value");
    }
    let (resources, others) = (list(&rules.resource_rules), list(&rules.non_resource_rules));
    if resources.is_empty() && others.is_empty() {
        errors.required(path, "at least one of resourceRules and nonResourceRules has to be non-empty");
    }
    for (i, rule) in resources.iter().enumerate() {
        let path = path.child("resourceRules").index(i);
        verbs(&rule.verbs, &path.child("verbs"), errors);
        let (groups, kinds) = (path.child("apiGroups"), path.child("resources"));
        match rule.api_groups.as_slice() {
            [] => errors.required(&groups, "resource rules must supply at least one api group"),
            given => alone(given, "api groups", &groups, errors),
        }
        match rule.resources.as_slice() {
            [] => errors.required(&kinds, "resource rules must supply at least one resource"),
            given => alone(given, "resources", &kinds, errors),
        }
        let at = path.child("namespaces");
        let namespaces = list(&rule.namespaces);
        if namespaces.is_empty() && !rule.cluster_scope.unwrap_or_default() {
            errors.required(&at, "resource rules that are not cluster scoped must supply at least one namespace");
        } else if has_wildcard(namespaces) {
            alone(namespaces, "namespaces", &at, errors);
        } else {
            for (i, namespace) in namespaces.iter().enumerate() {
                for wrong in name::dns1123_label(namespace) {
                    let detail = format!("each member of this list must be '*' or a DNS-1123 label; {wrong}");
                    errors.invalid(&at.index(i), namespace.as_str(), &detail);
                }
            }
        }
    }
    for (i, rule) in others.iter().enumerate() {
        let path = path.child("nonResourceRules").index(i);
        verbs(&rule.verbs, &path.child("verbs"), errors);
        let at = path.child("nonResourceURLs");
        match rule.non_resource_urls.as_slice() {
            [] => errors.required(&at, "nonResourceURLs must contain at least one value"),
            urls if has_wildcard(urls) => alone(urls, "non-resource URLs", &at, errors),
            urls => urls.iter().enumerate().for_each(|(i, url)| {
                if let Some(wrong) = url_wrong(url) {
                    errors.invalid(&at.index(i), url.as_str(), wrong);
                }
            }),
        }
    }
}

fn has_wildcard(given: &[String]) -> bool {
    given.iter().any(|one| one == "*")
}

/// Where everything is meant, nothing else need be.
fn alone(given: &[String], what: &str, path: &Path, errors: &mut Errors) {
    if given.len() > 1 && has_wildcard(given) {
        errors.invalid(path, json(&given), &format!("if '*' is present, must not specify other {what}"));
    }
}

fn verbs(verbs: &[String], path: &Path, errors: &mut Errors) {
    if verbs.is_empty() {
        errors.required(path, "verbs must contain at least one value");
    } else if has_wildcard(verbs) {
        alone(verbs, "verbs", path, errors);
    } else if !verbs.iter().all(|verb| VERBS.contains(&verb.as_str())) {
        errors.not_among(path, json(&verbs), &VERBS);
    }
}

fn url_wrong(url: &str) -> Option<&'static str> {
    let stars = url.matches('*').count();
    match url {
        "" => Some("must not be empty"),
        "/" => None,
        url if !url.starts_with('/') => Some("must start with slash"),
        url if url.contains(' ') => Some("must not contain white-space"),
        url if url.contains("//") => Some("must not contain double slash"),
        url if stars > 1 || stars == 1 && !url.ends_with("/*") => Some("wildcard can only do suffix matching"),
        _ => None,
    }
}

fn validate_subject(subject: &Subject, path: &Path, errors: &mut Errors) {
    let kinds = [
        ("ServiceAccount", "serviceAccount", subject.service_account.is_some()),
        ("User", "user", subject.user.is_some()),
        ("Group", "group", subject.group.is_some()),
    ];
    let Some((kind, field, given)) = kinds.into_iter().find(|(kind, ..)| *kind == subject.kind) else {
        return choice(&subject.kind, &["Group", "ServiceAccount", "User"], &path.child("kind"), errors);
    };
    let at = path.child(field);
    if !given {
        errors.required(&at, &format!("{field} is required when subject kind is '{kind}'"));
    } else if let Some(account) = subject.service_account.as_ref().filter(|_| kind == "ServiceAccount") {
        match account.name.as_str() {
            "" => errors.required(&at.child("name"), ""),
            "*" => {}
            name => form(name, name::dns1123_subdomain, &at.child("name"), errors),
        }
        match account.namespace.as_str() {
            "" => errors.required(&at.child("namespace"), "must specify namespace for service account"),
            namespace => form(namespace, name::dns1123_label, &at.child("namespace"), errors),
        }
    } else if let Some(user) = subject.user.as_ref().filter(|_| kind == "User") {
        required(&user.name, &at.child("name"), errors);
    } else if let Some(group) = &subject.group {
        required(&group.name, &at.child("name"), errors);
    }
    for (other, field, _) in kinds.into_iter().filter(|(other, _, given)| *given && *other != kind) {
        let detail = format!("{field} is forbidden when subject kind is not '{other}'");
        errors.forbidden(&path.child(field), &detail);
    }
}
