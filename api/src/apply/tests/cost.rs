//! What it costs to know who manages what.
//!
//! ```text
//! cargo test --release -p kubelab-api --lib apply::tests::cost -- --ignored --nocapture
//! ```
#![allow(clippy::disallowed_methods)] // see clippy.toml

use std::time::Instant;

use super::*;

const ROUNDS: u32 = 20_000;

fn measure(what: &str, mut work: impl FnMut()) {
    (0..ROUNDS / 10).for_each(|_| work());
    let begin = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    println!("{what}: {:.1} µs", begin.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
}

#[test]
#[ignore = "a measurement"]
fn writes_are_cheap() {
    let metadata = json!({"name": "a", "namespace": "default", "labels": {"app": "web"}, "uid": "u"});
    let old = json!({"metadata": metadata, "data": {"text": "x".repeat(700), "mode": "fast", "level": "7"}});
    let mut new = old.clone();
    new["data"]["level"] = "8".into();
    let mut object = Object::new("cm");
    object.update("kubectl", "", old.clone());
    let entries = manager::encode(object.managers.clone()).unwrap();
    let now = object.tick();
    let writer = Writer { name: "kubectl", subresource: "", now: &now };
    measure("create", || {
        drop(manager::encode(update(object.ground(), writer, None, &new, Vec::new()).unwrap()));
    });
    measure("update", || {
        let managers = manager::decode(&entries).unwrap();
        drop(manager::encode(update(object.ground(), writer, Some(&old), &new, managers).unwrap()));
    });
}
