//! Simple commands: assignments, functions, builtins, programs.

use brush_parser::ast::{self, CommandPrefixOrSuffixItem as Item};

use super::{
    evaluate::{Outcome, Shell, Stop},
    programs,
    streams::Streams,
};

impl Shell {
    /// Runs a simple command.
    pub async fn simple(&mut self, command: &ast::SimpleCommand, streams: &Streams) -> Outcome {
        let prefix = command.prefix.iter().flat_map(|prefix| &prefix.0);
        let suffix = command.suffix.iter().flat_map(|suffix| &suffix.0);
        let mut redirects = Vec::new();
        let mut assignments = Vec::new();
        let mut words = Vec::new();
        for item in prefix {
            match item {
                Item::IoRedirect(redirect) => redirects.push(redirect),
                Item::AssignmentWord(assignment, _) => assignments.push(assignment),
                Item::Word(word) => words.push(word.clone()),
                Item::ProcessSubstitution(..) => {}
            }
        }
        words.extend(command.word_or_name.clone());
        for item in suffix {
            match item {
                Item::IoRedirect(redirect) => redirects.push(redirect),
                Item::Word(word) | Item::AssignmentWord(_, word) => words.push(word.clone()),
                Item::ProcessSubstitution(..) => {}
            }
        }
        let words = self.words(&words, streams).await;
        let streams = match self.redirect(redirects.into_iter(), streams).await {
            Ok(streams) => streams,
            Err(status) => return Ok(status),
        };
        let before = if words.is_empty() { None } else { Some(self.variables.clone()) };
        if before.is_none() {
            // The status of `x=$(false)` is that of the substitution.
            self.status = 0;
        }
        for assignment in assignments {
            self.assign(assignment, before.is_some(), &streams).await;
        }
        let Some((program, arguments)) = words.split_first() else { return Ok(self.status) };
        let outcome = self.call(program, arguments, &streams).await;
        if let Some(before) = before.filter(|_| command.prefix.is_some()) {
            self.variables = before;
        }
        outcome
    }

    async fn assign(&mut self, assignment: &ast::Assignment, exported: bool, streams: &Streams) {
        let (name, word) = match (&assignment.name, &assignment.value) {
            (ast::AssignmentName::VariableName(name), ast::AssignmentValue::Scalar(word)) => (name, word),
            (name, value) => return self.assign_elements(name, value, assignment.append, streams).await,
        };
        let mut value = self.text(word, streams).await;
        if assignment.append {
            value.insert_str(0, self.get(name).unwrap_or_default());
        }
        let variable = self.variables.entry(name.clone()).or_default();
        variable.value = value;
        variable.exported |= exported;
    }

    /// Calls a function, a builtin or a program.
    pub async fn call(&mut self, program: &str, arguments: &[String], streams: &Streams) -> Outcome {
        if let Some(body) = self.functions.get(program).cloned() {
            let outer = std::mem::replace(&mut self.arguments, arguments.to_vec());
            let outcome = match self.redirect(body.1.iter().flat_map(|list| &list.0), streams).await {
                Ok(streams) => Box::pin(self.compound(&body.0, &streams)).await,
                Err(status) => Ok(status),
            };
            self.arguments = outer;
            return match outcome {
                Err(Stop::Return(status)) => Ok(status),
                outcome => outcome,
            };
        }
        programs::run(self, program, arguments, streams).await
    }
}
