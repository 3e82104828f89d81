//! What probes find in simulated containers.

use std::sync::{Arc, Mutex, PoisonError};

use kubelab_client::clock;

use super::{Container, Process, Simulated};
use crate::{
    behavior::{Answer as Forced, command, foreign::Work, images},
    probe::{Action, Answer, Check, Kind},
    shell::{
        session::{self, Session},
        streams::Output,
    },
};

/// The most of a command's output that is told. Source: `maxReadLength` in `pkg/probe/exec` of Kubernetes.
const MAX_OUTPUT: usize = 10 << 10;

/// What a probe meets.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Well,
    Status(u16),
    Refused,
    /// No answer.
    Nothing,
}

impl Simulated {
    /// What a probe of a container finds.
    pub(super) async fn answer(&self, uid: &str, id: &str, check: &Check) -> Answer {
        let found = self.ask(uid, id, check);
        if found == Found::Well
            && let Action::Exec(command) = &check.action
            && let Some(run) = self.command(uid, id, check.kind, command)
        {
            return tokio::select! {
                answer = run => answer,
                () = clock::sleep(check.timeout) => Found::Nothing.answer(check),
            };
        }
        if found == Found::Nothing {
            clock::sleep(check.timeout).await;
        }
        found.answer(check)
    }

    /// What a command of a probe finds, if its outcome is neither made up nor that of a program that is not played.
    fn command(
        &self,
        uid: &str,
        id: &str,
        kind: Kind,
        command: &[String],
    ) -> Option<impl Future<Output = Answer> + use<>> {
        let state = self.shared.lock();
        let room = state.pods.get(uid)?;
        let process = room.processes.get(id).filter(|process| process.behavior.health.forced(kind).is_none())?;
        if !command::is_played(command) && process.setup.foreign.work_beside(command) != Work::Absent
            || !images::is_known(&process.setup.foreign.image) && !command::is_played(command)
        {
            return None;
        }
        let container = room.sandbox.containers.iter().find(|container| container.id == id)?;
        let address = room.sandbox.address;
        let world = self.shared.world(&room.sandbox.pod, address, container, process, false, Arc::default());
        let output = Arc::new(Mutex::new(Vec::new()));
        let session = Session {
            command: command.to_vec(),
            tty: false,
            stdin: None,
            stdout: Output::Buffer(output.clone()),
            stderr: Output::Buffer(output.clone()),
        };
        Some(async move {
            if session::run(Arc::new(world), session).await == 0 {
                return Answer::Success;
            }
            let mut said = std::mem::take(&mut *output.lock().unwrap_or_else(PoisonError::into_inner));
            said.truncate(MAX_OUTPUT);
            Answer::Failure(String::from_utf8_lossy(&said).into_owned())
        })
    }

    fn ask(&self, uid: &str, id: &str, check: &Check) -> Found {
        let mut state = self.shared.lock();
        let Some(room) = state.pods.get_mut(uid) else { return Found::Refused };
        let Some(process) = room.processes.get(id) else { return Found::Refused };
        match process.behavior.health.forced(check.kind) {
            Some(Forced::Pass) => return Found::Well,
            // What web frameworks answer: not ready is 503, broken is 500.
            Some(Forced::Fail) => return Found::Status(if check.kind == Kind::Readiness { 503 } else { 500 }),
            Some(Forced::Timeout) => return Found::Nothing,
            None => {}
        }
        let now = clock::now_micro().0;
        let status = |process: &Process, container: &Container| {
            let uptime = now.duration_since(container.started_at.0).unsigned_abs();
            match process.behavior.health.status(uptime) {
                200 => Found::Well,
                status => Found::Status(status),
            }
        };
        match &check.action {
            Action::Http { port, .. } | Action::Grpc { port, .. } => match room.listener(*port) {
                Some((container, process, _)) => status(process, container),
                None => Found::Refused,
            },
            Action::Tcp { port, .. } => {
                if room.listener(*port).is_some() {
                    Found::Well
                } else {
                    Found::Refused
                }
            }
            Action::Exec(_) => match room.sandbox.containers.iter().find(|container| container.id == id) {
                Some(container) => status(process, container),
                None => Found::Refused,
            },
        }
    }
}

impl Found {
    /// In upstream's words. Source: `pkg/probe` of Kubernetes, and the errors of Go's net package.
    fn answer(self, check: &Check) -> Answer {
        let message = match (&check.action, self) {
            (_, Self::Well) => return Answer::Success,
            (Action::Http { .. }, Self::Status(status)) => format!("HTTP probe failed with statuscode: {status}"),
            (Action::Http { address, port, scheme, path }, Self::Refused) => format!(
                "Get \"{scheme}://{address}:{port}{path}\": dial tcp {address}:{port}: connect: connection refused"
            ),
            (Action::Http { address, port, scheme, path }, Self::Nothing) => format!(
                "Get \"{scheme}://{address}:{port}{path}\": context deadline exceeded (Client.Timeout exceeded while \
                 awaiting headers)"
            ),
            (Action::Tcp { address, port }, Self::Nothing) => format!("dial tcp {address}:{port}: i/o timeout"),
            (Action::Tcp { address, port }, _) => format!("dial tcp {address}:{port}: connect: connection refused"),
            (Action::Exec(command), Self::Nothing) => {
                format!("command timed out: \"{}\" timed out after {:?}", command.join(" "), check.timeout)
            }
            (Action::Exec(_), _) => String::new(),
            (Action::Grpc { .. }, Self::Status(_)) => "service unhealthy (responded with \"NOT_SERVING\")".to_owned(),
            (Action::Grpc { address, port }, _) => format!(
                "timeout: failed to connect service \"{address}:{port}\" within {:?}: context deadline exceeded",
                check.timeout
            ),
        };
        Answer::Failure(message)
    }
}
