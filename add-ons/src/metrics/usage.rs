//! What was used between two looks at the kubelets. Source: metrics-server's `pkg/storage`.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::scrape::{Page, Point};

/// What was used, on average over a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Used {
    /// The window's end.
    pub at: Timestamp,
    /// How long it is, in seconds.
    pub window: f64,
    /// CPUs.
    pub cpu: f64,
    /// Bytes of memory, at its end.
    pub memory: f64,
}

/// The last two pages of each node.
#[derive(Clone, Debug, Default)]
pub struct Book {
    nodes: BTreeMap<String, (Option<Page>, Page)>,
}

impl Book {
    /// Takes in new pages. Nodes that sent none are forgotten: nobody knows what they use.
    pub fn turn(&mut self, pages: Vec<(String, Page)>) {
        let mut before = std::mem::take(&mut self.nodes);
        self.nodes = pages
            .into_iter()
            .map(|(node, page)| {
                let last = before.remove(&node).map(|(_, last)| last);
                (node, (last, page))
            })
            .collect();
    }

    /// What nodes use, by name. Of one that was asked but once, it is what its containers use.
    pub fn nodes(&self) -> impl Iterator<Item = (&str, Used)> {
        self.nodes.iter().map(|(name, (before, now))| {
            let of_containers = || {
                let containers = now.containers.values().filter_map(|point| used(first(*point), *point));
                let cpu = containers.map(|used| used.cpu).sum();
                Used { at: now.node.at, window: 1.0, cpu, memory: now.node.memory_bytes }
            };
            let used = used(before.as_ref().map(|page| page.node), now.node);
            (name.as_str(), used.unwrap_or_else(of_containers))
        })
    }

    /// What pods use, by namespace and name: each of their containers.
    pub fn pods(&self) -> BTreeMap<(&str, &str), Vec<(&str, Used)>> {
        let mut pods: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for (before, now) in self.nodes.values() {
            for (key, point) in &now.containers {
                let last = before.as_ref().and_then(|page| page.containers.get(key)).copied();
                // It is another run of the container that began since.
                let last = last.filter(|last| last.started_at == point.started_at);
                if let Some(used) = used(last, *point).or_else(|| used(first(*point), *point)) {
                    pods.entry((key.0.as_str(), key.1.as_str())).or_default().push((key.2.as_str(), used));
                }
            }
        }
        pods
    }
}

/// Nothing, at the start.
fn first(point: Point) -> Option<Point> {
    point.started_at.map(|at| Point { at, ..Point::default() })
}

fn used(before: Option<Point>, now: Point) -> Option<Used> {
    let before = before?;
    let window = now.at.duration_since(before.at).as_secs_f64();
    let cpu = now.cpu_seconds - before.cpu_seconds;
    (window > 0.0 && cpu >= 0.0).then_some(Used { at: now.at, window, cpu: cpu / window, memory: now.memory_bytes })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn point(at: i64, started_at: i64, cpu_seconds: f64) -> Point {
        let time = |second| Timestamp::from_second(second).unwrap();
        Point { at: time(at), started_at: Some(time(started_at)), cpu_seconds, memory_bytes: 100.0 }
    }

    fn page(node: f64, container: Point) -> Vec<(String, Page)> {
        let key = ("shop".to_owned(), "web".to_owned(), "c".to_owned());
        let node = Point { started_at: None, ..point(container.at.as_second(), 0, node) };
        vec![("node-1".to_owned(), Page { node, containers: [(key, container)].into() })]
    }

    #[test]
    fn usage_is_what_was_used_since_the_last_look() {
        let mut book = Book::default();
        let cpu = |book: &Book| {
            let pods = book.pods();
            let pod = pods[&("shop", "web")][0].1;
            (pod.cpu, pod.window, book.nodes().next().unwrap().1.cpu)
        };
        book.turn(page(1.0, point(110, 100, 5.0)));
        assert_eq!(cpu(&book), (0.5, 10.0, 0.5), "since it was started");
        book.turn(page(3.0, point(120, 100, 15.0)));
        assert_eq!(cpu(&book), (1.0, 10.0, 0.2));
        book.turn(page(3.0, point(130, 125, 1.0)));
        assert_eq!(cpu(&book), (0.2, 5.0, 0.0), "another run");
        book.turn(Vec::new());
        assert!(book.pods().is_empty() && book.nodes().next().is_none());
    }
}
