//! What a write costs before the store sees it.
//!
//! ```text
//! cargo test --release -p kubelab-apiserver --lib cost -- --ignored --nocapture
//! ```

use std::time::Instant;

use super::*;

const ROUNDS: u32 = 20_000;

fn measure(what: &str, mut work: impl FnMut()) {
    (0..ROUNDS / 10).for_each(|_| work());
    let begin = Instant::now();
    (0..ROUNDS).for_each(|_| work());
    println!("{what}: {:.1} µs", begin.elapsed().as_secs_f64() * 1e6 / f64::from(ROUNDS));
}

#[tokio::test]
#[ignore = "a measurement"]
async fn plans_are_cheap() {
    let lab = Lab::start().await;
    let object = config("a", json!({"text": "x".repeat(700), "mode": "fast", "level": "7"}));
    let stored = lab.create("configmaps", "default", object.clone()).await.unwrap();
    let state = lab.registry.store().local();
    let table = lab.registry.table();
    let handler = table.find("", "v1", "configmaps").unwrap();
    let (may, now) = (&|_: Verb| Ok(()), Timestamp::now());
    let mut fresh = object;
    fresh["metadata"]["name"] = "b".into();
    let mut changed = stored;
    changed["data"]["level"] = "8".into();
    for (verb, name, body) in [(Verb::Create, "", fresh), (Verb::Update, "a", changed)] {
        for validation in ["Strict", "Ignore"] {
            let mut request = lab.request(verb, "configmaps", "default", name);
            request.body = Body::Json(body.to_string().into());
            request.options.field_validation = validation.into();
            let context = Context {
                request: &request,
                handler,
                state: &state,
                table: &table,
                admission: &lab.registry.admission,
                policies: &lab.registry.policies,
                may,
                now,
                draw: plan::Draw::new(now),
                aside: &Default::default(),
            };
            let plan = if verb == Verb::Create { create::plan } else { update::plan };
            measure(&format!("{}, {validation}", verb.name()), || drop(plan(&context).unwrap()));
        }
    }
    let options = ListOptions { label_selector: "app=web".into(), ..Default::default() };
    let selection = selection::Selection::new(handler, "default", &options).unwrap();
    let key = key(handler, "default", "a");
    let entry = state.get(&key).unwrap();
    measure("match a label selector", || assert!(!selection.matches(handler, &key, entry)));
}
