//! Whole lives of pods in virtual time: plan, let containers start and end as scripted, show the status, and so on.
#![allow(clippy::unwrap_used)]

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;
use k8s_openapi::{
    api::core::v1::{ContainerState, ContainerStatus, Pod, PodStatus},
    apimachinery::pkg::apis::meta::v1::{MicroTime, Time},
};
use serde_json::{Value, json};

use super::{
    Memory,
    plan::{self, Plan},
    status::{self, Input},
};
use crate::{
    probe::Answer,
    runtime::{Container, Exit, PodRef, Sandbox},
};

/// A pod on a machine where each run of a container goes as scripted.
struct Life {
    pod: Pod,
    sandbox: Sandbox,
    memory: Memory,
    now: Timestamp,
    /// By container: how long each run takes and what it exits with; the last one repeats; none: until killed.
    script: BTreeMap<&'static str, Vec<(u64, i32)>>,
    /// When each running container will end.
    ends: BTreeMap<String, (Timestamp, i32)>,
    /// What probes answer.
    healthy: bool,
    terminating: bool,
    log: Vec<String>,
}

impl Life {
    fn new(spec: Value, script: &[(&'static str, &[(u64, i32)])]) -> Self {
        let meta = json!({"name": "web", "namespace": "default", "uid": "u-1"});
        let pod: Pod = serde_json::from_value(json!({"metadata": meta, "spec": spec})).unwrap();
        let sandbox = Sandbox {
            pod: PodRef::of(&pod),
            address: "10.244.1.7".parse().unwrap(),
            released: false,
            containers: Vec::new(),
        };
        Self {
            pod,
            sandbox,
            memory: Memory::default(),
            now: Timestamp::UNIX_EPOCH,
            script: script.iter().map(|(name, runs)| (*name, runs.to_vec())).collect(),
            ends: BTreeMap::new(),
            healthy: true,
            terminating: false,
            log: Vec::new(),
        }
    }

    /// Lives until then, or until nothing more will happen.
    fn until(&mut self, seconds: u64) -> &mut Self {
        let end = Timestamp::UNIX_EPOCH + Duration::from_secs(seconds);
        loop {
            self.end_containers();
            let (questions, probe) = self.memory.questions(&self.pod, &self.sandbox, self.now);
            let plan = self.plan();
            self.show(&plan);
            for question in &questions {
                let answer = if self.healthy { Answer::Success } else { Answer::Failure("no".into()) };
                self.memory.answer(&question.id, question.kind, &answer);
            }
            if self.act(&plan) || !questions.is_empty() {
                continue;
            }
            let next = [plan.wake, probe, self.ends.values().map(|end| end.0).min()].into_iter().flatten().min();
            match next {
                Some(next) if next <= end => self.now = next,
                _ => break,
            }
        }
        self.now = end;
        self
    }

    fn plan(&self) -> Plan {
        let spec = self.pod.spec.as_ref().unwrap();
        if self.terminating {
            Plan { kill: plan::terminate(spec, &self.sandbox, plan::grace(spec)), ..Plan::default() }
        } else {
            plan::plan(spec, &self.sandbox, &self.memory, self.now)
        }
    }

    fn act(&mut self, plan: &Plan) -> bool {
        let mut acted = false;
        for kill in &plan.kill {
            if self.memory.stopping.insert(kill.id.clone(), self.now + kill.grace).is_none() {
                self.log.push(format!("{} kill {}", self.second(), kill.message));
                self.ends.insert(kill.id.clone(), (self.now + Duration::from_secs(1), 0));
                acted = true;
            }
        }
        for start in &plan.start {
            self.memory.begin(start, self.now);
            // Looked at again before it has started, a pod looks as before, and nothing is started twice.
            let again = self.plan();
            assert!(!again.start.contains(start) && !again.backing_off.contains_key(&start.name), "{again:?}");
            self.memory.end_start(&start.name, Ok(()));
            let id = format!("{}-{}", start.name, start.attempt);
            let runs = self.script.get(start.name.as_str()).cloned().unwrap_or_default();
            if let Some((time, code)) = runs.get(start.attempt as usize).or(runs.last()) {
                self.ends.insert(id.clone(), (self.now + Duration::from_secs(*time), *code));
            }
            self.sandbox.containers.push(Container {
                id,
                name: start.name.clone(),
                attempt: start.attempt,
                image: "nginx".into(),
                full_image: "docker.io/library/nginx:latest".into(),
                image_id: "docker.io/library/nginx@sha256:0".into(),
                started_at: MicroTime(self.now),
                exit: None,
                retired: false,
            });
            acted = true;
        }
        if plan.restarts_all && plan.kill.is_empty() {
            self.sandbox.containers.iter_mut().for_each(|run| run.retired = true);
            acted = true;
        }
        acted
    }

    fn end_containers(&mut self) {
        let now = self.now;
        let due: Vec<String> = self.ends.iter().filter(|(_, end)| end.0 <= now).map(|(id, _)| id.clone()).collect();
        for id in due {
            let (at, code) = self.ends.remove(&id).unwrap();
            let run = self.sandbox.containers.iter_mut().find(|run| run.id == id).unwrap();
            run.exit = Some(Exit { code, finished_at: MicroTime(at), reason: None, message: None });
        }
    }

    fn status(&self, plan: &Plan) -> PodStatus {
        status::status(&Input {
            pod: &self.pod,
            sandbox: Some(&self.sandbox),
            memory: &self.memory,
            backing_off: &plan.backing_off,
            restarts_all: plan.restarts_all,
            host_ip: "127.0.0.1".parse().unwrap(),
            over: self.terminating && !self.sandbox.is_running(),
            now: Time(self.now),
        })
    }

    fn second(&self) -> i64 {
        self.now.as_second()
    }

    /// Logs the status where it changed: `12 Running web=running/1!`, `!` for ready.
    fn show(&mut self, plan: &Plan) {
        let status = self.status(plan);
        let all = status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
        let containers: Vec<String> = all.map(show_container).collect();
        let line = format!("{} {}", status.phase.as_deref().unwrap_or_default(), containers.join(" "));
        let last = self.log.iter().rfind(|line| !line.contains(" kill ")).and_then(|line| line.split_once(' '));
        if last.is_none_or(|(_, last)| last != line) {
            self.log.push(format!("{} {line}", self.second()));
        }
        self.pod.status = Some(status);
    }
}

fn show_container(status: &ContainerStatus) -> String {
    let state = match status.state.clone().unwrap_or_default() {
        ContainerState { waiting: Some(waiting), .. } => waiting.reason.unwrap_or_default(),
        ContainerState { terminated: Some(ended), .. } => {
            format!("{}:{}", ended.reason.unwrap_or_default(), ended.exit_code)
        }
        _ => "running".to_owned(),
    };
    format!("{}={state}/{}{}", status.name, status.restart_count, if status.ready { "!" } else { "" })
}

fn spec(policy: &str, containers: &[&str], init: Value) -> Value {
    let containers: Vec<Value> = containers.iter().map(|name| json!({"name": name, "image": "nginx"})).collect();
    json!({"restartPolicy": policy, "containers": containers, "initContainers": init})
}

#[test]
fn a_server_starts_and_stays() {
    let mut life = Life::new(spec("Always", &["web", "log"], json!([])), &[]);
    assert_eq!(
        life.until(3600).log,
        ["0 Pending web=ContainerCreating/0 log=ContainerCreating/0", "0 Running web=running/0! log=running/0!"]
    );
}

#[test]
fn a_crashing_container_backs_off() {
    let mut life = Life::new(spec("Always", &["web"], json!([])), &[("web", &[(1, 1)])]);
    let log = &life.until(100).log;
    assert_eq!(
        log[..9],
        [
            "0 Pending web=ContainerCreating/0",
            "0 Running web=running/0!",
            "1 Running web=Error:1/0",
            "1 Running web=running/1!",
            "2 Running web=CrashLoopBackOff/1",
            "12 Running web=Error:1/1",
            "12 Running web=running/2!",
            "13 Running web=CrashLoopBackOff/2",
            "33 Running web=Error:1/2",
        ]
    );
}

#[test]
fn one_container_has_all_begin_anew() {
    let mut spec = spec("Never", &["web", "watcher"], json!([{"name": "init", "image": "nginx"}]));
    let rule = json!({"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}});
    spec["containers"][1]["restartPolicyRules"] = json!([rule]);
    let mut life = Life::new(spec, &[("init", &[(2, 0)]), ("watcher", &[(5, 88), (5, 88), (60, 0)])]);
    let log = &life.until(60).log;
    assert!(log.contains(&"7 kill Stopping container web".to_owned()), "{log:?}");
    // At once the first time, and then after a back-off, as those that crash.
    assert!(log.contains(&"10 Running init=Completed:0/1! web=running/1! watcher=running/1!".to_owned()), "{log:?}");
    assert_eq!(log.last().unwrap(), "26 Running init=Completed:0/2! web=running/2! watcher=running/2!");
}

#[test]
fn policies_decide_what_an_exit_means() {
    for (policy, runs, expected) in [
        ("Never", &[(5, 0)][..], "5 Succeeded work=Completed:0/0"),
        ("Never", &[(5, 3)], "5 Failed work=Error:3/0"),
        ("OnFailure", &[(5, 0)], "5 Succeeded work=Completed:0/0"),
        ("OnFailure", &[(5, 3), (5, 0)], "10 Succeeded work=Completed:0/1"),
        ("Always", &[(5, 0), (9000, 0)], "5 Running work=running/1!"),
    ] {
        let mut life = Life::new(spec(policy, &["work"], json!([])), &[("work", runs)]);
        assert_eq!(life.until(60).log.last().unwrap(), expected, "{policy} {runs:?}");
    }
}

#[test]
fn init_containers_run_one_after_the_other() {
    let init = json!([{"name": "a", "image": "nginx"}, {"name": "b", "image": "nginx"}]);
    let mut life = Life::new(spec("Always", &["web"], init), &[("a", &[(2, 0)]), ("b", &[(2, 1), (2, 0)])]);
    assert_eq!(
        life.until(60).log,
        [
            "0 Pending a=PodInitializing/0 b=PodInitializing/0 web=PodInitializing/0",
            "0 Pending a=running/0 b=PodInitializing/0 web=PodInitializing/0",
            "2 Pending a=Completed:0/0! b=PodInitializing/0 web=PodInitializing/0",
            "2 Pending a=Completed:0/0! b=running/0 web=PodInitializing/0",
            "4 Pending a=Completed:0/0! b=Error:1/0 web=PodInitializing/0",
            "4 Pending a=Completed:0/0! b=running/1 web=PodInitializing/0",
            "6 Pending a=Completed:0/0! b=Completed:0/1! web=PodInitializing/0",
            "6 Running a=Completed:0/0! b=Completed:0/1! web=running/0!",
        ]
    );
}

#[test]
fn a_failed_init_container_fails_a_pod_that_never_restarts() {
    let mut life = Life::new(spec("Never", &["web"], json!([{"name": "a", "image": "nginx"}])), &[("a", &[(2, 7)])]);
    assert_eq!(life.until(60).log.last().unwrap(), "2 Failed a=Error:7/0 web=PodInitializing/0");
}

#[test]
fn a_sidecar_starts_first_and_ends_last() {
    let init = json!([{"name": "side", "image": "nginx", "restartPolicy": "Always"}]);
    let mut life = Life::new(spec("Never", &["work"], init), &[("work", &[(5, 0)])]);
    assert_eq!(
        life.until(60).log,
        [
            "0 Pending side=PodInitializing/0 work=PodInitializing/0",
            "0 Pending side=running/0! work=PodInitializing/0",
            "0 Running side=running/0! work=running/0!",
            "5 Running side=running/0! work=Completed:0/0",
            "5 kill Stopping container side",
            "6 Succeeded side=Completed:0/0 work=Completed:0/0",
        ]
    );
}

#[test]
fn a_deleted_pod_ends_and_its_sidecars_after_it() {
    let init = json!([{"name": "side", "image": "nginx", "restartPolicy": "Always"}]);
    let mut life = Life::new(spec("Always", &["web"], init), &[]);
    life.until(10).terminating = true;
    life.log.clear();
    assert_eq!(
        life.until(60).log,
        [
            "10 Running side=running/0! web=running/0!",
            "10 kill Stopping container web",
            "11 Running side=running/0! web=Completed:0/0",
            "11 kill Stopping container side",
            "12 Succeeded side=Completed:0/0 web=Completed:0/0",
        ]
    );
}

#[test]
fn a_probe_decides_readiness_and_another_restarts() {
    let probe = json!({"httpGet": {"port": 80}, "periodSeconds": 2, "failureThreshold": 2});
    let mut spec = spec("Always", &["web"], json!([]));
    spec["containers"][0]["readinessProbe"] = probe.clone();
    let mut life = Life::new(spec.clone(), &[]);
    life.until(11).healthy = false;
    life.until(19).healthy = true;
    assert_eq!(
        life.until(30).log,
        [
            "0 Pending web=ContainerCreating/0",
            "0 Running web=running/0",
            "0 Running web=running/0!",
            "14 Running web=running/0",
            "20 Running web=running/0!",
        ]
    );

    spec["containers"][0]["readinessProbe"] = Value::Null;
    spec["containers"][0]["livenessProbe"] = probe;
    let mut life = Life::new(spec, &[]);
    life.until(9).healthy = false;
    life.until(13).healthy = true;
    assert_eq!(
        life.until(60).log[2..],
        [
            "12 kill Container web failed liveness probe, will be restarted",
            "13 Running web=Completed:0/0",
            "13 Running web=running/1!",
        ]
    );
}

#[test]
fn nothing_else_is_asked_until_the_startup_probe_succeeds() {
    let mut spec = spec("Always", &["web"], json!([]));
    spec["containers"][0]["startupProbe"] = json!({"httpGet": {"port": 80}, "periodSeconds": 5, "failureThreshold": 2});
    let mut life = Life::new(spec, &[]);
    life.healthy = false;
    life.until(5).healthy = true;
    assert_eq!(
        life.log[1..],
        ["0 Running web=running/0", "5 kill Container web failed startup probe, will be restarted"]
    );
    assert_eq!(
        life.until(30).log[3..],
        ["6 Running web=Completed:0/0", "6 Running web=running/1", "6 Running web=running/1!"]
    );
}

#[test]
fn a_new_image_restarts_its_container() {
    let mut life = Life::new(spec("Always", &["web"], json!([])), &[]);
    life.until(10).pod.spec.as_mut().unwrap().containers[0].image = Some("nginx:2".into());
    let plan = life.plan();
    assert_eq!(plan.kill[0].message, "Container web definition changed, will be restarted");
}
