//! `/stats/summary`: one JSON document. Source of its form: `k8s.io/kubelet/pkg/apis/stats/v1alpha1` of Kubernetes.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{PodSample, Sample, Use};

/// The document.
pub fn summary(sample: &Sample, node: &str) -> Value {
    let time = time(sample.at);
    let available = sample.memory_capacity.saturating_sub(sample.node.memory_bytes);
    let mut memory = memory(&time, sample.node);
    memory["availableBytes"] = available.into();
    json!({
        "node": {"nodeName": node, "cpu": cpu(&time, sample.node), "memory": memory},
        "pods": sample.pods.iter().map(|pod| of_pod(&time, pod)).collect::<Vec<_>>(),
    })
}

fn of_pod(time: &str, sample: &PodSample) -> Value {
    let containers = sample.containers.iter().map(|container| {
        json!({
            "name": container.name,
            "startTime": self::time(container.started_at),
            "cpu": cpu(time, container.used),
            "memory": memory(time, container.used),
        })
    });
    let pod = &sample.pod;
    json!({
        "podRef": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid},
        "startTime": self::time(sample.started_at),
        "containers": containers.collect::<Vec<_>>(),
        "cpu": cpu(time, sample.used()),
        "memory": memory(time, sample.used()),
    })
}

fn cpu(time: &str, used: Use) -> Value {
    json!({"time": time, "usageNanoCores": used.cpu_nanocores, "usageCoreNanoSeconds": used.cpu_nanoseconds})
}

fn memory(time: &str, used: Use) -> Value {
    let bytes = used.memory_bytes;
    json!({"time": time, "usageBytes": bytes, "workingSetBytes": bytes, "rssBytes": bytes})
}

fn time(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_tells_of_the_node_and_its_pods() {
        let summary = summary(&super::super::tests::sample(), "node-1");
        assert_eq!(summary["node"]["nodeName"], "node-1");
        assert_eq!(summary["node"]["memory"]["availableBytes"], 3880);
        let pod = &summary["pods"][0];
        assert_eq!(pod["podRef"], json!({"name": "web", "namespace": "shop", "uid": "u-1"}));
        assert_eq!(pod["cpu"]["usageCoreNanoSeconds"], 3_000_000_000_u64);
        assert_eq!(pod["containers"][1]["memory"]["workingSetBytes"], 20);
        assert_eq!(pod["startTime"], "1970-01-01T00:16:40Z");
    }
}
