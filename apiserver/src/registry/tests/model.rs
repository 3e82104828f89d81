//! Lists and watches against a model, with random writes. Source of the guarantees: K3, K4 in GUARANTEES.md.

use std::sync::atomic::{AtomicBool, Ordering};

use rand::{RngExt, SeedableRng, rngs::StdRng, seq::IndexedRandom};

use super::*;

const NAMES: usize = 24;
const COLORS: [&str; 3] = ["red", "green", "blue"];

type Model = BTreeMap<String, Value>;

fn seed() -> u64 {
    let seed = std::env::var("SEED").ok().and_then(|text| text.parse().ok()).unwrap_or_else(rand::random);
    println!("SEED={seed}");
    seed
}

/// Creates, changes or deletes one of a few objects.
async fn step(lab: &Lab, rng: &mut StdRng) {
    let name = format!("c{:02}", rng.random_range(0..NAMES));
    let mut object = config(&name, json!({"n": rng.random_range(0..1000).to_string()}));
    let mut labels = json!({});
    for key in ["color", "tone"] {
        if rng.random_bool(0.7) {
            labels[key] = (*COLORS.choose(rng).unwrap()).into();
        }
    }
    object["metadata"]["labels"] = labels;
    // Some of these fail, as the object is there or not.
    let _ = match rng.random_range(0..4) {
        0 => lab.create("configmaps", "default", object).await,
        3 => lab.delete("configmaps", &name, json!({})).await,
        _ => lab.update("configmaps", object).await,
    };
}

fn name_of(object: &Value) -> String {
    object["metadata"]["name"].as_str().unwrap().to_owned()
}

async fn at(lab: &Lab, revision: u64, selector: &str) -> Model {
    let options = ListOptions {
        resource_version: revision.to_string(),
        resource_version_match: "Exact".into(),
        label_selector: selector.into(),
        ..Default::default()
    };
    let list = lab.list("configmaps", options).await.unwrap();
    list["items"].as_array().unwrap().iter().map(|item| (name_of(item), item.clone())).collect()
}

#[tokio::test]
async fn a_paged_list_equals_an_unpaged_one_under_writes() {
    let lab = Lab::start().await;
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    for _ in 0..40 {
        step(&lab, &mut rng).await;
    }
    let over = AtomicBool::new(false);
    let write = async {
        let mut rng = StdRng::seed_from_u64(seed + 1);
        while !over.load(Ordering::Relaxed) {
            step(&lab, &mut rng).await;
        }
    };
    let read = async {
        for round in 0..30 {
            let selector = ["", "color=red", "tone!=blue"][round % 3];
            let limit = rng.random_range(1..8);
            let (mut items, mut token, mut revision) = (Vec::new(), String::new(), None);
            loop {
                let options =
                    ListOptions { limit, continue_token: token, label_selector: selector.into(), ..Default::default() };
                let page = lab.list("configmaps", options).await.unwrap();
                let page_items = page["items"].as_array().unwrap();
                assert!(page_items.len() as u64 <= limit);
                items.extend(page_items.clone());
                assert_eq!(
                    *revision.get_or_insert(page["revision"].as_u64().unwrap()),
                    page["revision"].as_u64().unwrap()
                );
                token = page["continue"].as_str().unwrap().to_owned();
                if token.is_empty() {
                    break;
                }
                if selector.is_empty() {
                    let left = page["remaining"].as_u64().unwrap();
                    let all = at(&lab, revision.unwrap(), "").await.len();
                    assert_eq!(items.len() + left as usize, all);
                }
            }
            let unpaged: Vec<Value> = at(&lab, revision.unwrap(), selector).await.into_values().collect();
            assert_eq!(items, unpaged, "{selector:?} at {revision:?}");
        }
        over.store(true, Ordering::Relaxed);
    };
    tokio::join!(write, read);
}

#[tokio::test]
async fn a_watch_from_any_revision_replays_to_the_list() {
    let lab = Lab::start().await;
    let mut rng = StdRng::seed_from_u64(seed());
    let mut revisions = vec![lab.registry.store().local().revision()];
    for _ in 0..200 {
        step(&lab, &mut rng).await;
        revisions.push(lab.registry.store().local().revision());
    }
    let last = *revisions.last().unwrap();
    for _ in 0..12 {
        let from = *revisions.choose(&mut rng).unwrap();
        let selector = *["", "color=red", "color,tone notin (red)"].choose(&mut rng).unwrap();
        let mut state = at(&lab, from, selector).await;
        let options =
            ListOptions { resource_version: from.to_string(), label_selector: selector.into(), ..Default::default() };
        let mut watch = lab.watch("configmaps", options).await.unwrap();
        let mut seen = from;
        loop {
            let batch = watch.next(Duration::from_millis(1)).await.unwrap().unwrap();
            for event in &batch.events {
                assert!(event.revision > seen, "{selector:?} from {from}: {} after {seen}", event.revision);
                seen = event.revision;
                let object: Value = serde_json::from_slice(&event.json).unwrap();
                let before = match event.event_type {
                    EventType::Deleted => state.remove(&name_of(&object)),
                    _ => state.insert(name_of(&object), object),
                };
                assert_eq!(before.is_none(), event.event_type == EventType::Added, "{selector:?} from {from}");
            }
            if batch.revision >= last {
                break;
            }
        }
        assert_eq!(state, at(&lab, last, selector).await, "{selector:?} from {from}");
    }
}

#[tokio::test]
async fn selectors_agree_with_a_model() {
    let lab = Lab::start().await;
    let mut rng = StdRng::seed_from_u64(seed());
    for _ in 0..80 {
        step(&lab, &mut rng).await;
    }
    let all = at(&lab, lab.registry.store().local().revision(), "").await;
    for _ in 0..100 {
        let mut parts = Vec::new();
        let mut model: Vec<Box<dyn Fn(&Value) -> bool>> = Vec::new();
        for _ in 0..rng.random_range(1..4) {
            let key = *["color", "tone", "none"].choose(&mut rng).unwrap();
            let (a, b) = (*COLORS.choose(&mut rng).unwrap(), *COLORS.choose(&mut rng).unwrap());
            let label = move |object: &Value| object["metadata"]["labels"][key].as_str().map(str::to_owned);
            let listed = move |label: Option<String>| label.is_some_and(|label| label == a || label == b);
            let (text, check): (String, Box<dyn Fn(&Value) -> bool>) = match rng.random_range(0..6) {
                0 => (format!("{key}={a}"), Box::new(move |object| label(object).as_deref() == Some(a))),
                1 => (format!("{key}!={a}"), Box::new(move |object| label(object).as_deref() != Some(a))),
                2 => (format!("{key} in ({a},{b})"), Box::new(move |object| listed(label(object)))),
                3 => (format!("{key} notin ({a},{b})"), Box::new(move |object| !listed(label(object)))),
                4 => (key.to_owned(), Box::new(move |object| label(object).is_some())),
                _ => (format!("!{key}"), Box::new(move |object| label(object).is_none())),
            };
            parts.push(text);
            model.push(check);
        }
        let selector = parts.join(",");
        let options = ListOptions { label_selector: selector.clone(), ..Default::default() };
        let list = lab.list("configmaps", options).await.unwrap();
        let found: Vec<String> = list["items"].as_array().unwrap().iter().map(name_of).collect();
        let wanted: Vec<String> =
            all.values().filter(|object| model.iter().all(|check| check(object))).map(name_of).collect();
        assert_eq!(found, wanted, "{selector}");
    }
}
