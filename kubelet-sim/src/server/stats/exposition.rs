//! `/metrics/resource` and `/metrics/cadvisor`, as Prometheus reads them. Source of the names and their help:
//! `pkg/kubelet/metrics/collectors/resource_metrics.go` of Kubernetes, and cAdvisor.

use std::fmt::Write;

use super::{ContainerSample, PodSample, Sample};

/// One metric of many series.
struct Metric {
    name: &'static str,
    help: &'static str,
    kind: &'static str,
}

const CONTAINER_CPU: Metric = Metric {
    name: "container_cpu_usage_seconds_total",
    help: "[STABLE] Cumulative cpu time consumed by the container in core-seconds",
    kind: "counter",
};
const CONTAINER_MEMORY: Metric = Metric {
    name: "container_memory_working_set_bytes",
    help: "[STABLE] Current working set of the container in bytes",
    kind: "gauge",
};
const CONTAINER_START: Metric = Metric {
    name: "container_start_time_seconds",
    help: "[STABLE] Start time of the container since unix epoch in seconds",
    kind: "gauge",
};
const NODE_CPU: Metric = Metric {
    name: "node_cpu_usage_seconds_total",
    help: "[STABLE] Cumulative cpu time consumed by the node in core-seconds",
    kind: "counter",
};
const NODE_MEMORY: Metric = Metric {
    name: "node_memory_working_set_bytes",
    help: "[STABLE] Current working set of the node in bytes",
    kind: "gauge",
};
const POD_CPU: Metric = Metric {
    name: "pod_cpu_usage_seconds_total",
    help: "[STABLE] Cumulative cpu time consumed by the pod in core-seconds",
    kind: "counter",
};
const POD_MEMORY: Metric = Metric {
    name: "pod_memory_working_set_bytes",
    help: "[STABLE] Current working set of the pod in bytes",
    kind: "gauge",
};
const ERROR: Metric = Metric {
    name: "resource_scrape_error",
    help: "[STABLE] 1 if there was an error while getting container metrics, 0 otherwise",
    kind: "gauge",
};
/// What cAdvisor calls what the others call the same.
const CADVISOR: [Metric; 3] = [
    Metric {
        name: "container_cpu_usage_seconds_total",
        help: "Cumulative cpu time consumed in seconds.",
        kind: "counter",
    },
    Metric {
        name: "container_memory_usage_bytes",
        help: "Current memory usage in bytes, including all memory",
        kind: "gauge",
    },
    Metric { name: "container_memory_working_set_bytes", help: "Current working set in bytes.", kind: "gauge" },
];

/// `/metrics/resource`
pub fn resource(sample: &Sample) -> String {
    let mut text = String::new();
    let containers = || sample.pods.iter().flat_map(|pod| pod.containers.iter().map(move |container| (pod, container)));
    let time = sample.at.as_millisecond();
    write(
        &mut text,
        &CONTAINER_CPU,
        time,
        containers().map(|(pod, container)| (named(pod, container), cpu(container))),
    );
    let memory = containers().map(|(pod, container)| (named(pod, container), container.used.memory_bytes.to_string()));
    write(&mut text, &CONTAINER_MEMORY, time, memory);
    let start = |container: &ContainerSample| seconds(container.started_at.as_microsecond().unsigned_abs() * 1000);
    let start = containers().map(|(pod, container)| (named(pod, container), start(container)));
    write(&mut text, &CONTAINER_START, time, start);
    let node = sample.node;
    write(&mut text, &NODE_CPU, time, [(String::new(), seconds(node.cpu_nanoseconds))]);
    write(&mut text, &NODE_MEMORY, time, [(String::new(), node.memory_bytes.to_string())]);
    let pods = |value: fn(&PodSample) -> String| sample.pods.iter().map(move |pod| (of_pod(pod), value(pod)));
    write(&mut text, &POD_CPU, time, pods(|pod| seconds(pod.used().cpu_nanoseconds)));
    write(&mut text, &POD_MEMORY, time, pods(|pod| pod.used().memory_bytes.to_string()));
    let Metric { name, help, kind } = ERROR;
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} 0\n");
    text
}

/// `/metrics/cadvisor`
pub fn cadvisor(sample: &Sample) -> String {
    let mut text = String::new();
    for (index, metric) in CADVISOR.iter().enumerate() {
        let series = sample.pods.iter().flat_map(|pod| {
            pod.containers.iter().map(move |container| {
                let labels = format!(
                    "container={:?},id=\"/kubepods/pod{}/{}\",image={:?},name={:?},namespace={:?},pod={:?}",
                    container.name,
                    pod.pod.uid,
                    container.id,
                    container.image,
                    container.id,
                    pod.pod.namespace,
                    pod.pod.name
                );
                let value = if index == 0 { cpu(container) } else { container.used.memory_bytes.to_string() };
                (labels, value)
            })
        });
        write(&mut text, metric, sample.at.as_millisecond(), series);
    }
    text
}

fn write(text: &mut String, metric: &Metric, time: i64, series: impl IntoIterator<Item = (String, String)>) {
    let Metric { name, help, kind } = metric;
    let _ = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
    for (labels, value) in series {
        let labels = if labels.is_empty() { labels } else { format!("{{{labels}}}") };
        let _ = writeln!(text, "{name}{labels} {value} {time}");
    }
}

fn named(pod: &PodSample, container: &ContainerSample) -> String {
    format!("container={:?},{}", container.name, of_pod(pod))
}

fn of_pod(pod: &PodSample) -> String {
    format!("namespace={:?},pod={:?}", pod.pod.namespace, pod.pod.name)
}

fn cpu(container: &ContainerSample) -> String {
    seconds(container.used.cpu_nanoseconds)
}

fn seconds(nanoseconds: u64) -> String {
    format!("{}.{:09}", nanoseconds / 1_000_000_000, nanoseconds % 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_monitor_reads_what_is_used() {
        let sample = super::super::tests::sample();
        let text = resource(&sample);
        for line in [
            "# TYPE container_cpu_usage_seconds_total counter",
            r#"container_cpu_usage_seconds_total{container="a",namespace="shop",pod="web"} 3.000000000 2000000"#,
            r#"container_memory_working_set_bytes{container="b",namespace="shop",pod="web"} 20 2000000"#,
            r#"container_start_time_seconds{container="a",namespace="shop",pod="web"} 1000.000000000 2000000"#,
            "node_cpu_usage_seconds_total 9.000000000 2000000",
            r#"pod_memory_working_set_bytes{namespace="shop",pod="web"} 120 2000000"#,
            "resource_scrape_error 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        let text = cadvisor(&sample);
        let line = "container_memory_usage_bytes{container=\"a\",id=\"/kubepods/podu-1/a-id\",\
             image=\"docker.io/library/nginx:latest\",name=\"a-id\",namespace=\"shop\",pod=\"web\"} 100 2000000";
        assert!(text.lines().any(|found| found == line), "{text}");
    }
}
