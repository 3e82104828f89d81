//! `for`, `while`, `until`.

use brush_parser::ast;

use super::{
    evaluate::{Outcome, Shell, Stop},
    streams::Streams,
};

impl Shell {
    /// `for i in a b; do …; done`
    pub async fn for_each(&mut self, clause: &ast::ForClauseCommand, streams: &Streams) -> Outcome {
        let values = match &clause.values {
            Some(words) => self.words(words, streams).await,
            None => self.arguments.clone(),
        };
        let mut status = 0;
        for value in values {
            self.set(&clause.variable_name, value);
            match in_loop(self.list(&clause.body.list, streams).await)? {
                Some(done) => status = done,
                None => break,
            }
            self.breathe().await;
        }
        Ok(status)
    }

    /// `for ((i = 0; i < 3; i++)); do …; done`
    pub async fn count(&mut self, clause: &ast::ArithmeticForClauseCommand, streams: &Streams) -> Outcome {
        let value = |part: &Option<ast::UnexpandedArithmeticExpr>| part.as_ref().map(|part| part.value.clone());
        if let Some(first) = value(&clause.initializer) {
            self.calculate(&first);
        }
        loop {
            if value(&clause.condition).is_some_and(|condition| self.calculate(&condition) == Some(0)) {
                return Ok(0);
            }
            if in_loop(self.list(&clause.body.list, streams).await)?.is_none() {
                return Ok(0);
            }
            if let Some(next) = value(&clause.updater) {
                self.calculate(&next);
            }
            self.breathe().await;
        }
    }

    /// `while …; do …; done`, or with the other condition `until`.
    pub async fn repeat(
        &mut self,
        clause: &ast::WhileOrUntilClauseCommand,
        wanted: bool,
        streams: &Streams,
    ) -> Outcome {
        let ast::WhileOrUntilClauseCommand(condition, body, _) = clause;
        let mut status = 0;
        while self.condition(condition, streams).await? == wanted {
            match in_loop(self.list(&body.list, streams).await)? {
                Some(done) => status = done,
                None => break,
            }
            self.breathe().await;
        }
        Ok(status)
    }
}

/// What a loop makes of its body's outcome: a status to go on with, `None` to end.
fn in_loop(outcome: Outcome) -> Result<Option<i32>, Stop> {
    match outcome {
        Ok(status) => Ok(Some(status)),
        Err(Stop::Break(0 | 1)) => Ok(None),
        Err(Stop::Break(levels)) => Err(Stop::Break(levels - 1)),
        Err(Stop::Continue(0 | 1)) => Ok(Some(0)),
        Err(Stop::Continue(levels)) => Err(Stop::Continue(levels - 1)),
        Err(stop) => Err(stop),
    }
}
