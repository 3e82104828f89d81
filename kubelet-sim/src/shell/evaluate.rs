//! Commands: what a shell does with what its parser made of a script.

use std::{collections::BTreeMap, sync::Arc};

use brush_parser::ast::{self, AndOr, Command, CompoundCommand, CompoundList, SeparatorOperator};
use futures::{FutureExt, future::BoxFuture, future::join_all};

use super::{
    jobs::Jobs,
    script::parse,
    streams::{Input, Streams, pipe},
    world::World,
};

/// How deep commands may lie in each other as they run.
const MAX_DEPTH: usize = 48;

/// Commands in a pipeline.
const MAX_STAGES: usize = 16;

/// So many commands run before the shell makes room for others.
const BURST: u32 = 200;

/// How long that room is.
const REST: std::time::Duration = std::time::Duration::from_millis(5);

/// Why commands are not gone on with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// `break`, out of so many loops.
    Break(u32),
    /// `continue`, after leaving so many loops but one.
    Continue(u32),
    /// `return`, with a status.
    Return(i32),
    /// `exit`, with a status.
    Exit(i32),
}

/// A status, unless the commands stop.
pub type Outcome = Result<i32, Stop>;

/// A shell's variable.
#[derive(Clone, Debug, Default)]
pub struct Variable {
    /// Its value.
    pub value: String,
    /// If it is an array, what follows the first element.
    pub more: Vec<String>,
    /// Programs see it.
    pub exported: bool,
}

/// A shell. Clones are subshells.
pub struct Shell {
    /// Where it runs.
    pub world: Arc<World>,
    /// Its variables.
    pub variables: BTreeMap<String, Variable>,
    /// Its functions.
    pub functions: BTreeMap<String, Arc<ast::FunctionBody>>,
    /// The folder it is in.
    pub folder: String,
    /// `$?`
    pub status: i32,
    /// `$0`
    pub name: String,
    /// `$1`, `$2`, …
    pub arguments: Vec<String>,
    /// `set -e`
    pub exit_on_error: bool,
    /// A person types its commands.
    pub interactive: bool,
    /// It is the container's first process: signals are for it.
    pub is_first: bool,
    /// The shell that it runs takes its place.
    pub hands_over: bool,
    /// The program that its script ends with.
    pub last_program: Option<String>,
    /// What `trap` set, by signal.
    pub traps: BTreeMap<&'static str, String>,
    /// What runs beside it.
    pub jobs: Jobs,
    depth: usize,
    steps: u32,
}

impl Clone for Shell {
    fn clone(&self) -> Self {
        Self {
            world: self.world.clone(),
            variables: self.variables.clone(),
            functions: self.functions.clone(),
            folder: self.folder.clone(),
            name: self.name.clone(),
            arguments: self.arguments.clone(),
            is_first: false,
            hands_over: false,
            last_program: None,
            // What a shell does about signals is not for its subshells; what it ignores is.
            traps: self.traps.iter().filter(|(_, action)| action.is_empty()).map(|(k, v)| (*k, v.clone())).collect(),
            jobs: Jobs::default(),
            ..*self
        }
    }
}

impl Shell {
    /// A shell with a container's environment.
    pub fn new(world: Arc<World>, name: &str) -> Self {
        let defaults = [
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()),
            ("HOME", "/root".to_owned()),
            ("HOSTNAME", world.hostname.clone()),
        ];
        let defaults = defaults.map(|(name, value)| (name.to_owned(), value));
        let env = defaults.into_iter().chain(world.env.iter().cloned());
        let variables = env.map(|(name, value)| (name, Variable { value, exported: true, more: Vec::new() })).collect();
        Self {
            folder: world.working_dir.clone(),
            world,
            variables,
            functions: BTreeMap::new(),
            status: 0,
            name: name.to_owned(),
            arguments: Vec::new(),
            exit_on_error: false,
            interactive: false,
            is_first: false,
            hands_over: false,
            last_program: None,
            traps: BTreeMap::new(),
            jobs: Jobs::default(),
            depth: 0,
            steps: 0,
        }
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|variable| variable.value.as_str())
    }

    /// Sets a variable.
    pub fn set(&mut self, name: &str, value: String) {
        self.variables.entry(name.to_owned()).or_default().value = value;
    }

    /// Runs a script to its end; its exit status.
    pub async fn run(&mut self, script: &str, streams: &Streams) -> i32 {
        match self.source(script, streams).await {
            Ok(status) | Err(Stop::Exit(status) | Stop::Return(status)) => status,
            Err(Stop::Break(_) | Stop::Continue(_)) => self.status,
        }
    }

    /// Runs a script within what runs now.
    pub async fn source(&mut self, script: &str, streams: &Streams) -> Outcome {
        let program = match parse(script) {
            Ok(program) => program,
            Err(error) => {
                let _ = streams.stderr.print(format!("{}: {error}\n", self.name)).await;
                self.status = 2;
                return Ok(2);
            }
        };
        for list in &program.complete_commands {
            self.list(list, streams).await?;
        }
        Ok(self.status)
    }

    /// Commands one after the other.
    pub fn list<'a>(&'a mut self, list: &'a CompoundList, streams: &'a Streams) -> BoxFuture<'a, Outcome> {
        async move {
            for ast::CompoundListItem(commands, separator) in &list.0 {
                if matches!(separator, SeparatorOperator::Async) {
                    self.start(commands.clone(), streams.clone());
                    self.status = 0;
                } else {
                    self.and_or(commands, streams).await?;
                }
                self.answer_signals(streams).await?;
            }
            Ok(self.status)
        }
        .boxed()
    }

    /// One level deeper.
    pub fn deepen(&mut self) {
        self.depth += 1;
    }

    /// Commands with `&&` and `||` between them.
    pub async fn and_or(&mut self, commands: &ast::AndOrList, streams: &Streams) -> Outcome {
        // `set -e` does not look at what `&&`, `||` and `!` look at.
        let checked = commands.additional.is_empty() && !commands.first.bang;
        self.pipeline(&commands.first, streams).await?;
        for next in &commands.additional {
            let (pipeline, wanted) = match next {
                AndOr::And(pipeline) => (pipeline, true),
                AndOr::Or(pipeline) => (pipeline, false),
            };
            if (self.status == 0) == wanted {
                self.pipeline(pipeline, streams).await?;
            }
        }
        if checked && self.exit_on_error && self.status != 0 {
            return Err(Stop::Exit(self.status));
        }
        Ok(self.status)
    }

    async fn pipeline(&mut self, pipeline: &ast::Pipeline, streams: &Streams) -> Outcome {
        let status = match pipeline.seq.as_slice() {
            [] => 0,
            [command] => self.command(command, streams).await?,
            commands => self.piped(commands, streams).await,
        };
        self.status = if pipeline.bang { i32::from(status == 0) } else { status };
        Ok(self.status)
    }

    /// Each command in a subshell, all at the same time; the last one's status.
    async fn piped(&mut self, commands: &[Command], streams: &Streams) -> i32 {
        if commands.len() > MAX_STAGES {
            let _ = streams.stderr.print(format!("{}: pipeline too long\n", self.name)).await;
            return 2;
        }
        let mut stages = Vec::new();
        let mut stdin = streams.stdin.clone();
        for (at, command) in commands.iter().enumerate() {
            // Nobody else keeps a pipe's end, so that its writer hears when its reader is gone.
            let mut own = Streams { stdin: std::mem::replace(&mut stdin, Input::empty()), ..streams.clone() };
            if at + 1 < commands.len() {
                (own.stdout, stdin) = pipe();
            }
            let mut shell = self.clone();
            shell.depth += 1;
            stages.push(async move {
                let outcome = shell.command(command, &own).await;
                status_of(outcome, &shell)
            });
        }
        join_all(stages).await.last().copied().unwrap_or_default()
    }

    fn command<'a>(&'a mut self, command: &'a Command, streams: &'a Streams) -> BoxFuture<'a, Outcome> {
        async move {
            if self.depth > MAX_DEPTH {
                let _ = streams.stderr.print(format!("{}: too many levels of commands\n", self.name)).await;
                return Err(Stop::Exit(2));
            }
            self.breathe().await;
            self.depth += 1;
            let outcome = match command {
                Command::Simple(simple) => self.simple(simple, streams).await,
                Command::Compound(compound, redirects) => {
                    let redirects = redirects.iter().flat_map(|list| &list.0);
                    match self.redirect(redirects, streams).await {
                        Ok(streams) => self.compound(compound, &streams).await,
                        Err(status) => Ok(status),
                    }
                }
                Command::Function(function) => {
                    self.functions.insert(function.fname.value.clone(), Arc::new(function.body.clone()));
                    Ok(0)
                }
                Command::ExtendedTest(test, _) => Ok(self.extended_test(&test.expr, streams).await),
            };
            self.depth -= 1;
            if let Ok(status) = outcome {
                self.status = status;
            }
            outcome
        }
        .boxed()
    }

    /// Lets others run now and then, so that `while :; do :; done` costs little.
    pub async fn breathe(&mut self) {
        self.steps += 1;
        if self.steps >= BURST {
            self.steps = 0;
            self.world.sleep(REST).await;
        }
    }

    /// Runs a loop, a choice, a group.
    pub async fn compound(&mut self, compound: &CompoundCommand, streams: &Streams) -> Outcome {
        match compound {
            CompoundCommand::BraceGroup(group) => self.list(&group.list, streams).await,
            CompoundCommand::Subshell(subshell) => {
                let mut inner = self.clone();
                let outcome = inner.list(&subshell.list, streams).await;
                Ok(status_of(outcome, &inner))
            }
            CompoundCommand::IfClause(clause) => {
                if self.condition(&clause.condition, streams).await? {
                    return self.list(&clause.then, streams).await;
                }
                for other in clause.elses.iter().flatten() {
                    let holds = match &other.condition {
                        Some(condition) => self.condition(condition, streams).await?,
                        None => true,
                    };
                    if holds {
                        return self.list(&other.body, streams).await;
                    }
                }
                Ok(0)
            }
            CompoundCommand::WhileClause(clause) => self.repeat(clause, true, streams).await,
            CompoundCommand::UntilClause(clause) => self.repeat(clause, false, streams).await,
            CompoundCommand::ForClause(clause) => self.for_each(clause, streams).await,
            CompoundCommand::ArithmeticForClause(clause) => self.count(clause, streams).await,
            CompoundCommand::CaseClause(clause) => {
                let value = self.text(&clause.value, streams).await;
                for case in &clause.cases {
                    for pattern in &case.patterns {
                        let pattern = self.pattern(pattern, streams).await;
                        if pattern.matches(&value) {
                            return match &case.cmd {
                                Some(list) => self.list(list, streams).await,
                                None => Ok(0),
                            };
                        }
                    }
                }
                Ok(0)
            }
            CompoundCommand::Arithmetic(arithmetic) => {
                let value = self.calculate(&arithmetic.expr.value);
                Ok(i32::from(value.is_none_or(|value| value == 0)))
            }
            CompoundCommand::Coprocess(_) => {
                let _ = streams.stderr.print(format!("{}: coproc: not supported\n", self.name)).await;
                Ok(2)
            }
        }
    }

    /// Whether a condition holds; what fails in it ends no script.
    pub async fn condition(&mut self, list: &CompoundList, streams: &Streams) -> Result<bool, Stop> {
        let strict = std::mem::replace(&mut self.exit_on_error, false);
        let outcome = self.list(list, streams).await;
        self.exit_on_error = strict;
        Ok(outcome? == 0)
    }
}

/// What a subshell that ended in this way exits with.
pub fn status_of(outcome: Outcome, shell: &Shell) -> i32 {
    match outcome {
        Ok(status) | Err(Stop::Exit(status) | Stop::Return(status)) => status,
        Err(Stop::Break(_) | Stop::Continue(_)) => shell.status,
    }
}
