//! `kubelab bench`: measures any Kubernetes endpoint that a kubeconfig names, so that a lab and a peer can be compared in
//! one run, by the same program.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`target`] | a kubeconfig, and connections to what it names |
//! | [`load`] | many workers doing one thing for a while; how often, how fast |
//! | [`scenario`] | what is measured |

pub mod load;
pub mod scenario;
pub mod target;

use std::{path::PathBuf, time::Duration};

use anyhow::bail;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::{Which, commands::say};
use scenario::{Plan, SCENARIOS};
use target::Target;

/// Measure any Kubernetes endpoint: create, get, update, list, watch, deployment
#[derive(Args)]
pub struct Bench {
    /// What to measure, in this order [default: all]
    scenarios: Vec<String>,
    /// The endpoint's kubeconfig [default: the lab's]
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// How many connections work at once
    #[arg(long, default_value_t = 32)]
    concurrency: usize,
    /// How long each of create, get, update and list runs, in seconds
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many watchers the watch scenario has
    #[arg(long, default_value_t = 100)]
    watchers: usize,
    /// How many objects the watch scenario writes
    #[arg(long, default_value_t = 2000)]
    events: usize,
    /// How many pods the deployment scenario scales to
    #[arg(long, default_value_t = 100)]
    replicas: usize,
    /// Print JSON
    #[arg(long, short, value_parser = ["json"])]
    output: Option<String>,
    #[command(flatten)]
    which: Which,
}

/// What one scenario gave.
#[derive(Serialize)]
pub struct Figure {
    /// The scenario.
    pub scenario: &'static str,
    /// How many operations, events or pods.
    pub count: usize,
    /// How many failed; their first error stands in `error`.
    pub failed: usize,
    /// The whole time, in seconds.
    pub seconds: f64,
    /// `count` a second.
    pub per_second: f64,
    /// Half of the operations took at most this long, in milliseconds.
    pub p50_ms: f64,
    /// 99 of 100 took at most this long, in milliseconds.
    pub p99_ms: f64,
    /// The first failure, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Bench {
    pub async fn run(self) -> anyhow::Result<()> {
        let kubeconfig = match &self.kubeconfig {
            Some(path) => path.clone(),
            None => {
                let layout = self.which.layout()?;
                layout.require()?;
                layout.kubeconfig()
            }
        };
        let target = Target::read(&kubeconfig)?;
        let names = match self.scenarios.as_slice() {
            [] => SCENARIOS.to_vec(),
            some => some.iter().map(String::as_str).collect(),
        };
        if let Some(unknown) = names.iter().find(|name| !SCENARIOS.contains(name)) {
            bail!("there is no scenario {unknown:?}; there are: {}", SCENARIOS.join(", "));
        }
        if self.concurrency == 0 || self.seconds == 0 || self.watchers == 0 || self.events == 0 || self.replicas == 0 {
            bail!("--concurrency, --seconds, --watchers, --events and --replicas must be at least 1");
        }
        let plan = Plan {
            target,
            concurrency: self.concurrency,
            duration: Duration::from_secs(self.seconds),
            watchers: self.watchers,
            events: self.events,
            replicas: self.replicas,
        };
        plan.prepare().await?;
        let mut figures = Vec::new();
        for name in names {
            let progress = progress(name);
            let figure = plan.run(name).await?;
            progress.finish_and_clear();
            if self.output.is_none() {
                say(line(&figure))?;
            }
            figures.push(figure);
        }
        plan.tidy().await?;
        if self.output.is_some() {
            say(serde_json::to_string_pretty(&figures)?)?;
        }
        Ok(())
    }
}

fn progress(name: &str) -> ProgressBar {
    let bar = ProgressBar::new_spinner().with_message(name.to_owned());
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} … {elapsed}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}

fn line(figure: &Figure) -> String {
    let failed = figure.error.as_ref().map(|error| format!("  {} failed: {error}", figure.failed)).unwrap_or_default();
    format!(
        "{:<11} {:>8} in {:>6.2} s  {:>9.0}/s  p50 {:>8.2} ms  p99 {:>8.2} ms{failed}",
        figure.scenario, figure.count, figure.seconds, figure.per_second, figure.p50_ms, figure.p99_ms
    )
}
