//! What is counted, as text.

use std::fmt::Write;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{family::Family, gauge::Gauge},
    registry::Registry,
};

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CheckLabels {
    name: &'static str,
    r#type: &'static str,
}

/// The text that `/metrics/slis` shows. Source: `k8s.io/component-base/metrics/prometheus/slis`.
pub fn slis(checks: impl Iterator<Item = (&'static str, &'static str, bool)>) -> String {
    let mut registry = Registry::default();
    let current: Family<CheckLabels, Gauge> = Family::default();
    registry.register("kubernetes_healthcheck", "Whether a health check passes", current.clone());
    for (name, root, passes) in checks {
        current.get_or_create(&CheckLabels { name, r#type: root }).set(passes.into());
    }
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = encode(&mut text, &registry);
    plain(&text)
}

/// From OpenMetrics to the older text format, which upstream serves: a counter's type stands under its full name, and
/// there is no mark at the end.
pub(super) fn plain(text: &str) -> String {
    let counters: Vec<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter")).collect();
    let mut out = String::with_capacity(text.len());
    for line in text.lines().filter(|line| *line != "# EOF") {
        let mut parts = line.splitn(4, ' ');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some("#"), Some(kind), Some(name), Some(rest)) if counters.contains(&name) => {
                // Writing to a String cannot fail.
                let _ = writeln!(out, "# {kind} {name}_total {rest}");
            }
            _ => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    out
}

pub(super) fn resident_bytes() -> Option<i64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: i64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages.saturating_mul(i64::try_from(rustix::param::page_size()).ok()?))
}
