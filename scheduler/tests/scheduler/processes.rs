use std::{
    net::TcpListener,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use k8s_openapi::api::coordination::v1::Lease;
use kubelab_client::Client;
use tokio::time::timeout;

use crate::{
    bound,
    fake::{Fake, FakeServer},
    node, pod,
};

/// A scheduler that dies with the test.
struct Scheduler(Child);

impl Drop for Scheduler {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn scheduler(name: &str, fake: &Fake, server: &FakeServer) -> Scheduler {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let connection = fake.connection(&[server]);
    let mut command = Command::new(env!("CARGO_BIN_EXE_scheduler"));
    command
        .args(["--name", name, "--metrics-listen", &port.to_string(), "--apiservers", &connection.apiservers[0]])
        .args(["--leader-elect-lease-duration", "2s", "--leader-elect-renew-deadline", "1500ms"])
        .args(["--leader-elect-retry-period", "200ms"])
        .arg("--certificate-authority")
        .arg(connection.certificate_authority)
        .arg("--client-certificate")
        .arg(connection.client_certificate)
        .arg("--client-key")
        .arg(connection.client_key)
        .stderr(Stdio::null());
    Scheduler(command.spawn().unwrap())
}

async fn leader(client: &Client, prefix: &str) {
    let wait = async {
        loop {
            let lease = client.get::<Lease>("kube-system", "kube-scheduler").await;
            let holder = lease.ok().and_then(|lease| lease.spec?.holder_identity).unwrap_or_default();
            if holder.starts_with(prefix) {
                return;
            }
        }
    };
    timeout(Duration::from_secs(30), wait).await.unwrap_or_else(|_| panic!("{prefix} does not lead in time"));
}

#[tokio::test]
async fn a_standby_takes_over_from_a_killed_and_from_a_stopped_leader() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    fake.put("nodes", node("node-1"));

    let mut one = scheduler("one", &fake, &server);
    leader(&client, "one_").await;
    let _two = scheduler("two", &fake, &server);
    fake.put("pods", pod("a", "10m"));
    bound(&client, 1).await;

    one.0.kill().unwrap();
    fake.put("pods", pod("b", "10m"));
    bound(&client, 2).await;
    leader(&client, "two_").await;

    let mut three = scheduler("three", &fake, &server);
    drop(_two);
    leader(&client, "three_").await;
    let pid = rustix::process::Pid::from_child(&three.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let stopped = Instant::now();
    assert!(three.0.wait().unwrap().success());
    leader(&client, "").await;
    assert!(stopped.elapsed() < Duration::from_secs(5));
    let lease: Lease = client.get("kube-system", "kube-scheduler").await.unwrap();
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some(""), "an orderly end releases the lease");
}

#[tokio::test]
async fn a_leader_outlives_the_apiservers_absence() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    fake.put("nodes", node("node-1"));
    let mut only = scheduler("only", &fake, &server);
    leader(&client, "only_").await;
    fake.put("pods", pod("a", "10m"));
    bound(&client, 1).await;

    let address = server.address;
    server.kill();
    fake.put("pods", pod("b", "10m"));
    // The absence itself is what is tested: it is longer than a leader may go on without a renewal.
    tokio::time::sleep(Duration::from_secs(2)).await;
    let _server = fake.serve_at(address);
    bound(&client, 2).await;
    assert!(only.0.try_wait().unwrap().is_none(), "it is the same process");
}
