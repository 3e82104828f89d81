//! Protobuf says the same as JSON, for every kind: objects shaped by the schemas go into it and come back.
#![allow(clippy::unwrap_used)]

use rand::{SeedableRng, rngs::StdRng};

use super::*;
use crate::registry::{
    decode::Validation,
    kinds::{cases::difference, round_trip::example},
    table::Table,
};

/// Go's structs that are no pointers are always there, if only as `{}`.
fn drop_empty(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.values_mut().for_each(drop_empty);
        fields.retain(|_, value| *value != serde_json::json!({}));
    }
    if let Value::Array(elements) = value {
        elements.iter_mut().for_each(drop_empty);
    }
}

#[test]
fn what_goes_through_protobuf_comes_back_the_same() {
    let seed = rand::random();
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    for handler in Table::built_in().iter() {
        let resource = &handler.resource;
        let (api_version, kind) = (resource.api_version(), &*resource.kind);
        assert!(encode::knows(&api_version, kind), "{api_version} {kind}");
        for _ in 0..8 {
            let sent = example(handler, &mut random);
            let (object, _) = handler.decode(sent.to_string().as_bytes(), Validation::Strict).unwrap();
            let body = encode::object(&api_version, kind, sent.to_string().as_bytes()).unwrap();
            let back = to_json(&body).unwrap();
            let (again, _) = handler
                .decode(&back, Validation::Strict)
                .unwrap_or_else(|error| panic!("seed {seed}, {kind}: {error}\n{sent}\n{back:?}"));
            let [before, after] = [object, again].map(|object| {
                let mut value = serde_json::from_slice(&handler.encode(&*object).unwrap()).unwrap();
                drop_empty(&mut value);
                value
            });
            assert_eq!(difference(&before, &after), serde_json::json!({}), "seed {seed}, {kind}:\n{sent}");
        }
    }
}
