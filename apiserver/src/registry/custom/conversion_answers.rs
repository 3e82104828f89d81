//! What webhooks made of stored objects, for those who read many: lists and watches. A stored object is asked about once for
//! each version that is read, as by upstream, whose watch cache of each version holds its objects converted. Who gets one
//! object by its name, or writes, asks anew.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use super::{conversion::Question, object::CustomObject};

/// Objects of about so many bytes are remembered; then those are forgotten that were not asked for lately.
const BYTES: usize = 16 * 1024 * 1024;

/// The answers of before, by all that was asked.
#[derive(Debug, Default)]
pub struct Answers(Mutex<Generations>);

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Question, CustomObject>,
    old: HashMap<Question, CustomObject>,
    /// Of the young.
    bytes: usize,
}

impl Answers {
    /// What was answered to this question.
    pub(super) fn to(&self, question: &Question) -> Option<CustomObject> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = all.young.get(question) {
            return Some(answer.clone());
        }
        let (question, answer) = all.old.remove_entry(question)?;
        all.add(question, answer.clone());
        Some(answer)
    }

    pub(super) fn remember(&self, question: &Question, answer: &CustomObject) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).add(question.clone(), answer.clone());
    }
}

impl Generations {
    fn add(&mut self, question: Question, answer: CustomObject) {
        let size = question.object.len();
        if self.bytes + size > BYTES / 2 {
            self.old = std::mem::take(&mut self.young);
            self.bytes = 0;
        }
        if self.young.insert(question, answer).is_none() {
            self.bytes += size;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        outside::{Address, Destination},
        registry::custom::conversion_webhook::Webhook,
    };

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_forgotten() {
        let destination =
            Destination { address: Address::Url("https://x".into()), authorities: Default::default(), insecure: false };
        let webhook = Arc::new(Webhook { kind: "Widget".into(), destination, review: Some("v1") });
        let question = |first: u8| Question {
            object: [vec![first], vec![b' '; BYTES / 8]].concat().into(),
            from: "x/v1".into(),
            to: "x/v2".into(),
            webhook: Arc::clone(&webhook),
        };
        let answers = Answers::default();
        assert!(answers.to(&question(0)).is_none());
        let answer = CustomObject { kind: "Widget".into(), ..Default::default() };
        for first in 0..100 {
            answers.remember(&question(first), &answer);
            assert_eq!(answers.to(&question(0)).map(|answer| answer.kind), Some("Widget".into()), "{first}");
        }
        assert!(answers.to(&question(1)).is_none(), "nobody asked for it");
        let all = answers.0.lock().unwrap();
        assert!(all.young.len() + all.old.len() <= 8);
    }
}
