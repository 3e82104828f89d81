//! Conversions by webhooks, for kinds whose versions differ.
//!
//! Whatever reads or plans is a function that makes no call and can be made again. Where it needs an object in another
//! version and no answer is known, the question is noted beside it, and the function ends with an error that nobody sees;
//! then all its questions go out together, and it is made again:
//!
//! ```text
//! run ─► present, plan, … ─► decode::convert ─► ask ─► known: the converted object
//!  ▲                                             └──► unknown: noted
//!  └── answers ◄── one ConversionReview for many objects ◄── HTTPS ◄── what was noted
//! ```
//!
//! Invariants: an object that has the version wanted is never asked for. A conversion that failed fails what needed it,
//! whatever became of the error on the way, unless it was a [`part`] that can be done without. A kind that no webhook converts pays nothing.
//! Source: `pkg/apiserver/conversion/webhook_converter.go`.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use futures::future::join_all;
use kubelab_api::{Error, Reason};
use serde_json::Value;
use uuid::Uuid;

use super::{
    conversion_answers::Answers, conversion_review as review, conversion_webhook::Webhook, object::CustomObject,
};
use crate::{
    outside::{Call, Outside},
    registry::{handler::Handler, object::AnyObject},
};

/// How long a webhook may take. Source: the default of `k8s.io/apiserver/pkg/util/webhook/client.go`.
const TIMEOUT: Duration = Duration::from_secs(30);
/// A review has no more objects than this,
const REVIEW_OBJECTS: usize = 500;
/// and none is added to one that is as long as this.
const REVIEW_BYTES: usize = 1024 * 1024;
/// What is asked before answers are waited for is not much longer than this.
const ROUND_BYTES: usize = 2 * 1024 * 1024;
/// What needs more rounds than this is given up.
const ROUNDS: usize = 200;

tokio::task_local! {
    static CURRENT: Arc<Conversions>;
}

/// One object that is wanted in another version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) object: Bytes,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) webhook: Arc<Webhook>,
}

impl Question {
    fn failed(&self, how: &str) -> Error {
        let (from, kind) = (&self.from, &self.webhook.kind);
        Error::new(Reason::Unknown, format!("conversion webhook for {from}, Kind={kind} {how}"))
    }
}

/// What one run of a function asks, and what is known.
#[derive(Debug, Default)]
pub struct Conversions {
    inner: Mutex<Inner>,
    /// What others asked before; `None` where that does not count.
    before: Option<Arc<Answers>>,
}

#[derive(Debug, Default)]
struct Inner {
    /// `None`: it is wanted.
    known: HashMap<Question, Option<Result<CustomObject, Error>>>,
    wanted: Vec<Question>,
    bytes: usize,
    failed: Option<Error>,
    rounds: usize,
}

/// An object in another version, from whoever waits for it.
pub fn ask(webhook: &Arc<Webhook>, object: &CustomObject, to: &str) -> Result<CustomObject, Error> {
    let question = Question {
        object: object.encode()?.into(),
        from: object.api_version.clone(),
        to: to.to_owned(),
        webhook: Arc::clone(webhook),
    };
    CURRENT
        .try_with(|current| current.ask(&question))
        .unwrap_or_else(|_| Err(question.failed("failed: it cannot be waited for here")))
}

/// Makes a part of a function that can be done without: a conversion that failed fails this part alone.
pub fn part<T>(make: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    let Ok(current) = CURRENT.try_with(Arc::clone) else { return make() };
    let before = current.inner().failed.take();
    let made = make();
    let failed = std::mem::replace(&mut current.inner().failed, before);
    failed.map_or(made, Err)
}

impl Conversions {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(&self, question: &Question) -> Result<CustomObject, Error> {
        let mut inner = self.inner();
        match inner.known.get(question) {
            Some(Some(Ok(object))) => return Ok(object.clone()),
            Some(Some(Err(error))) => {
                let error = error.clone();
                inner.failed.get_or_insert_with(|| error.clone());
                return Err(error);
            }
            // It is asked.
            Some(None) => {}
            None => match self.before.as_ref().and_then(|before| before.to(question)) {
                Some(answer) => {
                    inner.known.insert(question.clone(), Some(Ok(answer.clone())));
                    return Ok(answer);
                }
                None if inner.bytes < ROUND_BYTES => {
                    inner.bytes += question.object.len();
                    inner.known.insert(question.clone(), None);
                    inner.wanted.push(question.clone());
                }
                // It has its turn in the next round.
                None => {}
            },
        }
        Err(Error::new(Reason::InternalError, "an object is being converted"))
    }

    /// Makes a function that may ask. Its outcome counts only if there is nothing to [`answer`](Self::answer).
    pub fn within<T>(self: &Arc<Self>, make: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
        self.inner().failed = None;
        let made = CURRENT.sync_scope(Arc::clone(self), make);
        match self.inner().failed.take() {
            Some(error) => Err(error),
            None => made,
        }
    }

    /// Sends what was asked to the webhooks. `false` if there was nothing.
    pub async fn answer(&self, outside: &Outside) -> Result<bool, Error> {
        let Some(wanted) = self.wanted()? else { return Ok(false) };
        let answers = reviews(wanted).into_iter().map(|questions| async {
            let answers = convert(outside, &questions).await;
            questions.into_iter().zip(answers).collect::<Vec<_>>()
        });
        let answers = join_all(answers).await;
        let mut inner = self.inner();
        for (question, answer) in answers.into_iter().flatten() {
            if let (Some(before), Ok(answer)) = (&self.before, &answer) {
                before.remember(&question, answer);
            }
            inner.known.insert(question, Some(answer));
        }
        Ok(true)
    }

    fn wanted(&self) -> Result<Option<Vec<Question>>, Error> {
        let mut inner = self.inner();
        if inner.wanted.is_empty() {
            return Ok(None);
        }
        inner.bytes = 0;
        inner.rounds += 1;
        if inner.rounds > ROUNDS {
            return Err(Error::internal("too many calls to conversion webhooks"));
        }
        Ok(Some(std::mem::take(&mut inner.wanted)))
    }
}

/// What goes into one review: questions to the same webhook about the same version.
fn reviews(questions: Vec<Question>) -> Vec<Vec<Question>> {
    let mut reviews: Vec<(usize, Vec<Question>)> = Vec::new();
    for question in questions {
        let length = question.object.len();
        let fits = |(bytes, review): &&mut (usize, Vec<Question>)| {
            let first = &review[0];
            let has_room = *bytes < REVIEW_BYTES && review.len() < REVIEW_OBJECTS;
            has_room && first.to == question.to && first.webhook == question.webhook
        };
        match reviews.iter_mut().find(fits) {
            Some((bytes, review)) => {
                *bytes += length;
                review.push(question);
            }
            None => reviews.push((length, vec![question])),
        }
    }
    reviews.into_iter().map(|(_, review)| review).collect()
}

/// One review; an answer for each of its questions, of which there is at least one.
async fn convert(outside: &Outside, questions: &[Question]) -> Vec<Result<CustomObject, Error>> {
    let (webhook, to) = (&questions[0].webhook, &questions[0].to);
    let Some(version) = webhook.review else {
        let error = Error::new(Reason::Unknown, "no supported conversion review versions");
        return vec![Err(error); questions.len()];
    };
    let uid = Uuid::new_v4().to_string();
    let objects: Vec<&[u8]> = questions.iter().map(|question| &*question.object).collect();
    let body = review::request(version, &uid, to, &objects).into();
    let call = Call { destination: webhook.destination.clone(), body, timeout: TIMEOUT };
    let answered = outside.call(&call).await;
    let converted = match answered.and_then(|body| review::converted(version, &uid, &body)) {
        Ok(converted) if converted.len() == questions.len() => converted,
        Ok(converted) => {
            let how = format!("returned {} objects, expected {}", converted.len(), questions.len());
            return questions.iter().map(|question| Err(question.failed(&how))).collect();
        }
        Err(why) => {
            let how = format!("failed: {why}");
            return questions.iter().map(|question| Err(question.failed(&how))).collect();
        }
    };
    let accepted = questions.iter().zip(converted).map(|(question, converted)| {
        let original: Value = serde_json::from_slice(&question.object).map_err(Error::internal)?;
        let accepted = review::accept(&original, converted, to).map_err(|refusal| match refusal {
            review::Refusal::NoObject(why) => Error::new(Reason::Unknown, why),
            review::Refusal::Unfit(how) => question.failed(&how),
        })?;
        serde_json::from_value(accepted)
            .map_err(|error| question.failed(&format!("returned invalid metadata: {error}")))
    });
    accepted.collect()
}

fn is_needed(handler: &Handler) -> bool {
    handler.definition.as_ref().is_some_and(|definition| definition.webhook.is_some())
}

/// Makes a function about one object of a kind, as often as it takes until all that it asks is answered.
pub async fn run<T>(outside: &Outside, handler: &Handler, make: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    if !is_needed(handler) { once(make) } else { repeat(outside, Conversions::default(), make).await }
}

/// The same about many stored objects: what was answered before is not asked again.
pub async fn run_many<T>(
    outside: &Outside,
    handler: &Handler,
    make: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    if !is_needed(handler) {
        return once(make);
    }
    let before = Some(Arc::clone(&outside.conversions));
    repeat(outside, Conversions { before, ..Conversions::default() }, make).await
}

fn once<T>(mut make: impl FnMut() -> Result<T, Error>) -> Result<T, Error> {
    make()
}

async fn repeat<T>(
    outside: &Outside,
    conversions: Conversions,
    mut make: impl FnMut() -> Result<T, Error>,
) -> Result<T, Error> {
    let conversions = Arc::new(conversions);
    loop {
        let made = conversions.within(&mut make);
        if !conversions.answer(outside).await? {
            return made;
        }
    }
}

/// Stored objects in the version that is served.
pub async fn present(outside: &Outside, handler: &Handler, stored: &[Bytes]) -> Result<Vec<Bytes>, Error> {
    let at_once = if is_needed(handler) { REVIEW_OBJECTS } else { stored.len().max(1) };
    let mut shown = Vec::with_capacity(stored.len());
    for chunk in stored.chunks(at_once) {
        let present = || all(chunk.iter().map(|value| handler.present(value)));
        shown.append(&mut run_many(outside, handler, present).await?);
    }
    Ok(shown)
}

/// All outcomes or the first failure, after each was tried, so that their questions go out together.
pub fn all<T>(outcomes: impl Iterator<Item = Result<T, Error>>) -> Result<Vec<T>, Error> {
    let mut made = Vec::with_capacity(outcomes.size_hint().0);
    let mut failed = None;
    for outcome in outcomes {
        match outcome {
            Ok(one) => made.push(one),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    failed.map_or(Ok(made), Err)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    fn webhook() -> Arc<Webhook> {
        let conversion = json!({"strategy": "Webhook", "webhook": {
            "clientConfig": {"url": "https://x"}, "conversionReviewVersions": ["v1"],
        }});
        Webhook::of("Widget", serde_json::from_value(conversion).ok().as_ref()).unwrap()
    }

    #[test]
    fn reviews_are_bounded_and_about_one_version() {
        let one = webhook();
        let question = |to: &str, length: usize| Question {
            object: vec![b' '; length].into(),
            from: "x/v1".into(),
            to: to.into(),
            webhook: Arc::clone(&one),
        };
        let lengths = |questions: Vec<Question>| -> Vec<usize> { reviews(questions).iter().map(Vec::len).collect() };
        let many = (0..REVIEW_OBJECTS + 1).map(|_| question("x/v2", 1)).collect();
        assert_eq!(lengths(many), [REVIEW_OBJECTS, 1]);
        let mixed = vec![question("x/v2", 1), question("x/v3", 1), question("x/v2", 1)];
        assert_eq!(lengths(mixed), [2, 1]);
        let long = vec![question("x/v2", REVIEW_BYTES), question("x/v2", 1), question("x/v2", 1)];
        assert_eq!(lengths(long), [1, 2]);
    }

    #[test]
    fn what_cannot_be_waited_for_is_refused() {
        let object = CustomObject { api_version: "x/v1".into(), kind: "Widget".into(), ..Default::default() };
        let error = ask(&webhook(), &object, "x/v2").unwrap_err();
        assert_eq!(error.message, "conversion webhook for x/v1, Kind=Widget failed: it cannot be waited for here");
    }

    #[test]
    fn a_failed_conversion_fails_what_swallowed_its_error() {
        let conversions = Arc::new(Conversions::default());
        let object = CustomObject { api_version: "x/v1".into(), kind: "Widget".into(), ..Default::default() };
        let webhook = webhook();
        let swallow = || Ok(ask(&webhook, &object, "x/v2").is_ok());
        assert!(!conversions.within(swallow).unwrap());
        let asked = std::mem::take(&mut conversions.inner().wanted);
        assert_eq!(asked.len(), 1);
        let failed = asked[0].failed("failed: no");
        conversions.inner().known.insert(asked[0].clone(), Some(Err(failed)));
        let error = conversions.within(swallow).unwrap_err();
        assert_eq!((error.code(), error.reason.name()), (500, ""));
        assert_eq!(error.message, "conversion webhook for x/v1, Kind=Widget failed: no");
        let forgiven = || Ok(part(swallow).unwrap_err().message);
        assert_eq!(conversions.within(forgiven).unwrap(), error.message);
        conversions.inner().known.insert(asked[0].clone(), Some(Ok(object.clone())));
        assert!(conversions.within(swallow).unwrap());
    }
}
