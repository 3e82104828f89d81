use std::{
    future::{pending, ready},
    net::TcpListener,
    time::Duration,
};

use k8s_openapi::api::coordination::v1::Lease;
use kubelab_api::error::Reason;
use kubelab_client::{
    Client,
    leader::{Options, Timing, run_until},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout},
};

use crate::fake::Fake;

fn timing() -> Timing {
    Timing {
        lease_duration: Duration::from_secs(2),
        renew_deadline: Duration::from_millis(1500),
        retry_period: Duration::from_millis(200),
    }
}

fn options(identity: &str) -> Options {
    Options { lease: "kube-scheduler".into(), identity: identity.into() }
}

/// Takes part until told to stop; says when it leads.
fn candidate(
    client: Client,
    identity: &'static str,
    leads: mpsc::Sender<&'static str>,
) -> (oneshot::Sender<()>, tokio::task::JoinHandle<Result<Option<()>, kubelab_client::Error>>) {
    let (stop, stopped) = oneshot::channel::<()>();
    let task = tokio::spawn(async move {
        let stopped = async { drop(stopped.await) };
        let lead = || async {
            leads.send(identity).await.unwrap();
            pending::<()>().await
        };
        run_until(&client, options(identity), timing(), stopped, lead).await
    });
    (stop, task)
}

async fn leader(leads: &mut mpsc::Receiver<&'static str>) -> &'static str {
    timeout(Duration::from_secs(10), leads.recv()).await.unwrap().unwrap()
}

#[tokio::test]
async fn one_leads_and_a_standby_takes_over() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    let (leads, mut leading) = mpsc::channel(4);

    let (stop_one, one) = candidate(client.clone(), "one", leads.clone());
    assert_eq!(leader(&mut leading).await, "one");
    let (_stop_two, two) = candidate(client.clone(), "two", leads.clone());
    assert!(timeout(Duration::from_millis(2500), leading.recv()).await.is_err(), "the lease is renewed");

    stop_one.send(()).unwrap();
    assert!(matches!(one.await.unwrap(), Ok(None)));
    let released = Instant::now();
    assert_eq!(leader(&mut leading).await, "two");
    let gap = released.elapsed();
    assert!(gap < Duration::from_millis(1500), "a released lease is free at once, not after {gap:?}");

    let (_stop_three, _three) = candidate(client.clone(), "three", leads.clone());
    two.abort();
    assert_eq!(leader(&mut leading).await, "three", "a dead holder's lease expires");
    let lease: Lease = client.get("kube-system", "kube-scheduler").await.unwrap();
    let spec = lease.spec.unwrap();
    assert_eq!((spec.holder_identity.as_deref(), spec.lease_transitions), (Some("three"), Some(2)));
}

#[tokio::test]
async fn a_leader_that_cannot_renew_stops_before_its_lease_expires() {
    let fake = Fake::new();
    let server = fake.serve();
    let (leads, mut leading) = mpsc::channel(1);
    let (_stop, task) = candidate(fake.client(&[&server]), "one", leads);
    leader(&mut leading).await;
    let killed = Instant::now();
    server.kill();
    let error = task.await.unwrap().unwrap_err();
    assert_eq!(error.message, "lost the lease kube-system/kube-scheduler: no renewal in time");
    assert_eq!(error.reason, Reason::Timeout);
    assert!(killed.elapsed() < timing().lease_duration);
}

#[tokio::test]
async fn the_work_may_end_by_itself() {
    let fake = Fake::new();
    let server = fake.serve();
    let client = fake.client(&[&server]);
    let outcome = run_until(&client, options("one"), timing(), pending(), || ready(7)).await;
    assert_eq!(outcome.unwrap(), Some(7));
    let lease: Lease = client.get("kube-system", "kube-scheduler").await.unwrap();
    assert_eq!(lease.spec.unwrap().holder_identity.as_deref(), Some(""), "released");
}

#[tokio::test]
async fn a_server_that_hangs_is_left_in_time() {
    let fake = Fake::new();
    let server = fake.serve();
    // The kernel takes connections to these, and nobody ever answers.
    let silent = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let mut connection = fake.connection(&[&server]);
    connection.apiservers.extend(silent.iter().map(|listener| format!("https://{}", listener.local_addr().unwrap())));
    let client = Client::new(&connection).unwrap();
    let led = run_until(&client, options("one"), timing(), pending(), || ready(()));
    assert!(timeout(Duration::from_secs(10), led).await.unwrap().unwrap().is_some());
}

#[tokio::test]
async fn timing_that_would_not_be_safe_is_refused() {
    let fake = Fake::new();
    let server = fake.serve();
    let timing = Timing { renew_deadline: Duration::from_secs(2), ..timing() };
    let client = fake.client(&[&server]);
    let outcome = run_until(&client, options("one"), timing, pending(), || ready(()));
    assert_eq!(outcome.await.unwrap_err().message, "the lease duration must be greater than the renew deadline");
}
