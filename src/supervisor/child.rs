//! One process of the lab: started, signalled, waited for.

use std::{
    fs::{File, OpenOptions},
    os::unix::process::CommandExt,
    path::Path,
    process::{ExitStatus, Stdio},
    time::{Duration, Instant},
};

use anyhow::Context;
use rustix::process::{Pid, Signal, kill_process};
use tokio::sync::mpsc;

use super::status::State;
use crate::lab::plan::Component;

/// Set for processes that end when their supervisor does.
pub const SUPERVISED: &str = "KUBELAB_SUPERVISED";

/// The first wait before a crashed process is started again, doubled each time it crashes again at once.
const RESTART_FIRST: Duration = Duration::from_millis(200);
const RESTART_LAST: Duration = Duration::from_secs(10);

/// A process ended by itself or by a signal.
pub struct Exit {
    /// The component.
    pub name: String,
    /// Which of its processes.
    pub pid: u32,
    /// How it ended.
    pub status: ExitStatus,
}

/// What the supervisor means a process to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Running; started again when it dies.
    Run,
    /// Standing still.
    Pause,
    /// Dead, on purpose.
    Dead,
}

/// A component and its present process.
pub struct Child {
    /// What it is and how it is started.
    pub component: Component,
    /// What it should be.
    pub intent: Intent,
    /// Its process.
    pub pid: Option<u32>,
    /// How often it was started again after dying by itself.
    pub restarts: u32,
    /// When its present process was started.
    pub started: Instant,
    backoff: Duration,
}

impl Child {
    /// A component that is not started yet.
    pub fn new(component: Component) -> Self {
        let intent = Intent::Run;
        Self { component, intent, pid: None, restarts: 0, started: Instant::now(), backoff: RESTART_FIRST }
    }

    /// Starts its process; `exits` hears of its end.
    pub fn start(&mut self, log: &Path, exits: mpsc::Sender<Exit>) -> anyhow::Result<()> {
        let output = open_log(log)?;
        let errors = output.try_clone()?;
        let mut command = std::process::Command::new(own_executable()?);
        command
            .arg0(&self.component.name)
            .arg(self.component.kind.command())
            .args(&self.component.flags)
            .env(SUPERVISED, "1")
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // Ctrl-C at the terminal is the supervisor's to handle.
            .process_group(0);
        let mut process = tokio::process::Command::from(command)
            .spawn()
            .with_context(|| format!("cannot start {}", self.component.name))?;
        let pid = process.id().context("a process that was just started has a pid")?;
        (self.pid, self.intent, self.started) = (Some(pid), Intent::Run, Instant::now());
        let name = self.component.name.clone();
        tokio::spawn(async move {
            if let Ok(status) = process.wait().await {
                // Nobody hears it once the supervisor is gone.
                let _ = exits.send(Exit { name, pid, status }).await;
            }
        });
        Ok(())
    }

    /// Notes that its process ended. Answers how long to wait before the next start, if it should be started again.
    pub fn ended(&mut self) -> Option<Duration> {
        self.pid = None;
        if self.intent == Intent::Dead {
            return None;
        }
        self.intent = Intent::Run;
        self.restarts += 1;
        if self.started.elapsed() > RESTART_LAST {
            self.backoff = RESTART_FIRST;
        }
        let wait = self.backoff;
        self.backoff = (wait * 2).min(RESTART_LAST);
        Some(wait)
    }

    /// Signals its process, if it has one.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid.and_then(|pid| Pid::from_raw(pid.cast_signed())) {
            // It may have ended a moment ago; then there is nothing to signal.
            let _ = kill_process(pid, signal);
        }
    }

    /// Its state; `serves` says whether it was seen to serve.
    pub fn state(&self, serves: bool) -> State {
        match (self.intent, self.pid) {
            (Intent::Dead, _) => State::Killed,
            (_, None) => State::Crashed,
            (Intent::Pause, _) => State::Paused,
            (Intent::Run, _) if serves => State::Ready,
            (Intent::Run, _) => State::Starting,
        }
    }
}

/// The running program, even after its file was replaced by a new build.
pub fn own_executable() -> anyhow::Result<std::path::PathBuf> {
    let link = Path::new("/proc/self/exe");
    if link.exists() { Ok(link.to_owned()) } else { std::env::current_exe().context("cannot find my own program") }
}

/// A log file, opened at its end.
pub fn open_log(path: &Path) -> anyhow::Result<File> {
    OpenOptions::new().create(true).append(true).open(path).with_context(|| format!("cannot write {}", path.display()))
}
