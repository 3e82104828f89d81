//! Nobody gives away rights that he does not have. Pure.
//! Source: `ConfirmNoEscalation` in `pkg/registry/rbac/validation`, `Covers` in `k8s.io/component-helpers/auth/rbac/validation`.

use std::collections::BTreeMap;

use k8s_openapi::api::rbac::v1::PolicyRule;

use super::rules;
use crate::corridor::User;

/// The smallest right: one verb on one resource (and name), or on one path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Right<'a> {
    Resource { group: &'a str, resource: &'a str, name: Option<&'a str>, verb: &'a str },
    Path { url: &'a str, verb: &'a str },
}

/// Says in upstream's words which of the wanted rights `owned` does not contain; nothing when it contains all.
pub fn refuse(user: &User, owned: &[PolicyRule], wanted: &[PolicyRule]) -> Option<String> {
    let missing: Vec<_> =
        wanted.iter().flat_map(rights).filter(|right| !owned.iter().any(|rule| covers(rule, right))).collect();
    if missing.is_empty() {
        return None;
    }
    let groups: Vec<String> = user.groups.iter().map(|group| format!("{group:?}")).collect();
    Some(format!(
        "user {:?} (groups=[{}]) is attempting to grant RBAC permissions not currently held:\n{}",
        user.name,
        groups.join(" "),
        describe(&missing).join("\n")
    ))
}

fn rights(rule: &PolicyRule) -> impl Iterator<Item = Right<'_>> {
    let names: Vec<Option<&str>> = match rule.resource_names.as_deref() {
        None | Some([]) => vec![None],
        Some(names) => names.iter().map(|name| Some(name.as_str())).collect(),
    };
    let mut rights = Vec::new();
    for verb in &rule.verbs {
        for group in rule.api_groups.iter().flatten() {
            for resource in rule.resources.iter().flatten() {
                rights.extend(names.iter().map(|name| Right::Resource { group, resource, name: *name, verb }));
            }
        }
        rights.extend(rule.non_resource_urls.iter().flatten().map(|url| Right::Path { url, verb }));
    }
    rights.into_iter()
}

fn covers(rule: &PolicyRule, right: &Right<'_>) -> bool {
    let has = |values: Option<&Vec<String>>, wanted: &str| {
        values.into_iter().flatten().any(|value| value == "*" || value == wanted)
    };
    match *right {
        Right::Resource { group, resource, name, verb } => {
            let subresource = resource.split_once('/').map_or("", |(_, subresource)| subresource);
            has(Some(&rule.verbs), verb)
                && has(rule.api_groups.as_ref(), group)
                && rule.resources.iter().flatten().any(|own| rules::resource_matches(own, resource, subresource))
                && match rule.resource_names.as_deref() {
                    None | Some([]) => true,
                    Some(names) => name.is_some_and(|name| names.iter().any(|own| own == name)),
                }
        }
        Right::Path { url, verb } => {
            has(Some(&rule.verbs), verb)
                && rule.non_resource_urls.iter().flatten().any(|own| rules::url_matches(own, url))
        }
    }
}

/// Rights that differ only in their verbs, in one line each.
fn describe(missing: &[Right<'_>]) -> Vec<String> {
    let mut lines: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for right in missing {
        let (subject, verb) = match right {
            Right::Resource { group, resource, name, verb } => {
                let names = name.map_or(String::new(), |name| format!(", ResourceNames:[{name:?}]"));
                (format!("APIGroups:[{group:?}], Resources:[{resource:?}]{names}"), verb)
            }
            Right::Path { url, verb } => (format!("NonResourceURLs:[{url:?}]"), verb),
        };
        let verbs = lines.entry(subject).or_default();
        if !verbs.contains(verb) {
            verbs.push(verb);
        }
    }
    let quoted = |verbs: Vec<&str>| verbs.iter().map(|verb| format!("{verb:?}")).collect::<Vec<_>>().join(" ");
    lines.into_iter().map(|(subject, verbs)| format!("{{{subject}, Verbs:[{}]}}", quoted(verbs))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(groups: &[&str], resources: &[&str], names: &[&str], verbs: &[&str]) -> PolicyRule {
        let owned = |values: &[&str]| Some(values.iter().map(|value| (*value).to_owned()).collect());
        PolicyRule {
            api_groups: owned(groups),
            resources: owned(resources),
            resource_names: owned(names),
            verbs: owned(verbs).unwrap_or_default(),
            non_resource_urls: None,
        }
    }

    #[test]
    fn rights_are_covered_one_by_one() {
        let pods = rule(&[""], &["pods"], &[], &["get", "list"]);
        for (owned, wanted, covered) in [
            (vec![pods.clone()], rule(&[""], &["pods"], &[], &["get"]), true),
            (vec![pods.clone()], rule(&[""], &["pods"], &["web"], &["get"]), true),
            (vec![pods.clone()], rule(&[""], &["pods"], &[], &["delete"]), false),
            (vec![pods.clone()], rule(&[""], &["pods"], &[], &["*"]), false),
            (vec![pods.clone()], rule(&["*"], &["pods"], &[], &["get"]), false),
            (vec![rule(&["*"], &["*"], &[], &["*"])], rule(&["*"], &["*"], &[], &["*"]), true),
            (vec![rule(&[""], &["pods"], &["web"], &["get"])], rule(&[""], &["pods"], &[], &["get"]), false),
            (vec![rule(&[""], &["*/scale"], &[], &["get"])], rule(&[""], &["pods/scale"], &[], &["get"]), true),
            (
                vec![rule(&[""], &["pods"], &[], &["get"]), rule(&[""], &["pods"], &[], &["list"])],
                rule(&[""], &["pods"], &[], &["list", "get"]),
                true,
            ),
        ] {
            assert_eq!(
                refuse(&User::default(), &owned, std::slice::from_ref(&wanted)).is_none(),
                covered,
                "{owned:?} {wanted:?}"
            );
        }
    }

    #[test]
    fn the_refusal_reads_as_upstreams() {
        let user =
            User { name: "jane".into(), groups: vec!["dev".into(), "system:authenticated".into()], ..User::default() };
        let wanted = [rule(&[""], &["secrets", "pods"], &[], &["get", "list"])];
        assert_eq!(
            refuse(&user, &[rule(&[""], &["pods"], &[], &["get"])], &wanted).unwrap_or_default(),
            "user \"jane\" (groups=[\"dev\" \"system:authenticated\"]) is attempting to grant RBAC permissions not \
             currently held:\n{APIGroups:[\"\"], Resources:[\"pods\"], Verbs:[\"list\"]}\n{APIGroups:[\"\"], \
             Resources:[\"secrets\"], Verbs:[\"get\" \"list\"]}"
        );
    }
}
