//! What objects use of a namespace's quotas. Source: `pkg/quota/v1`, `k8s.io/apiserver/pkg/quota/v1` and
//! `k8s.io/apiserver/pkg/admission/plugin/resourcequota/controller.go`.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`item`] | what one object uses, and which quotas are about it |
//! | [`pod`], [`claim`], [`service`] | the kinds that use more than their number |
//! | [`charge`] | what a quota's usage becomes with a new or changed object, or why not |

mod charge;
mod claim;
mod item;
mod pod;
mod service;

use std::collections::BTreeMap;

use k8s_openapi::{
    api::core::v1::{ResourceQuota, ScopedResourceSelectorRequirement},
    apimachinery::pkg::api::resource::Quantity as Text,
};

use crate::Quantity;

pub use charge::{Change, charge};
pub use item::Item;

/// Amounts by the name under which quotas know them: `pods`, `requests.cpu`, `count/jobs.batch`.
pub type Amounts = BTreeMap<String, Quantity>;

type Texts = BTreeMap<String, Text>;

/// Stored amounts are valid; a malformed one counts as nothing.
fn parsed(texts: Option<&Texts>) -> Amounts {
    let one = |(name, text): (&String, &Text)| Some((name.clone(), Quantity::try_from(text).ok()?));
    texts.into_iter().flatten().filter_map(one).collect()
}

fn add(total: &mut Amounts, more: &Amounts) {
    for (name, amount) in more {
        *total.entry(name.clone()).or_default() += *amount;
    }
}

/// The scopes of a quota: all of them must match.
fn scopes(quota: &ResourceQuota) -> Vec<ScopedResourceSelectorRequirement> {
    let Some(spec) = &quota.spec else { return Vec::new() };
    let plain = spec.scopes.iter().flatten().map(|scope| ScopedResourceSelectorRequirement {
        scope_name: scope.clone(),
        operator: "Exists".into(),
        values: None,
    });
    let selected = spec.scope_selector.iter().flat_map(|selector| selector.match_expressions.iter().flatten());
    plain.chain(selected.cloned()).collect()
}

/// A value, if there is one, is selected by a scope with an operator and values.
fn selects(scope: &ScopedResourceSelectorRequirement, value: Option<&str>) -> bool {
    let listed = value.is_some_and(|value| scope.values.iter().flatten().any(|wanted| wanted == value));
    match scope.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        _ => false,
    }
}

/// What a quota's objects use together, of what the quota names. Items that the quota is not about count nothing.
pub fn used<'a>(quota: &ResourceQuota, items: impl Iterator<Item = Item<'a>>, now: jiff::Timestamp) -> Amounts {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    let mut total: Amounts = hard.into_iter().flatten().map(|(name, _)| (name.clone(), Quantity::ZERO)).collect();
    let scopes = scopes(quota);
    for item in items.filter(|item| scopes.iter().all(|scope| item.is_in(scope))) {
        for (name, amount) in item.usage(now) {
            if let Some(total) = total.get_mut(&name) {
                *total += amount;
            }
        }
    }
    total
}

/// The name under which the number of a resource's objects is known: `count/pods`, `count/deployments.apps`.
pub fn count_of(resource: &str) -> String {
    format!("count/{resource}")
}

#[cfg(test)]
mod tests;
