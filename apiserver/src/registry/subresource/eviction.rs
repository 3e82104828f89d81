//! Deletes a pod unless a disruption budget forbids it. Source: `pkg/registry/core/pod/storage/eviction.go`.

use k8s_openapi::{
    api::{
        core::v1::{Pod, PodCondition},
        policy::v1::{Eviction, PodDisruptionBudget, PodDisruptionBudgetStatus},
    },
    apimachinery::pkg::apis::meta::v1::StatusCause,
};
use kubelab_api::{
    Error, Reason,
    pod::{is_ready, is_terminal, phase, set_condition},
    selector::label,
};
use kubelab_store::{Key, Precondition, Write};

use super::success;
use crate::{
    admission::Operation,
    registry::{
        decode::{self, Expected},
        delete,
        metadata::seconds,
        plan::{Context, Plan, encode},
    },
};

const EXPECTED: Expected = Expected { group: "policy", version: "v1", kind: "Eviction" };
const BUDGETS: &str = "policy/poddisruptionbudgets";
/// Source: `MaxDisruptedPodSize`.
const MAX_DISRUPTED: usize = 2_000;

/// A POST of an Eviction.
pub fn plan(context: &Context) -> Result<Plan, Error> {
    let (eviction, warnings) = decode::decode_body::<Eviction>(&EXPECTED, context.json()?, context.validation()?)?;
    let request = context.request;
    let given = eviction.metadata.name.as_deref().unwrap_or_default();
    if !given.is_empty() && given != request.name {
        return Err(Error::bad_request("name in URL does not match name in Eviction object"));
    }
    let mut stored = context.existing(&request.name)?;
    context.admission.validate(&context.attributes(Operation::Create), None, Some(&*stored.object))?;
    let eviction = super::admit(context, Operation::Create, eviction, None)?;
    let mut options = eviction.delete_options.unwrap_or_default();
    if request.options.dry_run {
        options.dry_run = Some(vec!["All".into()]);
    }
    let pod: &mut Pod = stored.object.downcast_mut().ok_or_else(Error::no_such_page)?;
    let budget = if can_ignore_budgets(pod) { None } else { spend(context, pod)? };

    let disrupted = PodCondition {
        type_: "DisruptionTarget".into(),
        status: "True".into(),
        reason: Some("EvictionByEvictionAPI".into()),
        message: Some("Eviction API: evicting".into()),
        ..Default::default()
    };
    set_condition(pod, disrupted, context.now);
    let plan = delete::delete(context, &stored, &options)?;
    Ok(with_budget(plan, budget, warnings))
}

fn with_budget(plan: Plan, budget: Option<(Precondition, Write)>, warnings: Vec<String>) -> Plan {
    let mut plan = Plan { note: "evicted".into(), warnings, shown: success(), ..plan };
    if let Some((precondition, write)) = budget.filter(|_| !plan.writes.is_empty()) {
        plan.preconditions.push(precondition);
        plan.writes.push(write);
    }
    plan
}

/// Pods that do no work cannot be disrupted. Source: `canIgnorePDB`.
fn can_ignore_budgets(pod: &Pod) -> bool {
    is_terminal(pod) || phase(pod) == "Pending" || pod.metadata.deletion_timestamp.is_some()
}

/// Takes one disruption out of the pod's budget, if it has one.
fn spend(context: &Context, pod: &Pod) -> Result<Option<(Precondition, Write)>, Error> {
    let attributes = context.attributes(Operation::Create);
    let namespace = context.request.namespace.as_str();
    let covers = |budget: &PodDisruptionBudget| {
        let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        label::Selector::from_typed(selector).is_ok_and(|selector| selector.matches(pod.metadata.labels.as_ref()))
    };
    let budgets: Vec<_> = attributes.list::<PodDisruptionBudget>(BUDGETS, namespace)?;
    let mut budgets = budgets.into_iter().filter(covers);
    let Some(mut budget) = budgets.next() else { return Ok(None) };
    if budgets.next().is_some() {
        // Upstream answers with a Status that has a code and no reason.
        return Err(Error::new(
            Reason::Code(500),
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        ));
    }
    let policy = budget.spec.as_ref().and_then(|spec| spec.unhealthy_pod_eviction_policy.clone());
    let status = budget.status.clone().unwrap_or_default();
    let (current, desired) = (status.current_healthy.unwrap_or_default(), status.desired_healthy.unwrap_or_default());
    let healthy_enough = current >= desired && desired > 0;
    if !is_ready(pod) && (policy.as_deref() == Some("AlwaysAllow") || healthy_enough) {
        return Ok(None);
    }
    decrement(context, &mut budget, pod.metadata.name.as_deref().unwrap_or_default())?;

    let key = Key::new(BUDGETS, format!("{namespace}/{}", budget.metadata.name.as_deref().unwrap_or_default()));
    let modified = context.state.get(&key).map_or(0, |entry| entry.modified);
    let handler = context.table.find("policy", "v1", "poddisruptionbudgets").ok_or_else(Error::no_such_page)?;
    let budget_context = Context { handler, ..*context };
    let encoded = encode(&budget_context, &key, &mut budget, false)?;
    Ok(Some((Precondition::Modified(key, modified), encoded.write)))
}

/// Source: `checkAndDecrement`.
fn decrement(context: &Context, budget: &mut PodDisruptionBudget, pod: &str) -> Result<(), Error> {
    let name = budget.metadata.name.clone().unwrap_or_default();
    let generation = budget.metadata.generation.unwrap_or_default();
    let status = budget.status.get_or_insert_default();
    if status.observed_generation.unwrap_or_default() < generation {
        let message = format!("The disruption budget {name} is still being processed by the server.");
        return Err(not_now(message, Some(10)));
    }
    let forbidden = |message: &str| {
        // Upstream names the resource so.
        let message = format!("poddisruptionbudget.policy {name:?} is forbidden: {message}");
        Error::new(Reason::Forbidden, message)
    };
    let allowed = status.disruptions_allowed.unwrap_or_default();
    if allowed < 0 {
        return Err(forbidden("pdb disruptions allowed is negative"));
    }
    if status.disrupted_pods.as_ref().is_some_and(|pods| pods.len() > MAX_DISRUPTED) {
        return Err(forbidden("DisruptedPods map too big - too many evictions not confirmed by PDB controller"));
    }
    if allowed == 0 {
        return Err(not_now(why_not(&name, status), None));
    }
    status.disruptions_allowed = Some(allowed - 1);
    status.disrupted_pods.get_or_insert_default().insert(pod.to_owned(), seconds(context.now));
    Ok(())
}

/// Why a budget allows nothing more. Counts cannot be trusted after a failed sync.
fn why_not(name: &str, status: &PodDisruptionBudgetStatus) -> String {
    let conditions = status.conditions.iter().flatten();
    let said = conditions
        .filter(|condition| condition.type_ == "DisruptionAllowed" && condition.status == "False")
        .find(|condition| !condition.message.is_empty());
    let (desired, current) = (status.desired_healthy.unwrap_or_default(), status.current_healthy.unwrap_or_default());
    match said {
        Some(failed) if failed.reason == "SyncFailed" => {
            let message = &failed.message;
            format!(
                "The disruption budget {name} does not allow evicting pods currently because it failed sync: {message}"
            )
        }
        _ if current <= desired => {
            format!("The disruption budget {name} needs {desired} healthy pods and has {current} currently")
        }
        Some(other) => {
            let (reason, message) = (&other.reason, &other.message);
            format!("The disruption budget {name} does not allow evicting pods currently ({reason}): {message}")
        }
        None => format!("The disruption budget {name} does not allow evicting pods currently"),
    }
}

fn not_now(message: String, again_in: Option<i32>) -> Error {
    let mut error = Error::too_many_requests("Cannot evict pod as it would violate the pod's disruption budget.", 0);
    if let Some(details) = &mut error.details {
        details.retry_after_seconds = again_in;
        details.causes =
            Some(vec![StatusCause { reason: Some("DisruptionBudget".into()), message: Some(message), field: None }]);
    }
    error
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_budget_says_why_it_allows_nothing() {
        let condition = |reason: &str| {
            json!([{"type": "DisruptionAllowed", "status": "False", "reason": reason, "message": "m",
            "lastTransitionTime": "2026-01-01T00:00:00Z"}])
        };
        for (status, message) in [
            (json!({"desiredHealthy": 2, "currentHealthy": 1}), "needs 2 healthy pods and has 1 currently"),
            (
                json!({"desiredHealthy": 2, "currentHealthy": 1, "conditions": condition("SyncFailed")}),
                "does not allow evicting pods currently because it failed sync: m",
            ),
            (
                json!({"desiredHealthy": 1, "currentHealthy": 2, "conditions": condition("InsufficientPods")}),
                "does not allow evicting pods currently (InsufficientPods): m",
            ),
            (json!({"desiredHealthy": 1, "currentHealthy": 2}), "does not allow evicting pods currently"),
        ] {
            let status: PodDisruptionBudgetStatus = serde_json::from_value(status).unwrap_or_default();
            assert_eq!(why_not("web", &status), format!("The disruption budget web {message}"));
        }
    }
}
