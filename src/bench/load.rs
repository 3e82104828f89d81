//! Many workers doing one thing for a while.

use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::{
    Figure,
    target::{Connection, Target},
};

/// What was measured while a load ran.
#[derive(Default)]
pub struct Measured {
    /// How long each operation took.
    pub latencies: Vec<Duration>,
    /// How many failed.
    pub failed: usize,
    /// How the first one failed.
    pub error: Option<String>,
}

impl Measured {
    /// Takes in what another worker measured.
    pub fn join(&mut self, other: Self) {
        self.latencies.extend(other.latencies);
        self.failed += other.failed;
        self.error = self.error.take().or(other.error);
    }

    /// Notes an operation that began at `begun`.
    pub fn note<T>(&mut self, begun: Instant, outcome: anyhow::Result<T>) {
        match outcome {
            Ok(_) => self.latencies.push(begun.elapsed()),
            Err(error) => {
                self.failed += 1;
                self.error.get_or_insert_with(|| format!("{error:#}"));
            }
        }
    }

    /// The figure of all this, over the whole time it took.
    pub fn figure(mut self, scenario: &'static str, whole: Duration) -> Figure {
        self.latencies.sort_unstable();
        let at = |share: f64| {
            let place = (self.latencies.len() as f64 * share) as usize;
            self.latencies.get(place.min(self.latencies.len().saturating_sub(1))).map_or(0.0, |l| l.as_secs_f64() * 1e3)
        };
        let (count, seconds) = (self.latencies.len(), whole.as_secs_f64());
        Figure {
            scenario,
            count,
            failed: self.failed,
            seconds,
            per_second: count as f64 / seconds,
            p50_ms: at(0.5),
            p99_ms: at(0.99),
            error: self.error,
        }
    }
}

/// Runs `operation(connection, worker, i)` on `workers` connections, again and again for `duration`.
pub async fn run<F>(
    scenario: &'static str,
    target: &Target,
    workers: usize,
    duration: Duration,
    operation: F,
) -> anyhow::Result<Figure>
where
    F: AsyncFn(&mut Connection, usize, usize) -> anyhow::Result<()> + Clone + 'static,
{
    let mut connections = Vec::new();
    for _ in 0..workers {
        connections.push(target.connect().await?);
    }
    let begun = Instant::now();
    let local = tokio::task::LocalSet::new();
    let mut all = Measured::default();
    local
        .run_until(async {
            let mut tasks = JoinSet::new();
            for (worker, mut connection) in connections.into_iter().enumerate() {
                let (operation, target) = (operation.clone(), target.clone());
                tasks.spawn_local(async move {
                    let mut measured = Measured::default();
                    for i in 0.. {
                        let now = Instant::now();
                        if now - begun >= duration {
                            break;
                        }
                        let outcome = operation(&mut connection, worker, i).await;
                        let broken = outcome.is_err();
                        measured.note(now, outcome);
                        // A refusal leaves the connection usable, a failure does not; a new one serves both.
                        if broken && let Ok(fresh) = target.connect().await {
                            connection = fresh;
                        }
                    }
                    measured
                });
            }
            while let Some(measured) = tasks.join_next().await {
                all.join(measured.unwrap_or_default());
            }
        })
        .await;
    Ok(all.figure(scenario, begun.elapsed()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_latencies() {
        let latencies = (1..=100).rev().map(Duration::from_millis).collect();
        let figure = Measured { latencies, ..Measured::default() }.figure("x", Duration::from_secs(2));
        assert_eq!((figure.p50_ms, figure.p99_ms, figure.per_second), (51.0, 100.0, 50.0));
        let none = Measured::default().figure("x", Duration::from_secs(1));
        assert_eq!((none.count, none.p99_ms), (0, 0.0));
    }
}
