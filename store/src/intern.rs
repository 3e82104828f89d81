//! One allocation for each text that comes again and again: topics, users, verbs, node names.

use std::{collections::HashSet, sync::Arc};

/// Past this many texts the memory is emptied and begins anew.
const CAPACITY: usize = 8192;

/// Hands out shared copies of equal texts.
#[derive(Default)]
pub(crate) struct Interner(HashSet<Arc<str>>);

impl Interner {
    pub(crate) fn intern(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.0.get(text) {
            return Arc::clone(known);
        }
        if self.0.len() >= CAPACITY {
            self.0.clear();
        }
        let new: Arc<str> = Arc::from(text);
        self.0.insert(Arc::clone(&new));
        new
    }
}
