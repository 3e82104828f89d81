//! Commands that only wait and end: what comes of `sleep 30; exit 1` is known without running it, so that such a container
//! costs a timer and no more. Everything else is run.

use std::time::Duration;

use brush_parser::ast::{
    AndOr, AndOrList, Command, CommandPrefixOrSuffixItem as Item, CompoundCommand, CompoundList, Pipeline,
    SeparatorOperator, SimpleCommand,
};

use super::Run;
use crate::shell::{
    programs::{self, SHELLS, base_name},
    script::parse,
};

/// How a command goes, if that is plain.
pub fn run(words: &[String]) -> Option<Run> {
    let (program, arguments) = words.split_first()?;
    let mut course = Course::default();
    let flow = if SHELLS.contains(&base_name(program)) {
        match arguments {
            [option, script, ..] if option == "-c" => {
                let script = parse(script).ok()?;
                let mut flow = Flow::Goes;
                for list in &script.complete_commands {
                    flow = course.list(list)?;
                    if flow != Flow::Goes {
                        break;
                    }
                }
                flow
            }
            _ => return None,
        }
    } else {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        course.simple(&words)?
    };
    Some(match flow {
        Flow::Forever => Run::UntilStopped,
        Flow::Goes | Flow::Ends => Run::For { time: course.time, exit_code: course.status },
    })
}

/// What comes after a command.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Flow {
    Goes,
    Ends,
    Forever,
}

/// How far a script has come.
#[derive(Default)]
struct Course {
    time: Duration,
    status: i32,
}

impl Course {
    fn list(&mut self, list: &CompoundList) -> Option<Flow> {
        for item in &list.0 {
            if !matches!(item.1, SeparatorOperator::Sequence) {
                return None;
            }
            match self.and_or(&item.0)? {
                Flow::Goes => {}
                other => return Some(other),
            }
        }
        Some(Flow::Goes)
    }

    fn and_or(&mut self, list: &AndOrList) -> Option<Flow> {
        let mut flow = self.pipeline(&list.first)?;
        for next in &list.additional {
            let (pipeline, wanted) = match next {
                AndOr::And(pipeline) => (pipeline, true),
                AndOr::Or(pipeline) => (pipeline, false),
            };
            if flow == Flow::Goes && (self.status == 0) == wanted {
                flow = self.pipeline(pipeline)?;
            }
        }
        Some(flow)
    }

    fn pipeline(&mut self, pipeline: &Pipeline) -> Option<Flow> {
        let [command] = pipeline.seq.as_slice() else { return None };
        if pipeline.bang || pipeline.timed.is_some() {
            return None;
        }
        match command {
            Command::Simple(command) => self.simple(&literal(command)?),
            Command::Compound(CompoundCommand::WhileClause(clause), None) => self.endless(&clause.0, &clause.1.list),
            _ => None,
        }
    }

    /// `while true; do sleep 5; done`
    fn endless(&mut self, condition: &CompoundList, body: &CompoundList) -> Option<Flow> {
        let mut once = Self::default();
        let goes = once.list(condition)? == Flow::Goes && once.status == 0 && once.list(body)? == Flow::Goes;
        // A loop that never waits is left to the shell, which slows it down.
        (goes && !once.time.is_zero()).then_some(Flow::Forever)
    }

    fn simple(&mut self, words: &[&str]) -> Option<Flow> {
        let (program, arguments) = words.split_first()?;
        self.status = 0;
        match (base_name(program), arguments) {
            ("sleep", ["infinity" | "inf", ..]) => return Some(Flow::Forever),
            ("sleep", [_, ..]) => {
                for argument in arguments {
                    self.time = self.time.saturating_add(programs::duration(argument)?);
                }
            }
            ("true" | ":", _) => {}
            ("false", _) => self.status = 1,
            ("exit", [code]) => {
                self.status = code.parse::<i32>().ok()? & 0xff;
                return Some(Flow::Ends);
            }
            ("exec", [_, ..]) => {
                let flow = self.simple(arguments)?;
                return Some(if flow == Flow::Goes { Flow::Ends } else { flow });
            }
            ("tail", ["-f" | "-F", "/dev/null"]) => return Some(Flow::Forever),
            _ => return None,
        }
        Some(Flow::Goes)
    }
}

/// A command's words, if they stand for themselves.
fn literal(command: &SimpleCommand) -> Option<Vec<&str>> {
    if command.prefix.is_some() {
        return None;
    }
    let suffix = command.suffix.iter().flat_map(|suffix| &suffix.0);
    let words = suffix.map(|item| if let Item::Word(word) = item { Some(word.value.as_str()) } else { None });
    let words = std::iter::once(command.word_or_name.as_ref().map(|word| word.value.as_str())).chain(words);
    let plain = |word: &&str| word.chars().all(|c| c.is_ascii_alphanumeric() || "./:_-+".contains(c));
    words.map(|word| word.filter(plain)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_waits_need_not_be_run() {
        let ends = |seconds: f64, exit_code| Some(Run::For { time: Duration::from_secs_f64(seconds), exit_code });
        let forever = Some(Run::UntilStopped);
        for (script, expected) in [
            ("sleep 30", ends(30.0, 0)),
            ("sleep 1; exit 3", ends(1.0, 3)),
            ("exit 1; sleep 10", ends(0.0, 1)),
            ("sleep 5 && false || sleep 2", ends(7.0, 0)),
            ("sleep 0.5m\nfalse", ends(30.0, 1)),
            ("exec sleep 7; exit 9", ends(7.0, 0)),
            ("sleep 1; sleep infinity", forever.clone()),
            ("tail -f /dev/null", forever.clone()),
            ("while true; do sleep 3600; done", forever.clone()),
            ("while :; do :; done", None),
            ("sleep $TIME", None),
            ("sleep 5 &", None),
            ("echo hello; sleep 5", None),
            ("sleep 5 > /tmp/x", None),
            ("test -f /x || exit 1", None),
            ("trap 'exit 0' TERM; sleep 9", None),
            ("while sleep 1; do test -f /x && break; done", None),
            ("sleep 'oops", None),
        ] {
            let words = ["sh", "-c", script].map(str::to_owned);
            assert_eq!(run(&words), expected, "{script}");
        }
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(run(&words("/bin/sleep 9")), ends(9.0, 0));
        assert_eq!(run(&words("sleep infinity")), forever);
        assert_eq!(run(&words("tail -f /var/log/x")), None);
        assert_eq!(run(&words("cat /etc/hostname")), None);
    }
}
