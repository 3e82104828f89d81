//! What a plan asks of others, and what it says beside its outcome.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use kubelab_api::{Error, Reason};

use super::{Call, Reply};

/// Warnings of a request beyond these are dropped. Source: `MaxWarnings…` of a client are its headers' bytes; see the door.
const WARNINGS: usize = 100;

/// Shared by all plans of one request.
#[derive(Debug, Default)]
pub struct Aside(Mutex<Inner>);

#[derive(Debug, Default)]
struct Inner {
    known: HashMap<Call, Reply>,
    wanted: Vec<Call>,
    warnings: Vec<String>,
    annotations: Vec<(String, String)>,
}

impl Aside {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a call. Where it is not known, the plan must end with the error that comes back; it may ask for other
    /// answers before.
    pub fn ask(&self, call: Call) -> Result<Reply, Error> {
        let mut inner = self.inner();
        if let Some(reply) = inner.known.get(&call) {
            return Ok(Reply::clone(reply));
        }
        if !inner.wanted.contains(&call) {
            inner.wanted.push(call);
        }
        Err(Error::new(Reason::InternalError, "a call to another server is under way"))
    }

    /// What the last plan asked in vain.
    pub fn wanted(&self) -> Vec<Call> {
        std::mem::take(&mut self.inner().wanted)
    }

    /// The plan has asked in vain.
    pub fn is_wanting(&self) -> bool {
        !self.inner().wanted.is_empty()
    }

    /// Notes an answer.
    pub fn know(&self, call: Call, reply: Reply) {
        self.inner().known.insert(call, reply);
    }

    /// Adds to the warnings that the caller gets, once.
    pub fn warn(&self, warning: String) {
        let mut inner = self.inner();
        if inner.warnings.len() < WARNINGS && !inner.warnings.contains(&warning) {
            inner.warnings.push(warning);
        }
    }

    /// The warnings so far.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut self.inner().warnings)
    }

    /// Adds to the annotations of the request's audit events.
    pub fn annotate(&self, key: String, value: String) {
        let mut inner = self.inner();
        if inner.annotations.len() < WARNINGS && !inner.annotations.iter().any(|(known, _)| *known == key) {
            inner.annotations.push((key, value));
        }
    }

    /// The annotations so far.
    pub fn take_annotations(&self) -> Vec<(String, String)> {
        std::mem::take(&mut self.inner().annotations)
    }

    /// A new plan begins: what an older one said beside its outcome no longer counts.
    pub fn begin(&self) {
        let mut inner = self.inner();
        inner.warnings.clear();
        inner.annotations.clear();
        inner.wanted.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::{sync::Arc, time::Duration};

    use super::{super::*, *};

    #[test]
    fn the_same_question_is_asked_once() {
        let call = |body: &'static str| Call {
            destination: Destination {
                address: Address::Url("https://x".into()),
                authorities: Bytes::new(),
                insecure: false,
            },
            body: body.into(),
            timeout: Duration::from_secs(1),
        };
        let aside = Aside::default();
        assert!(aside.ask(call("a")).is_err());
        assert!(aside.ask(call("a")).is_err());
        assert_eq!(aside.wanted().len(), 1);
        aside.know(call("a"), Arc::new(Ok("yes".into())));
        assert_eq!(*aside.ask(call("a")).unwrap(), Ok("yes".into()));
        assert!(aside.ask(call("b")).is_err());

        aside.warn("w".into());
        aside.warn("w".into());
        assert_eq!(aside.take_warnings(), ["w"]);
        aside.warn("of an older plan".into());
        aside.begin();
        assert!(aside.take_warnings().is_empty() && aside.wanted().is_empty());
    }
}
