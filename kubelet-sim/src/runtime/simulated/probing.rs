//! What probes find in simulated containers.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kubelab_client::clock;

use super::Simulated;
use crate::{
    behavior::{Answer as Forced, Health, command, foreign::Work, images},
    probe::{Action, Answer, Check, Kind, http},
    shell::{
        session::{self, Session},
        streams::Output,
    },
};

/// The most of a command's output that is told. Source: `maxReadLength` in `pkg/probe/exec` of Kubernetes.
const MAX_OUTPUT: usize = 10 << 10;

impl Simulated {
    /// What a probe of a container finds: what it was told to find, or what comes of asking.
    pub(super) async fn answer(&self, uid: &str, id: &str, check: &Check) -> Answer {
        let health = self.health(uid, id);
        let Some((health, uptime)) = health else { return made_up(Forced::Fail, check) };
        match health.forced(check.kind) {
            Some(Forced::Timeout) => {
                clock::sleep(check.timeout).await;
                return made_up(Forced::Timeout, check);
            }
            Some(forced) => return made_up(forced, check),
            None => {}
        }
        let Action::Exec(command) = &check.action else {
            return check.ask(&*self.shared.node_network()).await.unwrap_or(Answer::Success);
        };
        // A program finds the container as its HTTP probes would.
        if health.status(uptime) != 200 {
            return made_up(Forced::Fail, check);
        }
        match self.command(uid, id, command) {
            Some(run) => tokio::select! {
                answer = run => answer,
                () = clock::sleep(check.timeout) => made_up(Forced::Timeout, check),
            },
            None => Answer::Success,
        }
    }

    /// How a container is, and for how long it has run.
    fn health(&self, uid: &str, id: &str) -> Option<(Health, Duration)> {
        let state = self.shared.lock();
        let room = state.pods.get(uid)?;
        let process = room.processes.get(id)?;
        let container = room.sandbox.containers.iter().find(|container| container.id == id)?;
        let uptime = clock::now_micro().0.duration_since(container.started_at.0).unsigned_abs();
        Some((process.behavior.health.clone(), uptime))
    }

    /// What a command of a probe finds, unless it is a program that is not played.
    fn command(&self, uid: &str, id: &str, command: &[String]) -> Option<impl Future<Output = Answer> + use<>> {
        let state = self.shared.lock();
        let room = state.pods.get(uid)?;
        let process = room.processes.get(id)?;
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
}

/// What a probe finds that is told what to find, in the words of one that met it.
fn made_up(forced: Forced, check: &Check) -> Answer {
    let is_timeout = forced == Forced::Timeout;
    let message = match &check.action {
        _ if forced == Forced::Pass => return Answer::Success,
        Action::Http(get) if is_timeout => {
            let url = http::shown(&get.url);
            format!("Get \"{url}\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)")
        }
        // What web frameworks answer: not ready is 503, broken is 500.
        Action::Http(_) => {
            format!("HTTP probe failed with statuscode: {}", if check.kind == Kind::Readiness { 503 } else { 500 })
        }
        Action::Tcp(target) if is_timeout => format!("dial tcp {target}: i/o timeout"),
        Action::Tcp(target) => format!("dial tcp {target}: connect: connection refused"),
        Action::Exec(command) if is_timeout => {
            format!("command timed out: \"{}\" timed out after {:?}", command.join(" "), check.timeout)
        }
        Action::Exec(_) => String::new(),
        Action::Grpc { .. } if is_timeout => {
            format!("timeout: health rpc did not complete within {:?}", check.timeout)
        }
        Action::Grpc { .. } => "service unhealthy (responded with \"NOT_SERVING\")".to_owned(),
    };
    Answer::Failure(message)
}
