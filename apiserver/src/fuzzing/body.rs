//! Bodies: what they decode to, and all that happens to a new object before it is stored.

use bytes::Bytes;
use jiff::Timestamp;

use super::ground::{Ground, request};
use crate::{
    corridor::{Body, Verb},
    doors::rest::{body, protobuf::encode},
    outside::Aside,
    registry::{create, decode::Validation, handler::Handler, syntax},
};

/// An object as JSON.
pub fn json(input: &[u8]) {
    let handler = Ground::get().handler(input);
    for validation in [Validation::Strict, Validation::Warn] {
        if let Ok((object, _)) = handler.decode(input, validation) {
            keeps(handler, &object.encode().expect("what was decoded can be encoded"));
        }
    }
    post(handler, input.to_vec().into());
    if let Err(error) = serde_json::from_slice::<serde_json::Value>(input) {
        syntax::wording(input, &error);
    }
    syntax::summary(input, 30);
}

/// An object as YAML.
pub fn yaml(input: &[u8]) {
    if let Ok(converted) = body::yaml(input) {
        post(Ground::get().handler(&converted), converted);
    }
}

/// An object as protobuf.
pub fn protobuf(input: &[u8]) {
    let magic: &[u8] = b"k8s\0";
    let input = if input.starts_with(magic) { input.to_vec() } else { [magic, input].concat() };
    if let Ok(Body::Json(converted)) = body::object("application/vnd.kubernetes.protobuf", input.into()) {
        let handler = Ground::get().handler(&converted);
        if let Ok((object, _)) = handler.decode(&converted, Validation::Strict) {
            keeps(handler, &object.encode().expect("what was decoded can be encoded"));
        }
        post(handler, converted);
    }
}

/// Creates an object, as far as that goes without a store.
pub fn post(handler: &Handler, json: Bytes) {
    let request = request(handler, Verb::Create, &json, Body::Json(json.clone()));
    let aside = Aside::default();
    let context = Ground::get().context(handler, &request, &aside);
    if let Err(refusal) = create::plan(&context) {
        serde_json::to_vec(&refusal.to_status()).expect("a refusal can be encoded");
    }
}

/// What is stored can be read again, printed, and written as protobuf.
pub fn keeps(handler: &Handler, stored: &[u8]) {
    let again = handler.rules.read(stored).expect("what was encoded can be read");
    let twice = again.encode().expect("what was read can be encoded");
    assert_eq!(Bytes::copy_from_slice(stored), Bytes::from(twice), "what is encoded again is the same");
    handler.rules.index(&*again);
    handler.rules.fields(&*again);
    let served = handler.present(&Bytes::copy_from_slice(stored)).expect("what is stored can be shown");
    handler.cells(&served, Timestamp::UNIX_EPOCH).expect("what is stored has cells");
    let (api_version, kind) = (handler.resource.api_version(), &handler.resource.kind);
    if encode::knows(&api_version, kind) {
        // A text that JSON takes for a time or an amount may have no protobuf form.
        let _ = encode::object(&api_version, kind, &served);
    }
}
