//! Webhooks. Source: `k8s.io/apiserver/pkg/admission/plugin/webhook/{generic,mutating,validating}`.

use std::{collections::BTreeSet, time::Duration};

use k8s_openapi::api::admissionregistration::v1::{MutatingWebhook, ValidatingWebhook};
use kubelab_api::Error;
use serde_json::Value;

use super::{
    Rounds,
    conditions::{Conditions, Met},
    matching::{Matching, Target},
    review::{self, Verdict},
    subject::Subject,
};
use crate::{
    outside::{Call, Destination},
    registry::patch,
};

/// A configured webhook.
pub struct Webhook {
    name: String,
    /// Unique in its kind: a configuration may be changed while its webhooks keep their names.
    id: String,
    matching: Matching,
    conditions: Conditions,
    destination: Destination,
    versions: Vec<String>,
    ignores_failure: bool,
    timeout: Duration,
    has_side_effects: bool,
    reinvoked: bool,
}

macro_rules! compile {
    ($configuration:ident, $webhook:ident, $reinvoked:expr) => {
        Webhook {
            id: format!("{}/{}", $configuration, $webhook.name),
            matching: Matching::of_webhook(
                $webhook.rules,
                $webhook.match_policy.as_deref(),
                $webhook.namespace_selector.as_ref(),
                $webhook.object_selector.as_ref(),
            ),
            conditions: Conditions::of_webhook($webhook.match_conditions.as_deref().unwrap_or_default()),
            destination: Destination::of(&$webhook.client_config),
            versions: $webhook.admission_review_versions,
            ignores_failure: $webhook.failure_policy.as_deref() == Some("Ignore"),
            timeout: Duration::from_secs(
                $webhook.timeout_seconds.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(10),
            ),
            has_side_effects: !matches!($webhook.side_effects.as_str(), "None" | "NoneOnDryRun"),
            reinvoked: $reinvoked,
            name: $webhook.name,
        }
    };
}

impl Webhook {
    /// One that may change objects.
    pub fn mutating(configuration: &str, webhook: MutatingWebhook) -> Self {
        let reinvoked = webhook.reinvocation_policy.as_deref() == Some("IfNeeded");
        compile!(configuration, webhook, reinvoked)
    }

    /// One that only refuses.
    pub fn validating(configuration: &str, webhook: ValidatingWebhook) -> Self {
        compile!(configuration, webhook, false)
    }

    /// The target by which the request is this webhook's business. Source: `ShouldCallHook`.
    fn target<'s>(&self, subject: &'s Subject<'_>) -> Result<Option<Target<'s>>, Error> {
        let others = subject.others();
        let Some(target) = self.matching.matches(&subject.facts(), &others, subject)? else { return Ok(None) };
        match self.conditions.met(subject, &target, None, self.ignores_failure)? {
            Met::Yes => Ok(Some(target)),
            Met::No => Ok(None),
            Met::Failed(message) => {
                let request = subject.context.request;
                Err(Error::forbidden(&request.resource, subject.facts().name, &message))
            }
        }
    }

    fn check_dry_run(&self, subject: &Subject<'_>) -> Result<(), Error> {
        if subject.context.request.options.dry_run && self.has_side_effects {
            return Err(Error::bad_request(format!("admission webhook {:?} does not support dry run", self.name)));
        }
        Ok(())
    }

    /// Asks; `Err` within where the webhook could not be asked.
    fn ask(
        &self,
        subject: &Subject<'_>,
        target: &Target<'_>,
        mutating: bool,
        again: bool,
    ) -> Result<Result<Verdict, String>, Error> {
        let Some(version) = review::version(&self.versions) else {
            let why = "could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)";
            return Ok(Err(why.into()));
        };
        let request = subject.request(target);
        let (object, old) = (subject.object(target)?, subject.old_object(target)?);
        let thing = (&self.id, again, Value::from(request.clone()).to_string(), object.as_ref().map(Value::to_string));
        let uid = subject.context.draw.uid_of(&thing).to_string();
        let body = review::request(version, &uid, request, object, old)?;
        let call = Call { destination: self.destination.clone(), body, timeout: self.timeout };
        let reply = subject.context.aside.ask(call)?;
        Ok(match &*reply {
            Ok(body) => review::verdict(version, &uid, mutating, body)
                .map_err(|wrong| format!("received invalid webhook response: {wrong}")),
            Err(why) => Err(format!("failed to call webhook: {why}")),
        })
    }

    /// What an answer says beside its yes or no.
    fn hear(&self, subject: &Subject<'_>, verdict: &Verdict) {
        let aside = subject.context.aside;
        for (key, value) in &verdict.annotations {
            aside.annotate(format!("{}/{key}", self.name), value.clone());
        }
        verdict.warnings.iter().cloned().for_each(|warning| aside.warn(warning));
    }

    /// What comes of a webhook that could not be asked: nothing, if its owner wants that.
    fn failed(&self, why: &str, subject: &Subject<'_>, kind: &str) -> Result<(), Error> {
        let message = format!("failed calling webhook {:?}: {why}", self.name);
        if self.ignores_failure {
            tracing::warn!(message, "failing open");
            let key = format!("failed-open.{kind}.webhook.admission.k8s.io/round_0_index_0");
            subject.context.aside.annotate(key, self.name.clone());
            return Ok(());
        }
        Err(Error::internal(message))
    }
}

/// Which webhooks ran, and which must run again.
#[derive(Default)]
pub struct Invoked {
    before: BTreeSet<String>,
    again: BTreeSet<String>,
    last: Option<Value>,
}

impl Invoked {
    fn all_again(&mut self) {
        self.again.append(&mut self.before);
    }
}

/// Lets webhooks change the object, one after the other.
pub fn admit(
    subject: &mut Subject<'_>,
    webhooks: &[std::sync::Arc<Webhook>],
    rounds: &mut Rounds,
    again: bool,
) -> Result<(), Error> {
    if webhooks.is_empty() {
        return Ok(());
    }
    let own = |subject: &Subject<'_>| subject.object(&subject.facts().target);
    if again && rounds.webhooks.last != own(subject)? {
        rounds.webhooks.all_again();
    }
    for webhook in webhooks {
        let target = webhook.target(subject)?.map(|target| subject.version(&target));
        let Some(version) = target else { continue };
        if again && !rounds.webhooks.again.contains(&webhook.id) {
            continue;
        }
        let part = subject.context.request.subresource.clone();
        let target =
            Target { group: &version.group, version: &version.version, plural: &version.plural, subresource: &part };
        webhook.check_dry_run(subject)?;
        let changed = match webhook.ask(subject, &target, true, again)? {
            Ok(verdict) => webhook.apply(subject, &target, verdict)?,
            Err(why) => {
                webhook.failed(&why, subject, "mutation")?;
                false
            }
        };
        if changed {
            rounds.webhooks.all_again();
            rounds.again = true;
        }
        if webhook.reinvoked {
            rounds.webhooks.before.insert(webhook.id.clone());
        }
    }
    rounds.webhooks.last = own(subject)?;
    Ok(())
}

impl Webhook {
    /// Does what a verdict says. `true` if the object is another now.
    fn apply(&self, subject: &mut Subject<'_>, target: &Target<'_>, verdict: Verdict) -> Result<bool, Error> {
        self.hear(subject, &verdict);
        if !verdict.allowed {
            return Err(review::refusal(&self.name, verdict.status));
        }
        let Some(text) = verdict.patch else { return Ok(false) };
        if text.iter().all(|byte| b"[] \n\t".contains(byte)) {
            return Ok(false);
        }
        let Some(mut object) = subject.object(target)? else {
            let message = "attempted to modify the object, which is not supported for this operation";
            return Err(Error::internal(format!("admission webhook {:?} {message}", self.name)));
        };
        let operations = match patch::operations(&text) {
            Ok(operations) => operations,
            Err(error) => {
                let why = format!("received undecodable patch in webhook response: {error}");
                return self.failed(&why, subject, "mutation").map(|()| false);
            }
        };
        patch::apply_operations(&mut object, &operations).map_err(Error::internal)?;
        subject.replace(target, object)
    }
}

/// Asks all webhooks at once whether the object may be.
pub fn validate(subject: &Subject<'_>, webhooks: &[std::sync::Arc<Webhook>]) -> Result<(), Error> {
    let mut asked = Vec::new();
    for webhook in webhooks {
        if let Some(target) = webhook.target(subject)? {
            asked.push((webhook, target));
        }
    }
    // All are asked before the first answer counts, so that the calls go out together.
    let mut answers = Vec::new();
    for (webhook, target) in asked {
        answers
            .push((webhook, webhook.check_dry_run(subject).and_then(|()| webhook.ask(subject, &target, false, false))));
    }
    if subject.context.aside.is_wanting() {
        return Err(Error::internal("webhooks are being asked"));
    }
    let mut first = Ok(());
    for (webhook, answer) in answers {
        let outcome = match answer {
            Err(refusal) => Err(refusal),
            Ok(Err(why)) => webhook.failed(&why, subject, "validating"),
            Ok(Ok(verdict)) => {
                webhook.hear(subject, &verdict);
                if verdict.allowed { Ok(()) } else { Err(review::refusal(&webhook.name, verdict.status)) }
            }
        };
        first = first.and(outcome);
    }
    first
}
