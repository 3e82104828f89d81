//! Scripts and what comes of them, on tokio's paused clock.
#![allow(clippy::unwrap_used)]
#![allow(clippy::disallowed_methods)] // the paused clock is tokio's

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tempfile::TempDir;
use tokio::{sync::mpsc, time::Instant};

use super::{
    files::Files,
    session::{Session, run},
    streams::{Fd, Output},
    traps::Signals,
    world::{Past, World},
};
use crate::{
    behavior::{foreign::Foreign, images::Userland},
    network::{Dialer, Nowhere},
    pod::identity::Identity,
};

pub(crate) struct Rig {
    pub(crate) network: Arc<dyn Dialer>,
    folder: TempDir,
    userland: Userland,
    image: &'static str,
    is_own: bool,
}

impl Rig {
    pub(crate) fn new() -> Self {
        Self {
            network: Arc::new(Nowhere),
            folder: tempfile::tempdir().unwrap(),
            userland: Userland::Busybox,
            image: "busybox",
            is_own: false,
        }
    }

    fn world(&self, past: Duration) -> Arc<World> {
        let files =
            Files::new(self.folder.path().join("root"), [("/data".to_owned(), self.folder.path().join("data"))]);
        files.prepare(&["/tmp", "/etc", "/root"], &[("/etc/hostname", "web-0\n".to_owned())]).unwrap();
        Arc::new(World {
            files,
            hostname: "web-0".to_owned(),
            address: "10.244.1.2".to_owned(),
            network: self.network.clone(),
            identity: Identity { groups: [0].into(), ..Identity::default() },
            env: vec![("COLOR".to_owned(), "blue".to_owned())],
            working_dir: "/".to_owned(),
            userland: self.userland,
            command: "sleep 3600".to_owned(),
            signal: Box::new(|_| {}),
            foreign: Foreign { image: self.image.to_owned(), ..Foreign::default() },
            is_own: self.is_own,
            signals: Signals::default(),
            listen: Box::new(|_| {}),
            accept: Box::new(|_| None),
            past: Arc::new(Past::new(past)),
        })
    }

    /// What a command writes, and its status.
    async fn exec(&self, command: &[&str], stdin: &str) -> (String, i32) {
        let (text, status) = self.exec_on(command, stdin, false).await;
        (text, status)
    }

    async fn exec_on(&self, command: &[&str], stdin: &str, tty: bool) -> (String, i32) {
        let (out, mut chunks) = mpsc::channel(16);
        let (keys, input) = mpsc::channel(16);
        let session = Session {
            command: command.iter().map(|word| (*word).to_owned()).collect(),
            tty,
            stdin: Some(input),
            stdout: Output::Pipe(out.clone(), Fd::Stdout),
            stderr: Output::Pipe(out, Fd::Stderr),
        };
        keys.send(Bytes::copy_from_slice(stdin.as_bytes())).await.unwrap();
        if !tty {
            drop(keys);
        }
        let written = tokio::spawn(async move {
            let mut text = Vec::new();
            while let Some(chunk) = chunks.recv().await {
                text.extend_from_slice(&chunk.data);
            }
            String::from_utf8(text).unwrap()
        });
        let status = run(self.world(Duration::ZERO), session).await;
        (written.await.unwrap(), status)
    }

    /// A container with GNU's programs.
    pub(crate) fn gnu() -> Self {
        Self { userland: Userland::Gnu, image: "debian", ..Self::new() }
    }

    pub(crate) async fn bash(&self, script: &str) -> (String, i32) {
        self.exec(&["bash", "-c", script], "").await
    }

    pub(crate) async fn sh(&self, script: &str) -> (String, i32) {
        self.exec(&["sh", "-c", script], "").await
    }
}

#[tokio::test(start_paused = true)]
async fn scripts_do_what_they_say() {
    let rig = Rig::new();
    for (script, expected, status) in [
        ("echo hello world", "hello world\n", 0),
        ("echo -n a; echo -e 'b\\tc'", "ab\tc\n", 0),
        ("printf '%s=%03d\\n' a 7 b 8", "a=007\nb=008\n", 0),
        ("echo $COLOR \"$COLOR\" '$COLOR' ${COLOR:-x} ${NONE:-none} ${#COLOR}", "blue blue $COLOR blue none 4\n", 0),
        ("x=1; y=$((x + 2)); echo $y $((y * y))", "3 9\n", 0),
        ("f=/a/b.tar.gz; echo ${f##*/} ${f%.*} ${f%%.*} ${f#/a}", "b.tar.gz /a/b.tar /a/b /b.tar.gz\n", 0),
        ("true && echo yes || echo no; false && echo yes || echo no", "yes\nno\n", 0),
        ("! true; echo $?", "1\n", 0),
        ("for i in 1 2 3; do echo -n $i; done; echo", "123\n", 0),
        ("i=0; while [ $i -lt 3 ]; do i=$((i+1)); [ $i = 2 ] && continue; echo $i; done", "1\n3\n", 0),
        ("until false; do break; done; echo done", "done\n", 0),
        ("if [ -f /etc/hostname ]; then echo file; else echo none; fi", "file\n", 0),
        ("case web-0 in db*) echo db;; web-*) echo web;; esac", "web\n", 0),
        ("f() { echo \"$1:$#\"; return 3; }; f a b; echo $?", "a:2\n3\n", 0),
        ("echo $(echo inner | cat)", "inner\n", 0),
        ("echo one > /tmp/x; echo two >> /tmp/x; cat /tmp/x; wc -l < /tmp/x", "one\ntwo\n2\n", 0),
        ("cat /nowhere 2>&1", "cat: can't open '/nowhere': No such file or directory\n", 1),
        ("ls /none", "ls: /none: No such file or directory\n", 1),
        ("echo lost > /dev/null; cat <<END\n$COLOR\nEND", "blue\n", 0),
        ("seq 3 | sort -r | head -n 2", "3\n2\n", 0),
        ("yes | head -n 2", "y\ny\n", 0),
        ("yes | head -c 3; echo; printf ab | head -c9", "y\ny\nab", 0),
        ("printf 'a\\nb\\nab\\n' | grep a | wc -l", "2\n", 0),
        (
            "mkdir -p /tmp/a/b && touch /tmp/a/1 /tmp/a/2 && cd /tmp/a && ls && echo * && pwd",
            "1\n2\nb\n1 2 b\n/tmp/a\n",
            0,
        ),
        ("set -e; false; echo never", "", 1),
        ("exit 7; echo never", "", 7),
        ("(exit 4); echo $?", "4\n", 0),
        ("A=1 env | grep ^A=; echo [$A]", "A=1\n[]\n", 0),
        ("hostname; id -u; whoami", "web-0\n0\nroot\n", 0),
        ("nothere", "sh: nothere: not found\n", 127),
        ("echo 'x' | tee /data/f | tr a-z A-Z; cat /data/f", "X\nx\n", 0),
        ("date -u -d @0 '+%Y-%m-%d %H:%M:%S'", "1970-01-01 00:00:00\n", 0),
        ("echo a | while read x; do echo got $x; done", "got a\n", 0),
        ("sleep 5 & wait; echo waited", "waited\n", 0),
        ("[[ web-0 == web-* ]] && echo matches", "matches\n", 0),
        ("test 2 -gt 1 -a -d /tmp && echo both", "both\n", 0),
        ("(sleep 1; exit 3) & wait $!; echo $?", "3\n", 0),
        ("sleep 99 & kill $!; wait $!; echo $?", "143\n", 0),
        ("trap 'echo bye' EXIT; exit 5", "bye\n", 5),
        ("trap 'echo bye; exit 6' 0; echo hi", "hi\nbye\n", 6),
        ("trap 'echo x' TERM; trap", "trap -- 'echo x' TERM\n", 0),
        ("trap x NOPE", "sh: trap: NOPE: invalid signal specification\n", 1),
        ("kill -0 99", "kill: can't kill pid 99: No such process\n", 1),
        ("awk x; echo $?", "kubelab: awk is not simulated; its work is taken to be done\n0\n", 0),
    ] {
        assert_eq!(rig.sh(script).await, (expected.to_owned(), status), "{script}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_program_takes_its_time_by_the_clock() {
    let begun = Instant::now();
    assert_eq!(Rig::new().sh("sleep 90; sleep 0.5m").await.1, 0);
    assert_eq!(begun.elapsed().as_secs(), 120);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_there_is_refused_in_runcs_words() {
    let refused = |program: &str, why: &str| {
        format!(
            "OCI runtime exec failed: exec failed: unable to start container process: exec: \"{program}\": {why}: unknown\n"
        )
    };
    let mut rig = Rig::new();
    for (command, why, status) in [
        ("bash", "executable file not found in $PATH", 127),
        ("cd", "executable file not found in $PATH", 127),
        ("/opt/run", "stat: no such file or directory", 127),
        ("/tmp", "is a directory", 126),
    ] {
        assert_eq!(rig.exec(&[command], "").await, (refused(command, why), status), "{command}");
    }
    rig.userland = Userland::Gnu;
    assert_eq!(rig.exec(&["bash", "-c", "echo $0; nope"], "").await.1, 127);
    rig.userland = Userland::None;
    assert_eq!(rig.exec(&["sh"], "").await.1, 127);
}

#[tokio::test(start_paused = true)]
async fn a_shell_reads_its_commands() {
    let rig = Rig::new();
    let script = "echo one\nfor i in 2 3; do\necho $i\ndone\nexit 5\necho never\n";
    assert_eq!(rig.exec(&["sh"], script).await, ("one\n2\n3\n".to_owned(), 5));
    assert_eq!(rig.exec(&["cat"], "through").await, ("through".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_person_sees_prompts_and_what_he_types() {
    let mut rig = Rig::new();
    let (text, status) = rig.exec_on(&["sh"], "cd /tmp\recho hi\rexit 3\r", true).await;
    assert_eq!(status, 3);
    // Echo and prompts may overtake each other, as on a real terminal; the output is whole.
    assert!(
        text.contains("/ # ") && text.contains("/tmp # ") && text.contains("\r\nhi\r\n") || text.contains("hi\r\n"),
        "{text:?}"
    );
    rig.userland = Userland::Gnu;
    let (text, _) = rig.exec_on(&["bash"], "\x04", true).await;
    assert_eq!(text, "root@web-0:/# exit\r\n");
}

/// In real time: a paused clock would end the sleep before the terminal's thread has brought the interrupt. That may come
/// before the program listens for it.
#[tokio::test]
async fn what_is_interrupted_ends() {
    let rig = Rig::new();
    let (text, status) = rig.exec_on(&["sleep", "1000"], "\x03", true).await;
    assert_eq!((text.as_str(), status), ("^C\r\n", 130));
}

#[tokio::test(start_paused = true)]
async fn a_container_that_goes_on_says_nothing_twice() {
    let rig = Rig { is_own: true, image: "team/backup", ..Rig::new() };
    let world = rig.world(Duration::from_secs(25));
    let (out, mut chunks) = mpsc::channel(64);
    let buffer = Arc::new(Mutex::new(Vec::new()));
    let script = "backup.sh; for i in 1 2 3 4; do echo $i >> /data/log; sleep 10; done; cat /data/log";
    let session = Session {
        command: ["sh", "-c", script].map(str::to_owned).to_vec(),
        tty: false,
        stdin: None,
        stdout: Output::Buffer(buffer.clone()),
        stderr: Output::Pipe(out, Fd::Stderr),
    };
    let begun = Instant::now();
    assert_eq!(run(world, session).await, 0);
    assert_eq!(begun.elapsed().as_secs(), 15, "25 of the 40 seconds were before");
    assert_eq!(String::from_utf8(buffer.lock().unwrap().clone()).unwrap(), "4\n");
    assert!(chunks.recv().await.is_none(), "a program that is not known works in silence");
}

#[tokio::test]
async fn hostile_scripts_cost_little() {
    let rig = Rig::new();
    for script in [
        "(".repeat(50_000),
        "$(".repeat(10_000),
        "{ ".repeat(5_000),
        "`".repeat(9_999),
        "if true; then ".repeat(3_000),
        format!("echo {}", "$((".repeat(2_000)),
        "x".repeat(200_000),
        "f() { f; }; f".to_owned(),
        "echo $(yes)".to_owned(),
        "((((((((((((((((((((1))))))))))))))))))))".to_owned(),
    ] {
        let ended = tokio::time::timeout(Duration::from_secs(20), rig.sh(&script)).await;
        assert!(ended.is_ok(), "{}", &script[..script.len().min(40)]);
    }
    let endless = tokio::time::timeout(Duration::from_millis(300), rig.sh("while :; do :; done")).await;
    assert!(endless.is_err(), "it goes on, but lets others run");
}
