//! `kubelab`'s own commands, and what it says when something is wrong.

use std::net::TcpListener;

use crate::harness::{Lab, Seen, free_port, wait_for};

#[test]
fn a_lab_is_started_shown_broken_mended_and_resumed() {
    let lab = Lab::with(&["--schedulers", "2"]);
    let status = lab.kubelab(&["status"]);
    for part in ["apiserver-3", "raft leader", "elected leader", "standby", "node-3 Ready", "kube-proxy-1"] {
        assert!(status.contains(part), "{part} in\n{status}");
    }
    let pid = lab.pid("kubelet-2");
    assert_eq!(std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap(), "kubelet-2\n");
    assert!(lab.kubelab(&["logs", "apiserver-1"]).len() > 10);
    let kubectl = lab.kubectl();
    kubectl.run("create configmap before --from-literal=a=b");

    let state = |component: &str| {
        let status = lab.status();
        let found = status["components"].as_array().unwrap().iter().find(|c| c["name"] == component).cloned().unwrap();
        found["state"].as_str().unwrap().to_owned()
    };
    let becomes = |component: &str, wanted: &str| {
        wait_for(&format!("{component} {wanted}"), || {
            let now = state(component);
            if now == wanted { Ok(()) } else { Err(Seen(now)) }
        });
    };
    lab.kubelab(&["pause", "apiserver-1"]);
    becomes("apiserver-1", "paused");
    kubectl.run("get configmap before");
    lab.kubelab(&["resume", "apiserver-1"]);
    becomes("apiserver-1", "ready");

    let leader = lab.leader("scheduler-");
    lab.kubelab(&["kill", &leader]);
    becomes(&leader, "killed");
    let other = wait_for("the standby to lead", || {
        let now = lab.leader("scheduler-");
        if now == leader { Err(Seen(now)) } else { Ok(now) }
    });
    assert_ne!(other, leader);
    kubectl.run("run after --image=nginx");
    kubectl.run("wait pod/after --for=condition=Ready --timeout=120s");
    lab.kubelab(&["restart", &leader]);
    becomes(&leader, "ready");

    lab.kubelab(&["add", "node"]);
    kubectl.wait_until("get nodes", |text| text.lines().any(|line| line.contains("node-4") && line.contains(" Ready")));
    lab.kubelab(&["remove", "node", "node-4"]);
    kubectl.wait_until("get nodes", |text| !text.contains("node-4"));

    let pids: Vec<_> =
        lab.status()["components"].as_array().unwrap().iter().map(|c| c["pid"].as_i64().unwrap()).collect();
    lab.kubelab(&["down"]);
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is left");
    }
    lab.up(&[]);
    kubectl.run("get configmap before");
    kubectl.run("wait pod/after --for=condition=Ready --timeout=120s");
}

#[test]
fn labs_run_side_by_side() {
    let (one, other) = (Lab::with(&["--apiservers", "1"]), Lab::with(&["--apiservers", "1"]));
    one.kubectl().run("create configmap here --from-literal=a=b");
    assert!(other.kubectl().fail("get configmap here", "").contains("not found"));
    one.kubelab(&["down"]);
    other.kubectl().run("get nodes");
}

#[test]
fn errors_say_what_to_do() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let says = |arguments: &[&str], words: &str| {
        let output = lab.try_kubelab(arguments);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && text.contains(words), "kubelab {arguments:?} should say {words:?}: {text}");
    };
    says(&["up", "--detach"], "already running");
    says(&["kill", "apiserver-9"], "there are: apiserver-1, scheduler-1");
    says(&["logs", "nobody"], "there is no component \"nobody\"");
    says(&["resume", "scheduler-1"], "is not paused");
    says(&["remove", "node", "node-9"], "there are: node-1");
    says(&["why", "pod"], "KIND/NAME");
    says(&["why", "pod/none"], "nothing is remembered");
    lab.kubelab(&["down"]);
    says(&["status"], "is not running; start it with `kubelab up`");
    says(&["up", "--apiservers", "3"], "this lab has 1 apiservers");

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    says(&["up", "--detach", "--port", &port], "is taken");
    std::fs::write(lab.data_dir().join("supervisor.pid"), "1\n").unwrap();
    lab.up(&[]);

    let empty = tempfile::tempdir().unwrap();
    let output = std::process::Command::new(crate::harness::KUBELAB)
        .args(["status", "--data-dir"])
        .arg(empty.path().join("none"))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("there is no lab in") && text.contains("kubelab up"), "{text}");
    let port = free_port().to_string();
    let output = std::process::Command::new(crate::harness::KUBELAB)
        .args(["up", "--apiservers", "2", "--detach", "--port", &port, "--data-dir"])
        .arg(empty.path())
        .output()
        .unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("1, 3, 5 or 7"));
}

#[test]
fn a_lab_moves_when_another_took_its_addresses() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let path = lab.data_dir().join("lab.json");
    let subnet =
        || serde_json::from_slice::<serde_json::Value>(&std::fs::read(&path).unwrap()).unwrap()["subnet"].clone();
    let first = subnet();
    lab.kubelab(&["down"]);
    let _taken = TcpListener::bind(format!("127.{first}.255.254:10250")).unwrap();
    lab.up(&[]);
    let second = subnet();
    assert_ne!(first, second);
    let address = "{.items[0].status.addresses[0].address}";
    assert_eq!(lab.kubectl().run(&format!("get nodes -o jsonpath={address}")), format!("127.{second}.0.1"));
}

#[test]
fn a_killed_supervisor_leaves_nothing_behind() {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let pids: Vec<_> =
        lab.status()["components"].as_array().unwrap().iter().map(|c| c["pid"].as_i64().unwrap()).collect();
    let supervisor = std::fs::read_to_string(lab.data_dir().join("supervisor.pid")).unwrap();
    let supervisor = rustix::process::Pid::from_raw(supervisor.trim().parse().unwrap()).unwrap();
    rustix::process::kill_process(supervisor, rustix::process::Signal::KILL).unwrap();
    wait_for("its processes to end", || {
        let left: Vec<_> = pids.iter().filter(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()).collect();
        if left.is_empty() { Ok(()) } else { Err(Seen(format!("{left:?} are left"))) }
    });
    lab.up(&[]);
    lab.kubectl().run("get nodes");
}
