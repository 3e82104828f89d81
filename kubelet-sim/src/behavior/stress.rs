//! Programs that are there to use up CPU and memory, as the examples of Kubernetes' documentation use them: `stress`
//! (`polinux/stress`) and `vish/stress`.

use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
use kubelab_api::Quantity;

use super::{
    images,
    usage::{Curve, Unit, Usage},
};

/// How long it takes to fill the memory.
const FILLS_IN: Duration = Duration::from_secs(1);

const CPU: u64 = 1_000_000_000;

/// What `stress --vm` takes for each worker where nothing else is said.
const WORKER: u64 = 256 << 20;

/// What a container uses, if its program is one of these.
pub fn usage(container: &Container, idle: &Usage) -> Option<Usage> {
    let image = container.image.as_deref().unwrap_or_default();
    let words: Vec<&str> = container.command.iter().chain(&container.args).flatten().map(String::as_str).collect();
    let is_called = words.first().is_some_and(|word| matches!(word.rsplit('/').next(), Some("stress" | "stress-ng")));
    if !is_called && images::short_name(image) != "stress" {
        return None;
    }
    let option = |names: &[&str]| {
        words.iter().enumerate().find_map(|(at, word)| {
            let (name, value) = word.split_once('=').map_or((*word, None), |(name, value)| (name, Some(value)));
            names.contains(&name).then(|| value.or_else(|| words.get(at + 1).copied())).flatten()
        })
    };
    let cpus = option(&["--cpu", "-c", "-cpus", "--cpus"]).and_then(|count| count.parse().ok()).unwrap_or(0);
    let workers: u64 = option(&["--vm", "-m"]).and_then(|count| count.parse().ok()).unwrap_or(0);
    let each = option(&["--vm-bytes"]).and_then(bytes).unwrap_or(WORKER);
    let total = option(&["-mem-total", "--mem-total"]).and_then(|text| Unit::Bytes.amount(text.parse().ok()?));
    let memory = total.unwrap_or(workers.saturating_mul(each));
    let (cpu_now, memory_now) = idle.at(Duration::ZERO);
    Some(Usage {
        cpu: Curve::constant(CPU.saturating_mul(cpus).max(cpu_now)),
        memory: Curve::rising(memory_now.min(memory), memory.max(memory_now), FILLS_IN),
        ..idle.clone()
    })
}

/// `150M`: powers of 1024, whatever the letter says elsewhere.
fn bytes(text: &str) -> Option<u64> {
    let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let binary = match &text[number.len()..] {
        "" | "b" | "B" => String::new(),
        unit => format!("{}i", unit[..1].replace('k', "K").to_uppercase()),
    };
    Unit::Bytes.amount(format!("{number}{binary}").parse::<Quantity>().ok()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn the_examples_of_the_documentation_use_what_they_say() {
        let stress = |bytes: &str| {
            json!({"name": "c", "image": "polinux/stress", "command": ["stress"],
            "args": ["--vm", "1", "--vm-bytes", bytes, "--vm-hang", "1"], "resources": {"limits": {"memory": "200Mi"}}})
        };
        let used = |container: Value| {
            let container: Container = serde_json::from_value(container).unwrap();
            let usage = usage(&container, &Usage::of(&container, 1_000_000, 1 << 20))?;
            let (cpu, memory) = usage.at(Duration::from_secs(60));
            Some((cpu / 1_000_000, memory >> 20, usage.out_of_memory().is_some()))
        };
        for (container, expected) in [
            (stress("150M"), Some((1, 150, false))),
            (stress("250M"), Some((1, 250, true))),
            (
                json!({"name": "c", "image": "vish/stress", "args": ["-cpus", "2"], "resources": {"limits": {"cpu": "1"}}}),
                Some((1000, 1, false)),
            ),
            (json!({"name": "c", "image": "nginx"}), None),
        ] {
            assert_eq!(used(container.clone()), expected, "{container}");
        }
    }
}
