//! Carries a plan out: made on what this member knows, committed, and made again where somebody else was faster.

use std::sync::Arc;

use kubelab_api::{Error, Reason};
use kubelab_store::{Origin, Outcome, Precondition, Revision, Transaction};

use super::{
    May, Registry,
    custom::conversion::Conversions,
    decode,
    handler::Handler,
    list::unavailable,
    plan::{self, Context, Draw, Plan, Shown},
};
use crate::{
    audit,
    corridor::{Answer, Body, Request, Response, Verb},
    metrics::store,
    outside::Aside,
};

/// A write that meets others is planned again at most so often. Each of them made progress for somebody.
const ATTEMPTS: usize = 100;

/// A generated name is tried at most so often. Source: `maxNameGenerationCreateAttempts`.
const NAME_ATTEMPTS: usize = 8;

impl Registry {
    /// Plans a write on what this member knows, and again on the latest state where that refuses it or was written
    /// since.
    pub(super) async fn write<F>(
        &self,
        handler: &Handler,
        request: &Request,
        may: May<'_>,
        make: F,
    ) -> Result<Answer, Error>
    where
        F: Fn(&Context) -> Result<Plan, Error>,
    {
        let aside = Aside::default();
        let conversions = Arc::new(Conversions::default());
        let mut draw = Draw::new((self.now)());
        let mut rounds = 0;
        let mut table = self.table();
        let mut names = 0;
        let mut latest = request.options.dry_run;
        let mut state = if latest { self.store.latest().await.map_err(unavailable)? } else { self.store.local() };
        for _ in 0..ATTEMPTS {
            // A definition that was written meanwhile may have other rules, or be gone.
            let handler = if handler.definition.is_some() { table.get(&request.resource)? } else { handler };
            let planned = loop {
                aside.begin();
                let context = Context {
                    request,
                    handler,
                    state: &state,
                    table: &table,
                    admission: &self.admission,
                    policies: &self.policies,
                    may,
                    now: draw.now,
                    draw,
                    aside: &aside,
                };
                let planned = conversions.within(|| make(&context));
                let converted = conversions.answer(&self.outside).await?;
                if !self.outside.answer(&aside, &mut rounds).await? && !converted {
                    break planned;
                }
            };
            let plan = match planned {
                // A generated name that is taken is no fault of the caller.
                Err(error)
                    if error.reason == Reason::AlreadyExists && names + 1 < NAME_ATTEMPTS && is_nameless(request) =>
                {
                    names += 1;
                    draw = Draw::new(draw.now);
                    continue;
                }
                Err(error) if latest || !depends_on_state(&error) => {
                    annotate(&aside);
                    return Err(error);
                }
                // That nothing is to be done counts, as a refusal does, only on the latest state.
                Ok(mut plan) if latest && plan.writes.is_empty() => {
                    annotate(&aside);
                    plan.warnings.extend(aside.take_warnings());
                    return self.finish(handler, plan.shown, plan.warnings, 0).await;
                }
                Ok(plan) if !plan.writes.is_empty() => plan,
                _ => {
                    state = self.store.latest().await.map_err(unavailable)?;
                    table = self.table();
                    latest = true;
                    continue;
                }
            };
            let Plan { mut preconditions, writes, note, mut warnings, shown } = plan;
            warnings.extend(aside.take_warnings());
            let from = handler.definition.iter();
            preconditions.extend(from.map(|from| Precondition::Modified(from.key.clone(), from.modified)));
            let transaction = Transaction { preconditions, writes, origin: self.origin(request, &note) };
            let committed = store::timed(operation(request.verb), &request.resource, self.store.commit(transaction));
            match committed.await.map_err(unavailable)? {
                Outcome::Committed(revision) => {
                    annotate(&aside);
                    return self.finish(handler, shown, warnings, revision).await;
                }
                Outcome::Conflict(..) => {
                    state = self.store.latest().await.map_err(unavailable)?;
                    table = self.table();
                    latest = true;
                }
            }
        }
        Err(Error::conflict(
            &handler.resource,
            &request.name,
            "too many others write it at the same time; please try again",
        ))
    }

    /// The answer to a write.
    async fn finish(
        &self,
        handler: &Handler,
        shown: Shown,
        warnings: Vec<String>,
        revision: Revision,
    ) -> Result<Answer, Error> {
        let response = match shown {
            Shown::Stamped { value, place, created } => {
                let stamped = plan::stamp(&value, place, revision);
                Response::Object { json: self.present(handler, &stamped).await?, created }
            }
            Shown::Finished(value) => Response::Object { json: self.present(handler, &value).await?, created: false },
            Shown::Drafted(value) => Response::Object { json: self.present(handler, &value).await?, created: true },
            Shown::Status(status) => Response::Status(status),
        };
        Ok(Answer { response, warnings })
    }

    fn origin(&self, request: &Request, note: &str) -> Origin {
        let verb: Arc<str> = match request.subresource.as_str() {
            "" => request.verb.name().into(),
            part => format!("{}/{part}", request.verb.name()).into(),
        };
        Origin {
            user: request.user.name.as_str().into(),
            agent: Arc::clone(&request.agent),
            door: request.door,
            verb,
            time_us: u64::try_from((self.now)().as_microsecond()).unwrap_or_default(),
            trace_id: Arc::clone(&request.trace_id),
            cause: request.cause,
            note: note.into(),
        }
    }
}

/// What a store's figures call a write.
fn operation(verb: Verb) -> &'static str {
    match verb {
        Verb::Create => "create",
        Verb::Delete | Verb::DeleteCollection => "delete",
        _ => "update",
    }
}

/// Policies speak to whoever reads the audit log.
fn annotate(aside: &Aside) {
    for (key, value) in aside.take_annotations() {
        audit::annotate(&key, || value);
    }
}

/// A newer state might not lead to this refusal.
fn depends_on_state(error: &Error) -> bool {
    !matches!(
        error.reason,
        Reason::BadRequest | Reason::UnsupportedMediaType | Reason::RequestEntityTooLarge | Reason::MethodNotAllowed
    )
}

/// The request leaves the name to the server.
fn is_nameless(request: &Request) -> bool {
    match &request.body {
        Body::Json(json) if request.verb == Verb::Create => {
            decode::metadata(json).is_some_and(|meta| meta.name.unwrap_or_default().is_empty())
        }
        _ => false,
    }
}
