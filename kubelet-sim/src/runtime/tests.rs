//! The simulated runtime, on tokio's paused clock: time passes only where something waits for it.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // the paused clock is tokio's

use std::{
    path::{Path, PathBuf},
    sync::mpsc,
};

use serde_json::{Value, json};
use tokio::time::Instant;

use super::*;

struct Rig {
    /// What every container has at `/data`.
    data: PathBuf,
    runtime: Simulated,
    changes: mpsc::Receiver<PodRef>,
    pod: Arc<Pod>,
}

const UID: &str = "u-1";

impl Rig {
    fn open(folder: &Path, annotations: Value, container: Value) -> Self {
        let runtime = Simulated::open("node-1", folder, 1.0, Arc::default()).unwrap();
        let (tell, changes) = mpsc::channel();
        runtime.on_change(Box::new(move |pod| tell.send(pod.clone()).unwrap()));
        let pod = json!({"metadata": {"name": "web", "namespace": "default", "uid": UID, "annotations": annotations},
            "spec": {"containers": [container]}});
        Self { data: folder.join("data"), runtime, changes, pod: Arc::new(serde_json::from_value(pod).unwrap()) }
    }

    async fn start(&self, attempt: u32) -> Container {
        let container = self.pod.spec.as_ref().unwrap().containers[0].clone();
        let launch = Launch {
            pod: self.pod.clone(),
            container,
            attempt,
            env: vec![("A".into(), "1".into())],
            mounts: vec![Mount::folder("/data", self.data.clone())],
        };
        self.runtime.start(launch).await.unwrap();
        self.latest()
    }

    fn latest(&self) -> Container {
        self.runtime.sandbox(UID).unwrap().latest("web").unwrap().clone()
    }

    fn create(&self) {
        self.runtime.create(PodRef::of(&self.pod), "10.244.1.7".parse().unwrap());
    }

    /// Waits until a container has ended; how long that took, and its exit code.
    async fn ended(&self) -> (u64, i32) {
        let began = Instant::now();
        while self.changes.try_recv().is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        (began.elapsed().as_secs(), self.latest().exit.unwrap().code)
    }
}

fn nginx() -> Value {
    json!({"name": "web", "image": "nginx"})
}

#[tokio::test(start_paused = true)]
async fn containers_end_by_themselves_or_when_stopped() {
    let sleeping = json!({"name": "web", "image": "busybox", "command": ["sleep", "60"]});
    let second = Duration::from_secs;
    for (annotations, container, stop, expected) in [
        (json!({}), sleeping.clone(), None, (60, 0)),
        (json!({"kubelab.dev/exit-after": "5s", "kubelab.dev/exit-code": "3"}), nginx(), None, (5, 3)),
        (json!({}), nginx(), Some(second(30)), (0, 0)),
        (json!({}), sleeping.clone(), Some(second(30)), (30, 137)),
        (json!({}), sleeping, Some(second(90)), (60, 0)),
        (json!({"kubelab.dev/stop-time": "4s"}), nginx(), Some(second(30)), (4, 0)),
        (json!({"kubelab.dev/stop-time": "40s"}), nginx(), Some(second(30)), (30, 137)),
        (json!({"kubelab.dev/stop-time": "never"}), nginx(), Some(second(0)), (0, 137)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::open(folder.path(), annotations.clone(), container);
        rig.create();
        let run = rig.start(0).await;
        if let Some(grace) = stop {
            rig.runtime.stop(UID, &run.id, grace);
        }
        assert_eq!(rig.ended().await, expected, "{annotations} {stop:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn stopping_again_with_less_time_ends_sooner_and_with_more_does_not_end_later() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), json!({"kubelab.dev/stop-time": "never"}), nginx());
    rig.create();
    let run = rig.start(0).await;
    for grace in [30, 5, 60] {
        rig.runtime.stop(UID, &run.id, Duration::from_secs(grace));
    }
    assert_eq!(rig.ended().await, (5, 137));
}

#[tokio::test(start_paused = true)]
async fn who_needs_more_memory_than_he_may_have_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let limited = json!({"name": "web", "image": "nginx", "resources": {"limits": {"cpu": "1", "memory": "100Mi"}}});
    let rig = Rig::open(
        folder.path(),
        json!({"kubelab.dev/memory-usage": "0s:0,20s:200Mi", "kubelab.dev/cpu-usage": "3"}),
        limited,
    );
    rig.create();
    rig.start(0).await;
    let used = rig.runtime.usage(UID, "web").unwrap();
    assert_eq!(used.cpu_nanocores, 1_000_000_000, "no more than its limit");
    assert_eq!(rig.ended().await, (10, 137));
    assert_eq!(rig.latest().exit.unwrap().reason(), "OOMKilled");
    assert_eq!(rig.runtime.usage(UID, "web"), None);
}

fn script(text: &str) -> Value {
    json!({"name": "web", "image": "busybox", "command": ["sh", "-c", text]})
}

#[tokio::test(start_paused = true)]
async fn a_script_ends_its_container_as_it_ends_itself() {
    for (text, stop, expected) in [
        ("sleep 3; test -f /nowhere || exit 4", None, (3, 4)),
        ("touch /tmp/x; sleep 2; test -f /tmp/x && exit 5", None, (2, 5)),
        ("for i in 1 2 3; do sleep 1; done; cat /nowhere", None, (3, 1)),
        ("until test -f /data/x; do sleep 1; touch /data/x; done", None, (1, 0)),
        ("sleep 99 & sleep 2", None, (2, 0)),
        ("no-such-program", None, (0, 127)),
        ("if then", None, (0, 2)),
        ("kill 1; sleep 5", None, (5, 0)),
        // As process 1 a shell has no handler for SIGTERM, unless it says so.
        ("echo hi; sleep 60", Some(20), (20, 137)),
        ("trap 'exit 3' TERM; while true; do sleep 4; done", Some(20), (4, 3)),
        ("trap 'exit 3' TERM; sleep 60 & wait", Some(20), (0, 3)),
        ("trap '' TERM; sleep 9 & wait", Some(20), (9, 0)),
        ("trap 'exit 3' TERM; sleep 60", Some(20), (20, 137)),
        ("trap 'touch /data/x' TERM; while ! test -f /data/x; do sleep 1; done; sleep 5; exit 7", Some(20), (6, 7)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::open(folder.path(), json!({}), script(text));
        rig.create();
        let run = rig.start(0).await;
        if let Some(grace) = stop {
            // Not before the script has come to its first wait.
            tokio::time::sleep(Duration::from_millis(1)).await;
            rig.runtime.stop(UID, &run.id, Duration::from_secs(grace));
        }
        assert_eq!(rig.ended().await, expected, "{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn each_run_begins_with_the_images_files_and_the_volumes() {
    let folder = tempfile::tempdir().unwrap();
    let counts = "echo x >> /tmp/own; echo x >> /data/kept; exit $(( $(cat /tmp/own | wc -l) * 10 + $(cat /data/kept | wc -l) ))";
    let rig = Rig::open(folder.path(), json!({}), script(counts));
    rig.create();
    for attempt in 0..3 {
        rig.start(attempt).await;
        assert_eq!(rig.ended().await.1, 11 + i32::try_from(attempt).unwrap());
    }
}

#[tokio::test(start_paused = true)]
async fn a_script_may_end_with_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let server =
        json!({"name": "web", "image": "nginx", "command": ["sh", "-c", "sleep 5; exec nginx -g 'daemon off;'"]});
    let rig = Rig::open(folder.path(), json!({}), server);
    rig.create();
    let run = rig.start(0).await;
    let address: SocketAddr = "10.244.1.7:80".parse().unwrap();
    assert!(rig.runtime.dial(address.into()).is_err());
    tokio::time::sleep(Duration::from_secs(6)).await;
    assert!(rig.runtime.dial(address.into()).is_ok());
    rig.runtime.stop(UID, &run.id, Duration::from_secs(30));
    assert_eq!(rig.ended().await, (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_program_that_is_not_there_cannot_be_started() {
    for (command, image, why) in [
        ("foo", "busybox", "exec: \"foo\": executable file not found in $PATH"),
        ("/opt/run", "busybox", "exec: \"/opt/run\": stat /opt/run: no such file or directory"),
        ("/tmp", "busybox", "exec: \"/tmp\": is a directory: permission denied"),
        ("sh", "registry.k8s.io/pause:3.10", "exec: \"sh\": executable file not found in $PATH"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::open(folder.path(), json!({}), json!({"name": "web", "image": image, "command": [command]}));
        rig.create();
        let container = rig.pod.spec.as_ref().unwrap().containers[0].clone();
        let launch = Launch { pod: rig.pod.clone(), container, attempt: 0, env: Vec::new(), mounts: Vec::new() };
        let error = rig.runtime.start(launch).await.unwrap_err().to_string();
        assert!(error.ends_with(why), "{error}");
        let exit = rig.latest().exit.unwrap();
        assert_eq!((exit.code, exit.reason()), (128, "StartError"));
    }
}

#[tokio::test(start_paused = true)]
async fn an_image_is_pulled_once() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), json!({"kubelab.dev/pull-time": "10s"}), nginx());
    let container = &rig.pod.spec.as_ref().unwrap().containers[0];
    for seconds in [10, 2] {
        let began = Instant::now();
        let image = rig.runtime.pull(&rig.pod, container).await.unwrap();
        assert_eq!((began.elapsed().as_secs(), image.name.as_str()), (seconds, "docker.io/library/nginx:latest"));
    }
    assert_eq!(Simulated::open("node-1", folder.path(), 1.0, Arc::default()).unwrap().images(), rig.runtime.images());
    let bad = Rig::open(folder.path(), json!({"kubelab.dev/pull-error": "no disk"}), nginx());
    assert_eq!(bad.runtime.pull(&bad.pod, container).await, Err("no disk".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn the_latest_two_runs_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), json!({"kubelab.dev/exit-code": "1"}), nginx());
    rig.create();
    for attempt in 0..4 {
        rig.start(attempt).await;
        rig.ended().await;
    }
    let sandbox = rig.runtime.sandbox(UID).unwrap();
    let attempts: Vec<u32> = sandbox.containers.iter().map(|run| run.attempt).collect();
    assert_eq!(attempts, [2, 3]);
    assert_eq!(sandbox.previous("web").unwrap().attempt, 2);
}

#[tokio::test(start_paused = true)]
async fn a_restarted_runtime_has_the_same_containers() {
    let folder = tempfile::tempdir().unwrap();
    let ends = json!({"kubelab.dev/exit-after": "50ms", "kubelab.dev/exit-code": "4"});
    for (annotations, ended) in [(json!({}), false), (ends, true)] {
        let before = Rig::open(folder.path(), annotations, nginx());
        before.create();
        let run = before.start(0).await;
        let pod = before.pod.clone();
        drop(before);
        // Real time, because it is by the wall clock that a container has ended while nobody looked.
        std::thread::sleep(Duration::from_millis(60));
        let mut after = Rig::open(folder.path(), json!({}), nginx());
        after.pod = pod;
        if ended {
            assert_eq!(after.ended().await, (0, 4));
        }
        let again = after.latest();
        let started = |run: &Container| run.started_at.0.as_microsecond();
        assert_eq!((&again.id, started(&again), again.is_running()), (&run.id, started(&run), !ended));
        assert!(after.runtime.dial("10.244.1.7:80".parse::<SocketAddr>().unwrap().into()).is_ok() != ended);
        after.runtime.remove(UID);
        assert!(Simulated::open("node-1", folder.path(), 1.0, Arc::default()).unwrap().pods().is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_start_that_is_given_up_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), json!({"kubelab.dev/start-time": "1m"}), nginx());
    rig.create();
    assert!(tokio::time::timeout(Duration::from_secs(30), rig.start(0)).await.is_err());
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(rig.runtime.sandbox(UID).unwrap().containers.is_empty());
    rig.runtime.remove(UID);
    let launch = Launch {
        pod: rig.pod.clone(),
        container: rig.pod.spec.as_ref().unwrap().containers[0].clone(),
        attempt: 0,
        env: Vec::new(),
        mounts: Vec::new(),
    };
    assert_eq!(rig.runtime.start(launch).await, Err(StartError::NoSandbox));
}

#[tokio::test(start_paused = true)]
async fn probes_find_what_the_container_does() {
    use crate::probe::{Action, Kind, Target, http::Get};
    let folder = tempfile::tempdir().unwrap();
    let address: IpAddr = "10.244.1.7".parse().unwrap();
    let http = |port: u16| {
        let get = serde_json::from_value(json!({"port": port, "path": "/health"})).unwrap();
        Action::Http(Get::new(&get, &Default::default(), address, "probe").unwrap())
    };
    let tcp = |port| Action::Tcp(Target { host: address.to_string(), port });
    let exec = |command: &str| Action::Exec(command.split(' ').map(str::to_owned).collect());
    let well = || Answer::Success;
    let bad = |why: &str| Answer::Failure(why.to_owned());
    let forced = |kind: &str, answer: &str| json!({format!("kubelab.dev/probe-{kind}"): answer});
    for (annotations, kind, action, expected) in [
        (json!({}), Kind::Readiness, http(80), well()),
        (json!({}), Kind::Readiness, tcp(80), well()),
        (json!({}), Kind::Readiness, exec("cat /etc/hostname"), well()),
        (json!({}), Kind::Liveness, exec("mysqladmin ping"), well()),
        (json!({}), Kind::Liveness, exec("cat /tmp/healthy"), bad("cat: /tmp/healthy: No such file or directory\n")),
        (
            json!({}),
            Kind::Readiness,
            http(81),
            bad("Get \"http://10.244.1.7:81/health\": dial tcp 10.244.1.7:81: connect: connection refused"),
        ),
        (json!({}), Kind::Liveness, tcp(81), bad("dial tcp 10.244.1.7:81: connect: connection refused")),
        (
            json!({"kubelab.dev/ready-after": "1h"}),
            Kind::Readiness,
            http(80),
            bad("HTTP probe failed with statuscode: 503"),
        ),
        (forced("readiness", "fail"), Kind::Readiness, http(80), bad("HTTP probe failed with statuscode: 503")),
        (forced("readiness", "fail"), Kind::Liveness, http(80), well()),
        (forced("liveness", "fail"), Kind::Liveness, http(80), bad("HTTP probe failed with statuscode: 500")),
        (forced("startup", "pass"), Kind::Startup, http(81), well()),
        (forced("liveness", "timeout"), Kind::Liveness, tcp(80), bad("dial tcp 10.244.1.7:80: i/o timeout")),
        (
            forced("liveness", "timeout"),
            Kind::Liveness,
            exec("cat /tmp/healthy"),
            bad("command timed out: \"cat /tmp/healthy\" timed out after 1s"),
        ),
        (json!({}), Kind::Liveness, exec("sleep 9"), bad("command timed out: \"sleep 9\" timed out after 1s")),
    ] {
        let rig = Rig::open(folder.path(), annotations.clone(), nginx());
        rig.create();
        let run = rig.start(0).await;
        let check = Check { kind, action, timeout: Duration::from_secs(1) };
        let began = Instant::now();
        assert_eq!(rig.runtime.probe(UID, &run.id, &check).await, expected, "{annotations} {check:?}");
        let timed_out = format!("{annotations} {expected:?}").contains("time");
        assert_eq!(began.elapsed(), if timed_out { check.timeout } else { Duration::ZERO });
        rig.runtime.remove(UID);
    }
}

#[tokio::test(start_paused = true)]
async fn an_annotation_changes_the_health_of_a_running_container() {
    use crate::probe::{Action, Kind, Target};
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::open(folder.path(), json!({}), nginx());
    rig.create();
    let run = rig.start(0).await;
    let mut pod = (*rig.pod).clone();
    pod.metadata.annotations = Some([("kubelab.dev/probe-liveness".to_owned(), "fail".to_owned())].into());
    rig.runtime.update(&pod);
    let action = Action::Tcp(Target { host: "10.244.1.7".to_owned(), port: 80 });
    let check = Check { kind: Kind::Liveness, action, timeout: Duration::from_secs(1) };
    assert_ne!(rig.runtime.probe(UID, &run.id, &check).await, Answer::Success);
}
