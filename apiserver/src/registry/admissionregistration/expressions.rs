//! What is wrong with the expressions of a policy or a webhook. Source:
//! `pkg/apis/admissionregistration/validation/validation.go`.

use std::collections::BTreeSet;

use k8s_openapi::api::admissionregistration::v1::{MatchCondition, ParamKind, ParamRef, Variable};
use kubelab_api::{
    field::{Errors, Path},
    name,
    selector::label,
};

use crate::{
    admission::dynamic::conditions::{Scope, Variables, compile, environment},
    cel::{Environment, Type},
    registry::{
        cells::text,
        validation::{choice, required},
    },
};

/// So many match conditions are allowed.
const CONDITIONS: usize = 64;

/// An expression, which must be there and have one of these types.
pub(super) fn expression(environment: &Environment, given: &str, wanted: &[Type], path: &Path, errors: &mut Errors) {
    if given.trim().is_empty() {
        errors.required(path, "expression is not specified");
    } else if let Err(wrong) = compile(environment, given, wanted) {
        errors.invalid(path, given, &wrong);
    }
}

/// Match conditions, which know no variables.
pub(super) fn match_conditions(conditions: &[MatchCondition], params: bool, path: &Path, errors: &mut Errors) {
    if conditions.len() > CONDITIONS {
        errors.too_many(path, conditions.len(), CONDITIONS);
    }
    let environment = environment(Scope { params, authorizer: true, mutations: false });
    let mut names = BTreeSet::new();
    for (i, condition) in conditions.iter().enumerate() {
        let path = path.index(i);
        if condition.expression.trim().is_empty() {
            errors.required(&path.child("expression"), "");
        } else {
            expression(&environment, condition.expression.trim(), &[Type::Bool], &path.child("expression"), errors);
        }
        if condition.name.is_empty() {
            errors.required(&path.child("name"), "");
            continue;
        }
        for wrong in name::label_key(&condition.name) {
            errors.invalid(&path.child("name"), condition.name.as_str(), &wrong);
        }
        if !names.insert(condition.name.as_str()) {
            errors.duplicate(&path.child("name"), condition.name.as_str());
        }
    }
}

/// Variables, in order; what they are for the expressions after them.
pub(super) fn variables(variables: &[Variable], scope: Scope, path: &Path, errors: &mut Errors) -> Variables {
    for (i, variable) in variables.iter().enumerate() {
        let path = path.index(i);
        if variable.name.trim().is_empty() {
            errors.required(&path.child("name"), "name is not specified");
        } else if !is_identifier(&variable.name) {
            errors.invalid(&path.child("name"), variable.name.as_str(), "name is not a valid CEL identifier");
        }
    }
    let compiled = Variables::new(scope, variables);
    for (i, wrong) in compiled.errors() {
        let path = path.index(i).child("expression");
        match variables[i].expression.trim() {
            "" => errors.required(&path, "expression is not specified"),
            _ => errors.invalid(&path, variables[i].expression.as_str(), wrong),
        }
    }
    compiled
}

fn is_identifier(name: &str) -> bool {
    const RESERVED: [&str; 21] = [
        "as",
        "break",
        "const",
        "continue",
        "else",
        "false",
        "for",
        "function",
        "if",
        "import",
        "in",
        "let",
        "loop",
        "package",
        "namespace",
        "null",
        "return",
        "true",
        "var",
        "void",
        "while",
    ];
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
    !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(plain) && !RESERVED.contains(&name)
}

/// The kind of a policy's parameters.
pub(super) fn param_kind(kind: &ParamKind, path: &Path, errors: &mut Errors) {
    let version = text(&kind.api_version);
    required(version, &path.child("apiVersion"), errors);
    if version.matches('/').count() > 1 {
        errors.invalid(&path.child("apiVersion"), version, &format!("unexpected GroupVersion string: {version}"));
    } else if !version.is_empty() {
        let (group, version) = version.split_once('/').unwrap_or(("", version));
        let wrong = if group.is_empty() { Vec::new() } else { name::dns1123_subdomain(group) };
        if !wrong.is_empty() {
            errors.invalid(&path.child("apiVersion"), group, &wrong.join(","));
        }
        let wrong = name::dns1035_label(version);
        if !wrong.is_empty() {
            errors.invalid(&path.child("apiVersion"), version, &wrong.join(","));
        }
    }
    required(text(&kind.kind), &path.child("kind"), errors);
    let wrong = name::dns1035_label(&text(&kind.kind).to_lowercase());
    if !text(&kind.kind).is_empty() && !wrong.is_empty() {
        let wrong = format!("may have mixed case, but should otherwise match: {}", wrong.join(","));
        errors.invalid(&path.child("kind"), text(&kind.kind), &wrong);
    }
}

/// The parameters that a binding names.
pub(super) fn param_ref(reference: &ParamRef, path: &Path, errors: &mut Errors) {
    let named = text(&reference.name);
    for wrong in Some(named).filter(|named| !named.is_empty()).into_iter().flat_map(name::path_segment) {
        errors.invalid(&path.child("name"), named, &wrong);
    }
    if let Some(selector) = &reference.selector {
        if !named.is_empty() {
            errors.forbidden(&path.child("name"), "name and selector are mutually exclusive");
        }
        label::validate(selector, &path.child("selector"), errors);
        if !named.is_empty() {
            errors.forbidden(&path.child("selector"), "name and selector are mutually exclusive");
        }
    } else if named.is_empty() {
        errors.required(path, "one of name or selector must be specified");
    }
    let path = path.child("parameterNotFoundAction");
    match text(&reference.parameter_not_found_action) {
        "" => errors.required(&path, ""),
        action => choice(action, &["Deny", "Allow"], &path, errors),
    }
}
