//! How long admission takes, under upstream's names. Source: `k8s.io/apiserver/pkg/admission/metrics/metrics.go`.

use std::{
    sync::{LazyLock, OnceLock},
    time::Instant,
};

use kubelab_api::Error;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{family::Family, histogram::Histogram},
    registry::Registry,
};

use super::Operation;

/// The halves of admission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Step {
    Admit,
    Validate,
}

impl Step {
    fn name(self) -> &'static str {
        match self {
            Step::Admit => "admit",
            Step::Validate => "validate",
        }
    }
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct PluginLabels {
    name: &'static str,
    operation: &'static str,
    rejected: &'static str,
    r#type: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct StepLabels {
    operation: &'static str,
    rejected: &'static str,
    r#type: &'static str,
}

/// Upstream's bounds, in seconds.
fn seconds() -> Histogram {
    Histogram::new([0.005, 0.025, 0.1, 0.5, 1.0, 2.5])
}

type Durations<L> = Family<L, Histogram, fn() -> Histogram>;

static PLUGINS: LazyLock<Durations<PluginLabels>> =
    LazyLock::new(|| Family::new_with_constructor(seconds as fn() -> Histogram));
static STEPS: LazyLock<Durations<StepLabels>> =
    LazyLock::new(|| Family::new_with_constructor(seconds as fn() -> Histogram));

/// Shows the figures of this process among others.
pub fn register(registry: &mut Registry) {
    registry.register(
        "apiserver_admission_controller_admission_duration_seconds",
        "Admission controller latency histogram in seconds, identified by name and broken out for each operation and \
         API resource and type (validate or admit)",
        PLUGINS.clone(),
    );
    registry.register(
        "apiserver_admission_step_admission_duration_seconds",
        "Admission sub-step latency histogram in seconds, broken out for each operation and API resource and step type \
         (validate or admit)",
        STEPS.clone(),
    );
}

/// The durations of one plugin's step that let requests pass, by operation, at hand without a look-up.
#[derive(Default)]
pub struct Passed([OnceLock<Histogram>; 4]);

/// Runs one plugin's step. A plugin without a name is none of upstream's, and not counted.
pub fn plugin(
    name: &'static str,
    operation: Operation,
    step: Step,
    passed: &Passed,
    run: impl FnOnce() -> Result<(), Error>,
) -> Result<(), Error> {
    if name.is_empty() {
        return run();
    }
    let begin = Instant::now();
    let outcome = run();
    let took = begin.elapsed().as_secs_f64();
    let labels = |rejected| PluginLabels { name, operation: operation.name(), rejected, r#type: step.name() };
    match outcome {
        Ok(()) => {
            let durations = || PLUGINS.get_or_create(&labels("false")).clone();
            passed.0[operation as usize].get_or_init(durations).observe(took);
        }
        Err(_) => PLUGINS.get_or_create(&labels("true")).observe(took),
    }
    outcome
}

/// Runs a step of all plugins.
pub fn step(operation: Operation, step: Step, run: impl FnOnce() -> Result<(), Error>) -> Result<(), Error> {
    let begin = Instant::now();
    let outcome = run();
    let rejected = if outcome.is_err() { "true" } else { "false" };
    let labels = StepLabels { operation: operation.name(), rejected, r#type: step.name() };
    STEPS.get_or_create(&labels).observe(begin.elapsed().as_secs_f64());
    outcome
}
