//! One active process among several. Source of the protocol and its timing: client-go's `leaderelection`.
//!
//! The holder renews a Lease; everyone else watches it by their own clock, never by the times written in it, and takes it
//! once it has not changed for its duration. Every step is an update with the resourceVersion that was read, so transitions
//! are serialized by the store. A holder that cannot renew stops by its own renew deadline, counted from before its last
//! successful renewal was sent: earlier than anyone else can take over.

use std::{sync::LazyLock, time::Duration};

use clap::Args;
use k8s_openapi::{
    api::coordination::v1::{Lease, LeaseSpec},
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kubelab_api::error::Reason;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, gauge::Gauge},
};
use tokio::time::timeout;

use crate::{
    Client, Error,
    backoff::Backoff,
    clock::{self, Instant},
    metrics::gauges,
};

/// Where control-plane components keep their Leases.
const NAMESPACE: &str = "kube-system";
/// The first wait of a candidate that was refused.
const REFUSED: Duration = Duration::from_millis(15);

/// How to take part.
#[derive(Clone, Debug)]
pub struct Options {
    /// The Lease's name, in `kube-system`: `kube-scheduler`.
    pub lease: String,
    /// This process.
    pub identity: String,
}

/// How long things take. Upstream's defaults are 15 s, 10 s and 2 s, made for slow networks; a lab runs on one machine and
/// shows failover while somebody watches, so kubelab's are a third of that. The order must stay as it is: a holder gives up
/// (`renew_deadline`) before others may take over (`lease_duration`), having tried more than once.
#[derive(Args, Clone, Debug)]
pub struct Timing {
    /// How long others wait after the last renewal they saw before they take the Lease over
    #[arg(long = "leader-elect-lease-duration", default_value = "5s", value_parser = duration)]
    pub lease_duration: Duration,
    /// How long the leader goes on without a successful renewal
    #[arg(long = "leader-elect-renew-deadline", default_value = "3s", value_parser = duration)]
    pub renew_deadline: Duration,
    /// How often the Lease is renewed, or looked at by those who wait
    #[arg(long = "leader-elect-retry-period", default_value = "700ms", value_parser = duration)]
    pub retry_period: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease_duration: Duration::from_secs(5),
            renew_deadline: Duration::from_secs(3),
            retry_period: Duration::from_millis(700),
        }
    }
}

/// How much longer than asked for a wait may be, so that standbys do not collide at every step. Source: client-go's
/// `JitterFactor`.
const JITTER: f64 = 1.2;

impl Timing {
    /// The order that the safety of the election rests on.
    fn check(&self) -> Result<(), Error> {
        if self.lease_duration <= self.renew_deadline {
            return Err(Error::bad_request("the lease duration must be greater than the renew deadline"));
        }
        if self.renew_deadline <= self.retry_period.mul_f64(JITTER) {
            return Err(Error::bad_request("the renew deadline must be greater than 1.2 times the retry period"));
        }
        Ok(())
    }

    /// How long one attempt may take: short enough that a server which hangs can be left for another one in time.
    fn attempt(&self) -> Duration {
        self.renew_deadline / 3
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let span: jiff::SignedDuration = text.parse().map_err(|error| format!("{error}; write it like 5s or 700ms"))?;
    Duration::try_from(span).map_err(|_| "a duration cannot be negative".to_owned())
}

/// Waits until this process leads, then runs `lead` and returns its output; returns an error as soon as leadership is
/// lost, `lead` having been dropped before another process can lead (a holder stops by its own renew deadline).
/// On an orderly end the Lease is released, so that a standby takes over at once.
pub async fn run<F: Future>(client: &Client, options: Options, lead: impl FnOnce() -> F) -> Result<F::Output, Error> {
    match run_until(client, options, Timing::default(), std::future::pending(), lead).await? {
        Some(output) => Ok(output),
        None => Err(Error::internal("leader election stopped without being asked to")),
    }
}

/// The same until `stop` resolves: a standby then just ends, a leader drops `lead` and releases the Lease. `None` if it was
/// stopped.
pub async fn run_until<F: Future>(
    client: &Client,
    options: Options,
    timing: Timing,
    stop: impl Future<Output = ()>,
    lead: impl FnOnce() -> F,
) -> Result<Option<F::Output>, Error> {
    timing.check()?;
    let mut candidate = Candidate { client, options, timing, observed: None, leading: false };
    let status = MASTER_STATUS.get_or_create_owned(&Name { name: candidate.options.lease.clone() });
    status.set(0);
    tokio::pin!(stop);
    let renewed = tokio::select! {
        renewed = candidate.acquire() => renewed,
        () = &mut stop => return Ok(None),
    };
    tracing::info!(lease = candidate.options.lease, "became the leader");
    status.set(1);
    let outcome = {
        let lead = lead();
        tokio::select! {
            biased;
            lost = candidate.keep(renewed) => Err(lost),
            () = stop => Ok(None),
            output = lead => Ok(Some(output)),
        }
    };
    status.set(0);
    if outcome.is_ok() {
        candidate.release().await;
    }
    outcome
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Name {
    name: String,
}

/// Whether this process leads, under client-go's name.
static MASTER_STATUS: LazyLock<Family<Name, Gauge>> = LazyLock::new(|| {
    let help = "Gauge of if the reporting system is master of the relevant lease, 0 indicates backup, 1 indicates \
                master. 'name' is the string used to identify the lease. Please make sure to group by name.";
    gauges("leader_election_master_status", help)
});

struct Candidate<'a> {
    client: &'a Client,
    options: Options,
    timing: Timing,
    /// The Lease as last read or written, and when its record was first seen to be like that.
    observed: Option<(Lease, Instant)>,
    leading: bool,
}

impl Candidate<'_> {
    /// Returns when the successful attempt began.
    async fn acquire(&mut self) -> Instant {
        // A lab that starts lets nobody in for its first moments; a candidate that is refused asks again soon.
        let mut backoff = Backoff::new(REFUSED, self.timing.retry_period);
        loop {
            let began = clock::instant();
            let mut pause = self.timing.retry_period.mul_f64(rand::random_range(1.0..JITTER));
            match timeout(self.timing.attempt(), self.try_acquire_or_renew()).await {
                Ok(Ok(true)) => {
                    self.leading = true;
                    return began;
                }
                Ok(Ok(false)) => backoff.reset(),
                Ok(Err(error)) if matches!(error.reason, Reason::Conflict | Reason::AlreadyExists) => {
                    tracing::debug!(%error, "another candidate was quicker");
                    self.observe_again();
                }
                Ok(Err(error)) => {
                    tracing::warn!(%error, "cannot take part in the leader election");
                    pause = backoff.step();
                }
                Err(_) => self.hung(),
            }
            clock::sleep(pause).await;
        }
    }

    /// Renews until that fails for too long.
    async fn keep(&mut self, mut renewed: Instant) -> Error {
        loop {
            clock::sleep(self.timing.retry_period).await;
            let deadline = renewed + self.timing.renew_deadline;
            let why = loop {
                let began = clock::instant();
                if began >= deadline {
                    break "no renewal in time".to_owned();
                }
                let end = deadline.min(began + self.timing.attempt());
                match tokio::time::timeout_at(end, self.try_acquire_or_renew()).await {
                    Ok(Ok(true)) => {
                        renewed = began;
                        break String::new();
                    }
                    Ok(Ok(false)) => break format!("{} holds it now", self.holder().unwrap_or("nobody")),
                    Ok(Err(error)) => {
                        tracing::debug!(%error, "renewal failed");
                        self.observe_again();
                    }
                    Err(_) => self.hung(),
                }
                clock::sleep(self.timing.retry_period / 4).await;
            };
            if !why.is_empty() {
                self.leading = false;
                let lease = &self.options.lease;
                return Error::new(Reason::Timeout, format!("lost the lease {NAMESPACE}/{lease}: {why}"));
            }
        }
    }

    /// An attempt took too long. It may have been done or not.
    fn hung(&mut self) {
        self.client.leave_server("the leader election had no answer in time");
        self.observe_again();
    }

    fn holder(&self) -> Option<&str> {
        let spec = self.observed.as_ref()?.0.spec.as_ref()?;
        spec.holder_identity.as_deref().filter(|holder| !holder.is_empty())
    }

    /// The next step reads the Lease instead of trusting what was observed.
    fn observe_again(&mut self) {
        if let Some((lease, _)) = &mut self.observed {
            lease.metadata.resource_version = None;
        }
    }

    /// One step: `true` if this process holds the Lease now.
    async fn try_acquire_or_renew(&mut self) -> Result<bool, Error> {
        let known = |lease: &Lease| lease.metadata.resource_version.is_some();
        let trusted = self.leading && self.observed.as_ref().is_some_and(|(lease, _)| known(lease));
        if !trusted {
            match self.client.get::<Lease>(NAMESPACE, &self.options.lease).await {
                Ok(lease) => self.observe(lease),
                Err(error) if error.reason == Reason::NotFound => {
                    let lease = self.client.create(&self.lease(ObjectMeta::default(), self.spec(None))).await?;
                    self.observe(lease);
                    return Ok(true);
                }
                Err(error) => return Err(error),
            }
        }
        let Some((lease, since)) = &self.observed else { return Ok(false) };
        let mine = self.holder() == Some(&self.options.identity);
        if !mine && self.holder().is_some() && clock::instant() < *since + duration_of(lease) {
            return Ok(false);
        }
        let spec = self.spec(lease.spec.as_ref());
        let lease = self.client.update(&self.lease(lease.metadata.clone(), spec)).await?;
        self.observe(lease);
        Ok(true)
    }

    fn observe(&mut self, lease: Lease) {
        let changed = self.observed.as_ref().is_none_or(|(old, _)| old.spec != lease.spec);
        match &mut self.observed {
            Some((old, _)) if !changed => *old = lease,
            _ => self.observed = Some((lease, clock::instant())),
        }
    }

    fn lease(&self, meta: ObjectMeta, spec: LeaseSpec) -> Lease {
        let metadata = ObjectMeta { namespace: Some(NAMESPACE.into()), name: Some(self.options.lease.clone()), ..meta };
        Lease { metadata, spec: Some(spec) }
    }

    /// The record after this process takes or renews the Lease.
    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = clock::now_micro();
        let identity = &self.options.identity;
        let mine = before.is_some_and(|before| before.holder_identity.as_ref() == Some(identity));
        let transitions = before.and_then(|before| before.lease_transitions);
        LeaseSpec {
            holder_identity: Some(identity.clone()),
            // Whole seconds, rounded up: others must not take over earlier than this process believes.
            lease_duration_seconds: Some(self.timing.lease_duration.as_secs_f64().ceil() as i32),
            acquire_time: before.filter(|_| mine).and_then(|b| b.acquire_time.clone()).or(Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(match (before, mine) {
                (None, _) => 0,
                (Some(_), true) => transitions.unwrap_or_default(),
                (Some(_), false) => transitions.unwrap_or_default() + 1,
            }),
            ..LeaseSpec::default()
        }
    }

    /// Lets a standby take over at its next look.
    async fn release(&mut self) {
        match timeout(self.timing.renew_deadline, self.try_release()).await {
            Ok(Ok(())) => tracing::info!(lease = self.options.lease, "released the lease"),
            Ok(Err(error)) => tracing::warn!(%error, "cannot release the lease: a standby takes over when it expires"),
            Err(_) => tracing::warn!("cannot release the lease in time: a standby takes over when it expires"),
        }
    }

    async fn try_release(&mut self) -> Result<(), Error> {
        // Read again: a renewal may have been under way when the work ended.
        self.observe(self.client.get(NAMESPACE, &self.options.lease).await?);
        let Some((lease, _)) = self.observed.take() else { return Ok(()) };
        if lease.spec.as_ref().and_then(|spec| spec.holder_identity.as_ref()) != Some(&self.options.identity) {
            return Ok(());
        }
        let mut spec = self.spec(lease.spec.as_ref());
        spec.holder_identity = Some(String::new());
        spec.lease_duration_seconds = Some(1);
        self.client.update(&self.lease(lease.metadata.clone(), spec)).await.map(drop)
    }
}

fn duration_of(lease: &Lease) -> Duration {
    let seconds = lease.spec.as_ref().and_then(|spec| spec.lease_duration_seconds).unwrap_or_default();
    Duration::from_secs(u64::try_from(seconds).unwrap_or_default())
}
