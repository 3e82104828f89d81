//! Nodes that have a pod's images are better, the more bytes need not be pulled; an image that few nodes have counts less,
//! so that not all pods gather there.

use crate::framework::{CycleState, MAX_NODE_SCORE, NodeInfo, Plugin, PodInfo, PreScore, Score, Snapshot};

/// Upstream: `ImageLocality`.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImageLocality;

const MIB: i64 = 1 << 20;
/// Less than this counts as nothing, and more than this for each container as all. Source: `image_locality.go`.
const LEAST: i64 = 23 * MIB;
const MOST: i64 = 1000 * MIB;

/// The pod's images with the share of nodes that have each, and how many containers there are.
struct Wanted {
    images: Vec<(String, f64)>,
    containers: i64,
}

/// As nodes name it: with a tag. Source: `normalizedImageName`.
fn tagged(image: &str) -> String {
    let has_tag = image.rfind(':').is_some_and(|colon| image.rfind('/').is_none_or(|slash| colon > slash));
    if has_tag { image.to_owned() } else { format!("{image}:latest") }
}

impl Plugin for ImageLocality {
    fn name(&self) -> &'static str {
        "ImageLocality"
    }
}

impl PreScore for ImageLocality {
    fn pre_score(&self, state: &mut CycleState, pod: &PodInfo, _: &[&NodeInfo], snapshot: &Snapshot) -> bool {
        let Some(spec) = pod.spec() else { return false };
        let containers = || spec.init_containers.iter().flatten().chain(&spec.containers);
        let total = snapshot.nodes().len().max(1) as f64;
        let images: Vec<_> = containers()
            .map(|container| tagged(container.image.as_deref().unwrap_or_default()))
            .map(|image| (snapshot.nodes_with_image(&image), image))
            .filter(|(nodes, _)| *nodes > 0)
            .map(|(nodes, image)| (image, nodes as f64 / total))
            .collect();
        let any = !images.is_empty();
        state.put(Wanted { images, containers: containers().count() as i64 });
        any
    }
}

impl Score for ImageLocality {
    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> i64 {
        let Some(wanted) = state.get::<Wanted>() else { return 0 };
        let present = |(image, spread): &(String, f64)| Some((*node.images.get(image)? as f64 * spread) as i64);
        let bytes: i64 = wanted.images.iter().filter_map(present).sum();
        let most = MOST * wanted.containers;
        MAX_NODE_SCORE * (bytes.clamp(LEAST, most) - LEAST) / (most - LEAST)
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, sync::Arc};

    use serde_json::{Value, json};

    use super::*;
    use crate::{cluster::Cluster, testing::pod};

    fn scores(pod: &PodInfo, nodes: &[Value]) -> Option<Vec<i64>> {
        let (mut cluster, mut snapshot) = (Cluster::default(), Snapshot::default());
        for (at, images) in nodes.iter().enumerate() {
            let node = json!({ "metadata": { "name": format!("node-{at}") }, "status": { "images": images } });
            cluster.put_node(Arc::new(serde_json::from_value(node).unwrap()));
        }
        cluster.update(&mut snapshot);
        let mut state = CycleState::default();
        let any = ImageLocality.pre_score(&mut state, pod, &[], &snapshot);
        any.then(|| snapshot.nodes().iter().map(|node| ImageLocality.score(&state, pod, node)).collect())
    }

    #[test]
    fn present_images_score_by_size_and_spread() {
        let image =
            |name: &str, mib: i64| json!({ "names": [name, format!("{name}@sha256:0")], "sizeBytes": mib * MIB });
        let wanting = |images: &[&str]| {
            let containers: Vec<Value> = images.iter().map(|image| json!({ "name": "c", "image": image })).collect();
            pod(json!({ "containers": containers }))
        };
        let nodes = [
            json!([image("web:1", 600), image("db:latest", 20)]),
            json!([image("web:1", 600)]),
            json!([image("r.example:5000/big:latest", 4000)]),
            json!([]),
        ];
        let half = MAX_NODE_SCORE * (300 - 23) / (1000 - 23);
        for (images, expected) in [
            (&["web:1"][..], Some(vec![half, half, 0, 0])),
            // Too small to matter.
            (&["db"], Some(vec![0, 0, 0, 0])),
            // A quarter of the nodes has it.
            (&["r.example:5000/big"], Some(vec![0, 0, 100, 0])),
            (&["web:1", "db"], Some(vec![(305 - 23) * 100 / (2000 - 23), (300 - 23) * 100 / (2000 - 23), 0, 0])),
            (&["unknown"], None),
        ] {
            assert_eq!(scores(&wanting(images), &nodes), expected, "{images:?}");
        }
    }

    #[test]
    fn images_are_counted_as_nodes_come_and_go() {
        let node = |images: Value| {
            let node = json!({ "metadata": { "name": "n" }, "status": { "images": images } });
            Arc::new(serde_json::from_value(node).unwrap())
        };
        let (mut cluster, mut snapshot) = (Cluster::default(), Snapshot::default());
        cluster.put_node(node(json!([{ "names": ["a:1"], "sizeBytes": 1 }])));
        cluster.put_node(node(json!([{ "names": ["b:1"], "sizeBytes": 1 }])));
        cluster.update(&mut snapshot);
        assert_eq!(*snapshot.images, HashMap::from([("b:1".to_owned(), 1)]));
        cluster.remove_node("n");
        cluster.update(&mut snapshot);
        assert!(snapshot.images.is_empty());
    }
}
