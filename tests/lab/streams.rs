//! Logs, programs in containers, forwarded ports and proxied requests, through kubectl old and new and the `kube` crate.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Stdio},
};

use futures::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api,
    api::{AttachParams, LogParams},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{KUBECTLS, Kubectl, Lab, Seen, wait_for};

const PODS: &str = r#"
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  containers: [{name: web, image: nginx, ports: [{containerPort: 80}], env: [{name: COLOR, value: blue}]}]
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{name: http, port: 8080, targetPort: 80}]}
---
apiVersion: v1
kind: Pod
metadata: {name: pair, labels: {app: pair}}
spec:
  containers:
  - {name: one, image: busybox, command: [sh, -c, "echo from one; sleep 3600"]}
  - {name: two, image: busybox, command: [sh, -c, "for i in 1 2 3 4 5; do echo line $i; done; echo problem >&2; sleep 3600"]}
---
apiVersion: v1
kind: Pod
metadata: {name: ticker}
spec:
  containers: [{name: ticker, image: busybox, command: [sh, -c, "i=0; while true; do i=$((i+1)); echo tick $i; sleep 0.2; done"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: crasher}
spec:
  containers: [{name: crasher, image: busybox, command: [sh, -c, "echo about to fail; sleep 1; exit 3"]}]
---
apiVersion: v1
kind: Pod
metadata: {name: missing}
spec:
  containers: [{name: missing, image: "nginx:missing"}]
"#;

fn lab() -> Lab {
    let lab = Lab::with(&["--apiservers", "1", "--nodes", "1"]);
    let kubectl = lab.kubectl();
    kubectl.run_with("apply -f -", PODS);
    kubectl.run("wait pod/web pod/pair pod/ticker --for=condition=Ready --timeout=120s");
    lab
}

#[test]
fn logs_are_read_in_every_way() {
    let lab = lab();
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        assert_eq!(kubectl.run("logs pair -c one"), "from one\n");
        assert_eq!(kubectl.run("logs pair -c two --tail=3"), "line 4\nline 5\nproblem\n");
        assert_eq!(kubectl.run("logs pair -c two --limit-bytes=8"), "line 1\nl");
        assert_eq!(kubectl.run("logs pair -c two --since-time=2100-01-01T00:00:00Z"), "");
        let all = kubectl.run("logs pair --all-containers --prefix");
        assert!(all.contains("[pod/pair/one] from one\n") && all.contains("[pod/pair/two] line 5\n"), "{all}");
        assert!(kubectl.run("logs -l app=pair -c one").contains("from one"));
        let stamped = kubectl.run("logs pair -c one --timestamps");
        let (time, text) = stamped.split_once(' ').unwrap();
        assert_eq!((time.len(), text), ("2026-11-27T10:00:00.000000000Z".len(), "from one\n"));

        kubectl.wait_until("logs crasher", |text| text.contains("about to fail"));
        kubectl.wait_until("logs crasher --previous", |text| text.contains("about to fail"));
        let refused = kubectl.fail("logs web --previous", "");
        assert_eq!(
            refused,
            "Error from server (BadRequest): previous terminated container \"web\" in pod \"web\" not found\n"
        );
        let waiting = kubectl.fail("logs missing", "");
        assert!(waiting.contains("container \"missing\" in pod \"missing\" is waiting to start: "), "{waiting}");
        let raw = kubectl.fail("get --raw /api/v1/namespaces/default/pods/pair/log", "");
        assert!(raw.contains("a container name must be specified for pod pair, choose one of: [one two]"), "{raw}");

        let mut follow = kubectl.command();
        let mut follow = follow.args(["logs", "-f", "ticker", "--tail=1"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(follow.stdout.take().unwrap()).lines();
        let number = |line: String| line.strip_prefix("tick ").unwrap().parse::<u32>().unwrap();
        let first = number(lines.next().unwrap().unwrap());
        assert_eq!(number(lines.next().unwrap().unwrap()), first + 1, "they come one after the other");
        assert_eq!(number(lines.next().unwrap().unwrap()), first + 2);
        end(follow);
    }
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn programs_run_in_containers() {
    let lab = lab();
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        assert_eq!(kubectl.run("exec web -- echo hello"), "hello\n");
        assert_eq!(kubectl.run("exec web -- hostname"), "web\n");
        assert!(kubectl.run("exec web -- env").contains("COLOR=blue\n"));
        assert_eq!(kubectl.run_with("exec -i web -- cat", "through\n"), "through\n");
        assert_eq!(kubectl.run_with("exec -i pair -c two -- sh", "cd /tmp\npwd\n"), "/tmp\n");
        let (code, _, err) = kubectl.exit("exec web -- sh -c 'echo wrong >&2; exit 3'", "");
        assert_eq!((code, err.as_str()), (Some(3), "wrong\ncommand terminated with exit code 3\n"));
        let (code, out, _) = kubectl.exit("exec web -- nothere", "");
        assert_eq!(code, Some(127));
        assert!(out.contains("exec: \"nothere\": executable file not found in $PATH: unknown"), "{out}");
        let absent = kubectl.fail("exec crasher -c nobody -- true", "");
        assert!(absent.contains("container nobody is not valid for pod crasher"), "{absent}");
        let waiting = kubectl.fail("exec missing -- true", "");
        assert!(waiting.contains("unable to upgrade connection: container not found (\"missing\")"), "{waiting}");

        let megabyte = "0123456789abcdef".repeat(1 << 16);
        assert_eq!(kubectl.run_with("exec -i web -- wc -c", &megabyte), "1048576\n");
        assert_eq!(kubectl.run("exec web -- seq 100000").lines().count(), 100_000);

        let file = lab.data_dir().join(format!("copied-{version}"));
        std::fs::write(&file, "copied\n").unwrap();
        kubectl.run(&format!("cp {} web:/tmp/copied-{version}", file.display()));
        assert_eq!(kubectl.run(&format!("exec web -- cat /tmp/copied-{version}")), "copied\n");
        let back = file.with_extension("back");
        kubectl.run(&format!("cp web:/tmp/copied-{version} {}", back.display()));
        assert_eq!(std::fs::read_to_string(back).unwrap(), "copied\n");
    }
}

#[test]
fn people_type_into_containers() {
    let lab = lab();
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        let shell = terminal(&kubectl, "exec -it web -- bash", "cd /tmp; echo $((6*7))\nexit 4\n");
        assert!(shell.contains("root@web:/# ") && shell.contains("42"), "{shell:?}");
        let name = format!("visitor-{}", version.replace('.', "-"));
        let run = terminal(
            &kubectl,
            &format!("run {name} -it --rm --restart=Never --image=busybox"),
            "\necho $((6*7))\nexit\n",
        );
        assert!(run.contains("42"), "{run:?}");
        kubectl.wait_until(&format!("get pod {name}"), |text| text.contains("NotFound"));
        let piped = kubectl.run_with(&format!("run {name} -i --rm --restart=Never --image=busybox -- cat"), "piped\n");
        assert!(piped.contains("piped"), "{piped}");
        let debug = terminal(
            &kubectl,
            &format!("debug -it web --image=busybox --container=d-{name}"),
            "\necho $((6*7))\nexit\n",
        );
        assert!(debug.contains("42"), "{debug:?}");

        let mut attach = kubectl.command();
        let mut attach =
            attach.args(["attach", "ticker"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(attach.stdout.take().unwrap()).lines();
        assert!(lines.next().unwrap().unwrap().starts_with("tick "));
        end(attach);
    }
}

/// Runs kubectl on a terminal, which `script` makes, and types.
fn terminal(kubectl: &Kubectl, arguments: &str, keys: &str) -> String {
    let command = kubectl.command();
    let mut words: Vec<String> = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|argument| argument.to_string_lossy().into_owned()));
    let line = format!("{} {arguments}", words.join(" "));
    let mut script = std::process::Command::new("script");
    script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = script.spawn().expect("these tests need `script` (util-linux)");
    let mut stdin = child.stdin.take().unwrap();
    let keys = keys.to_owned();
    let mut out = child.stdout.take().unwrap();
    let mut seen = String::new();
    let mut block = [0; 4096];
    let mut typed = false;
    loop {
        match out.read(&mut block) {
            Ok(0) | Err(_) => break,
            Ok(count) => seen.push_str(&String::from_utf8_lossy(&block[..count])),
        }
        // Somebody who waits for a prompt before he types.
        if !typed && (seen.contains("# ") || seen.contains("press")) {
            stdin.write_all(keys.as_bytes()).unwrap();
            typed = true;
        }
    }
    child.wait().unwrap();
    seen
}

#[test]
fn ports_and_pages_are_reached() {
    let lab = lab();
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        for (target, port) in [("pod/web", 80), ("service/web", 8080)] {
            let (forward, _lines, local) = forward(&kubectl, target, port);
            for _ in 0..3 {
                let answer = get(local, "/x");
                assert!(answer.contains("Server name: web") && answer.contains("URI: /x"), "{answer}");
            }
            end(forward);
        }
        assert_eq!(kubectl.run("get --raw /api/v1/nodes/node-1/proxy/healthz"), "ok");
        assert!(kubectl.run("get --raw /api/v1/nodes/node-1/proxy/pods").contains("\"name\":\"web\""));
        assert!(kubectl.run("get --raw /api/v1/nodes/node-1/proxy/metrics").contains("kubelet_running_pods"));
        for path in [
            "pods/web/proxy/x?y=1",
            "pods/web:80/proxy/x?y=1",
            "services/web:http/proxy/x?y=1",
            "services/web:8080/proxy/x?y=1",
        ] {
            let page = kubectl.run(&format!("get --raw /api/v1/namespaces/default/{path}"));
            assert!(page.contains("URI: /x?y=1") && page.contains("Server name: web"), "{path}: {page}");
        }
        for (path, why) in [
            ("pods/web:81/proxy/", "connect: connection refused"),
            ("services/web:none/proxy/", "no service port \"none\" found for service \"web\""),
            ("services/kubernetes/proxy/", "no endpoints available for service \"kubernetes\""),
        ] {
            let refused = kubectl.fail(&format!("get --raw /api/v1/namespaces/default/{path}"), "");
            assert!(refused.contains("ServiceUnavailable") && refused.contains(why), "{path}: {refused}");
        }
        let mut proxy = kubectl.command();
        let mut proxy = proxy.args(["proxy", "--port=0"]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(proxy.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let port = line.trim().rsplit(':').next().unwrap().parse().unwrap();
        let page = get(port, "/api/v1/namespaces/default/services/web:http/proxy/through");
        assert!(page.contains("URI: /through"), "{page}");
        end(proxy);
    }
    assert!(lab.kubectl().run("logs web").contains("\"GET /through HTTP/1.1\" 200 "), "servers log who asks");
}

/// What kubectl prints is kept: a program without a reader ends when it prints its next line.
fn forward(kubectl: &Kubectl, target: &str, port: u16) -> (Child, impl BufRead, u16) {
    let mut command = kubectl.command();
    let mut child = command.args(["port-forward", target, &format!(":{port}")]).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    lines.read_line(&mut line).unwrap();
    let local = line.split("127.0.0.1:").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
    (child, lines, local.parse().unwrap())
}

fn get(port: u16, path: &str) -> String {
    wait_for("an answer", || {
        let ask = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", port))?;
            stream.set_read_timeout(Some(std::time::Duration::from_secs(20)))?;
            write!(stream, "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        };
        ask().map_err(|error| Seen(error.to_string()))
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kube_crate_streams() {
    let lab = tokio::task::spawn_blocking(lab).await.unwrap();
    let pods: Api<Pod> = Api::default_namespaced(lab.client().await);
    let log = pods.logs("pair", &LogParams { container: Some("one".into()), ..LogParams::default() }).await.unwrap();
    assert_eq!(log, "from one\n");
    let follow = LogParams { follow: true, tail_lines: Some(1), ..LogParams::default() };
    let lines: Vec<String> =
        pods.log_stream("ticker", &follow).await.unwrap().lines().take(3).try_collect().await.unwrap();
    assert!(lines.iter().all(|line| line.starts_with("tick ")), "{lines:?}");

    let params = AttachParams::default().stdin(true).stderr(false);
    let mut cat = pods.exec("web", ["cat"], &params).await.unwrap();
    let mut stdin = cat.stdin().unwrap();
    stdin.write_all(b"hello").await.unwrap();
    let mut echoed = [0; 5];
    cat.stdout().unwrap().read_exact(&mut echoed).await.unwrap();
    assert_eq!(&echoed, b"hello");
    cat.abort();

    let mut failing = pods.exec("web", ["sh", "-c", "exit 5"], &AttachParams::default()).await.unwrap();
    let status = failing.take_status().unwrap().await.unwrap();
    let causes = status.details.unwrap().causes.unwrap();
    assert_eq!((status.reason.as_deref(), causes[0].message.as_deref()), (Some("NonZeroExitCode"), Some("5")));

    let mut attached = pods.attach("ticker", &AttachParams::default().stderr(false)).await.unwrap();
    let mut tick = [0; 5];
    attached.stdout().unwrap().read_exact(&mut tick).await.unwrap();
    assert_eq!(&tick, b"tick ");
    attached.abort();

    let mut forwarder = pods.portforward("web", &[80]).await.unwrap();
    let mut port = forwarder.take_stream(80).unwrap();
    port.write_all(b"GET /kube HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    port.read_to_end(&mut answer).await.unwrap();
    assert!(String::from_utf8_lossy(&answer).contains("URI: /kube"));
}
