//! Sums up the rules of ClusterRoles that are made of others.
//!
//! Watches and writes ClusterRoles. Source: `pkg/controller/clusterroleaggregation` in Kubernetes.

use std::sync::Arc;

use k8s_openapi::{
    api::rbac::v1::{ClusterRole, PolicyRule},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::{Error, meta::is_deleting, selector::label::Selector};
use kubelab_client::{Action, Cache, Client, Controller, Patch, controller::Key, queue::Queue};
use serde_json::json;

use crate::Context;

const NAME: &str = "clusterrole-aggregation-controller";
/// Source: the number that upstream starts it with.
const WORKERS: usize = 5;

/// Runs the loop.
pub async fn run(context: Context) {
    let this = Arc::new(Loop {
        client: context.client.clone(),
        roles: context.caches.of(),
        queue: Queue::new("ClusterRoleAggregator"),
    });
    this.roles.synced().await;
    this.watch();
    Controller::new(NAME, this.queue.clone())
        .run_on(WORKERS, this, |this, key| async move { this.reconcile(key).await })
        .await;
}

struct Loop {
    client: Client,
    roles: Cache<ClusterRole>,
    queue: Queue<Key>,
}

impl Loop {
    fn watch(&self) {
        let (queue, roles) = (self.queue.clone(), self.roles.clone());
        self.roles.on_change(move |_| {
            // Any role may be a part of any sum, and sums are few.
            for role in roles.list().iter().filter(|role| role.aggregation_rule.is_some()) {
                queue.add(Key::of(&**role));
            }
        });
    }

    async fn reconcile(&self, key: Key) -> Result<Action, Error> {
        let role = self.roles.get("", &key.name).filter(|role| !is_deleting(&role.metadata));
        let Some((role, parts)) = role.and_then(|role| Some((Arc::clone(&role), selectors(&role)?))) else {
            return Ok(Action::Done);
        };
        let mut all = self.roles.list();
        all.sort_by(|a, b| a.metadata.name.cmp(&b.metadata.name));
        let rules = sum(&role.metadata, &parts, &all);
        if role.rules.as_deref().unwrap_or_default() == rules {
            return Ok(Action::Done);
        }
        let version = &role.metadata.resource_version;
        let patch = json!({"metadata": {"resourceVersion": version}, "rules": rules});
        self.client.patch::<ClusterRole>("", &key.name, Patch::Merge(patch)).await?;
        Ok(Action::Done)
    }
}

/// What chooses the parts of a role that is a sum.
fn selectors(role: &ClusterRole) -> Option<Vec<Selector>> {
    let selectors = role.aggregation_rule.as_ref()?.cluster_role_selectors.iter().flatten();
    Some(selectors.filter_map(|selector| Selector::from_typed(Some(selector)).ok()).collect())
}

/// The rules of all parts, in the order of their names, each rule once.
fn sum(of: &ObjectMeta, parts: &[Selector], roles: &[Arc<ClusterRole>]) -> Vec<PolicyRule> {
    let mut rules = Vec::new();
    for part in parts {
        for role in roles {
            if role.metadata.name == of.name || !part.matches(role.metadata.labels.as_ref()) {
                continue;
            }
            for rule in role.rules.iter().flatten() {
                if !rules.contains(rule) {
                    rules.push(rule.clone());
                }
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_sum_has_each_rule_once_and_not_its_own() {
        let role = |name: &str, label: &str, verbs: &[&str]| {
            let rules: Vec<_> = verbs.iter().map(|verb| json!({"verbs": [verb], "resources": ["pods"]})).collect();
            let metadata = json!({"name": name, "labels": {"to": label}});
            Arc::new(serde_json::from_value::<ClusterRole>(json!({"metadata": metadata, "rules": rules})).unwrap())
        };
        let total: ClusterRole = serde_json::from_value(json!({
            "metadata": {"name": "total", "labels": {"to": "view"}},
            "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"to": "view"}}, {"matchLabels": {"to": "edit"}}]},
            "rules": [{"verbs": ["old"]}],
        }))
        .unwrap();
        let roles = [
            role("a", "edit", &["update"]),
            role("b", "view", &["list", "get"]),
            role("c", "view", &["get", "watch"]),
            role("d", "admin", &["escalate"]),
            Arc::new(total.clone()),
        ];
        let rules = sum(&total.metadata, &selectors(&total).unwrap(), &roles);
        let verbs: Vec<_> = rules.iter().map(|rule| rule.verbs[0].as_str()).collect();
        assert_eq!(verbs, ["list", "get", "watch", "update"]);
    }
}
