//! Signals to a container's first process, and `trap`. As process 1, a shell without a handler for a signal ignores it; with
//! one, it runs that once the command that it waits for has ended, or at once while it is in `wait`.

use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;

use super::{
    evaluate::{Outcome, Shell, Stop, status_of},
    streams::Streams,
};

/// What was sent to a container's first process and not yet taken.
#[derive(Default)]
pub struct Signals {
    terminate: AtomicBool,
    sent: Notify,
}

impl Signals {
    /// SIGTERM.
    pub fn terminate(&self) {
        self.terminate.store(true, Ordering::Release);
        self.sent.notify_waiters();
    }

    /// Takes it, if it was sent.
    pub fn take(&self) -> bool {
        self.terminate.swap(false, Ordering::AcqRel)
    }

    /// Waits until there is one to take.
    pub async fn came(&self) {
        loop {
            let sent = self.sent.notified();
            if self.terminate.load(Ordering::Acquire) {
                return;
            }
            sent.await;
        }
    }
}

/// `SIGTERM`, `term` and `15` are `TERM`; `None` for what is no signal.
fn signal(name: &str) -> Option<&'static str> {
    let name = name.to_ascii_uppercase();
    Some(match name.strip_prefix("SIG").unwrap_or(&name) {
        "EXIT" | "0" => "EXIT",
        "TERM" | "15" => "TERM",
        "INT" | "2" => "INT",
        "HUP" | "1" => "HUP",
        "QUIT" | "3" => "QUIT",
        "USR1" | "10" => "USR1",
        "USR2" | "12" => "USR2",
        "CHLD" | "17" => "CHLD",
        "ERR" => "ERR",
        "DEBUG" => "DEBUG",
        _ => return None,
    })
}

impl Shell {
    /// `trap 'exit 0' TERM`, `trap - TERM`, `trap`
    pub async fn trap(&mut self, arguments: &[String], streams: &Streams) -> i32 {
        let arguments = arguments.strip_prefix(&["--".to_owned()]).unwrap_or(arguments);
        let Some((action, names)) = arguments.split_first().filter(|(_, names)| !names.is_empty()) else {
            for (name, action) in &self.traps {
                let action = action.replace('\'', "'\\''");
                let _ = streams.stdout.print(format!("trap -- '{action}' {name}\n")).await;
            }
            return 0;
        };
        for name in names {
            let Some(signal) = signal(name) else {
                let _ =
                    streams.stderr.print(format!("{}: trap: {name}: invalid signal specification\n", self.name)).await;
                return 1;
            };
            if action == "-" {
                self.traps.remove(signal);
            } else {
                self.traps.insert(signal, action.clone());
            }
        }
        0
    }

    /// Whether a signal to the container is for this shell, which does something about it.
    pub fn listens(&self) -> bool {
        self.is_first && self.traps.get("TERM").is_some_and(|action| !action.is_empty())
    }

    /// Does what is to be done about the signals that came.
    pub async fn answer_signals(&mut self, streams: &Streams) -> Result<(), Stop> {
        if !self.is_first || !self.world.signals.take() {
            return Ok(());
        }
        if let Some(action) = self.traps.get("TERM").filter(|action| !action.is_empty()).cloned() {
            let status = self.status;
            Box::pin(self.source(&action, streams)).await?;
            self.status = status;
        }
        Ok(())
    }

    /// The shell ends in this way: its last words, and its status.
    pub async fn leave(&mut self, outcome: Outcome, streams: &Streams) -> i32 {
        let status = status_of(outcome, self);
        let Some(action) = self.traps.remove("EXIT") else { return status };
        self.status = status;
        match Box::pin(self.source(&action, streams)).await {
            Err(Stop::Exit(status)) => status,
            _ => status,
        }
    }
}
