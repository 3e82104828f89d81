//! What a kubelet's `/metrics/resource` says. Source: `decode` in metrics-server's `pkg/scraper/client/resource`.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// A page.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The node's own numbers.
    pub node: Point,
    /// Those of containers, by namespace, pod and container.
    pub containers: BTreeMap<(String, String, String), Point>,
}

/// Numbers at a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Point {
    /// When.
    pub at: Timestamp,
    /// When what they are about began.
    pub started_at: Option<Timestamp>,
    /// Seconds of a CPU since then.
    pub cpu_seconds: f64,
    /// Bytes of memory.
    pub memory_bytes: f64,
}

/// Reads a page; lines that say nothing of use are left out.
pub fn page(text: &str) -> Page {
    let mut page = Page::default();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let Some((name, labels, value, at)) = parts(line) else { continue };
        let point = match name {
            "node_cpu_usage_seconds_total" | "node_memory_working_set_bytes" => &mut page.node,
            "container_cpu_usage_seconds_total"
            | "container_memory_working_set_bytes"
            | "container_start_time_seconds" => {
                let label = |name: &str| label(labels, name).unwrap_or_default().to_owned();
                page.containers.entry((label("namespace"), label("pod"), label("container"))).or_default()
            }
            _ => continue,
        };
        point.at = at;
        if name.ends_with("cpu_usage_seconds_total") {
            point.cpu_seconds = value;
        } else if name.ends_with("memory_working_set_bytes") {
            point.memory_bytes = value;
        } else {
            point.started_at = Timestamp::from_microsecond((value * 1e6).round() as i64).ok();
        }
    }
    page
}

/// `name{labels} value time`
fn parts(line: &str) -> Option<(&str, &str, f64, Timestamp)> {
    let (series, numbers) = match line.rsplit_once('}') {
        Some((series, numbers)) => (series, numbers),
        None => line.split_once(' ')?,
    };
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let mut numbers = numbers.split_whitespace();
    let value = numbers.next()?.parse().ok()?;
    let at = Timestamp::from_millisecond(numbers.next()?.parse().ok()?).ok()?;
    Some((name, labels, value, at))
}

/// Names of pods and containers have no characters that would be escaped.
fn label<'a>(labels: &'a str, name: &str) -> Option<&'a str> {
    labels.split(',').find_map(|label| label.strip_prefix(name)?.strip_prefix("=\"")?.strip_suffix('"'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_read() {
        let page = page(
            "# HELP container_cpu_usage_seconds_total x\n\
             container_cpu_usage_seconds_total{container=\"c\",namespace=\"shop\",pod=\"web\"} 1.5 2000\n\
             container_memory_working_set_bytes{container=\"c\",namespace=\"shop\",pod=\"web\"} 4096 2000\n\
             container_start_time_seconds{container=\"c\",namespace=\"shop\",pod=\"web\"} 1.250000000 2000\n\
             node_cpu_usage_seconds_total 7 3000\n\
             node_memory_working_set_bytes 8 3000\n\
             resource_scrape_error 0\nnonsense\n",
        );
        let at = |millis| Timestamp::from_millisecond(millis).unwrap_or_default();
        assert_eq!(page.node, Point { at: at(3000), started_at: None, cpu_seconds: 7.0, memory_bytes: 8.0 });
        let key = ("shop".to_owned(), "web".to_owned(), "c".to_owned());
        let expected = Point { at: at(2000), started_at: Some(at(1250)), cpu_seconds: 1.5, memory_bytes: 4096.0 };
        assert_eq!(page.containers, [(key, expected)].into());
    }
}
