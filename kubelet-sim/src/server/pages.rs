//! The kubelet's own pages, as far as a simulated one has something to say on them.
//! Source: `pkg/kubelet/server/server.go` of Kubernetes.

use kubelab_client::clock;
use kubelab_proto::node::{PageReply, PageRequest};
use serde_json::json;

use super::{
    About,
    stats::{Counters, exposition, summary},
};
use crate::runtime::Runtime;

const EXPOSITION: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers one request.
pub fn answer(runtime: &dyn Runtime, about: &About, counters: &Counters, request: &PageRequest) -> PageReply {
    let path = request.path.split('?').next().unwrap_or_default();
    if request.method != "GET" && request.method != "HEAD" {
        return page(405, "text/plain; charset=utf-8", "405: Method Not Allowed".to_owned());
    }
    let sample = || counters.sample(runtime, &about.capacity, clock::now_micro().0);
    match path.trim_end_matches('/') {
        "/healthz" | "/healthz/ping" | "/healthz/log" | "/healthz/syncloop" => {
            page(200, "text/plain; charset=utf-8", "ok".to_owned())
        }
        "/pods" => {
            let items: Vec<_> = (about.pods)().iter().map(|pod| json!(**pod)).collect();
            let list = json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items });
            page(200, "application/json", list.to_string())
        }
        "/runningpods" => {
            let running = runtime.pods().into_iter().filter(|pod| is_running(runtime, &pod.uid));
            let items: Vec<_> = running
                .map(|pod| json!({"metadata": {"name": pod.name, "namespace": pod.namespace, "uid": pod.uid}}))
                .collect();
            let list = json!({ "kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": items });
            page(200, "application/json", list.to_string())
        }
        "/stats/summary" => page(200, "application/json", summary::summary(&sample(), &about.name).to_string()),
        "/metrics" => page(200, EXPOSITION, metrics(runtime)),
        "/metrics/resource" => page(200, EXPOSITION, exposition::resource(&sample())),
        "/metrics/cadvisor" => page(200, EXPOSITION, exposition::cadvisor(&sample())),
        _ => page(404, "text/plain; charset=utf-8", "404 page not found\n".to_owned()),
    }
}

fn page(status: u32, content_type: &str, body: String) -> PageReply {
    PageReply { status, content_type: content_type.to_owned(), body: body.into() }
}

fn is_running(runtime: &dyn Runtime, uid: &str) -> bool {
    runtime.sandbox(uid).is_some_and(|sandbox| sandbox.is_running())
}

/// With upstream's names.
fn metrics(runtime: &dyn Runtime) -> String {
    let pods = runtime.pods();
    let running = pods.iter().filter(|pod| is_running(runtime, &pod.uid)).count();
    let sandboxes = pods.iter().filter_map(|pod| runtime.sandbox(&pod.uid));
    let (mut run, mut exited) = (0, 0);
    for sandbox in sandboxes {
        let running = sandbox.containers.iter().filter(|container| container.is_running()).count();
        run += running;
        exited += sandbox.containers.len() - running;
    }
    format!(
        "# HELP kubelet_running_containers [ALPHA] Number of containers currently running\n\
         # TYPE kubelet_running_containers gauge\n\
         kubelet_running_containers{{container_state=\"exited\"}} {exited}\n\
         kubelet_running_containers{{container_state=\"running\"}} {run}\n\
         # HELP kubelet_running_pods [ALPHA] Number of pods that have a running pod sandbox\n\
         # TYPE kubelet_running_pods gauge\n\
         kubelet_running_pods {running}\n"
    )
}
