//! The operations of streams: exec, attach, port-forward, proxy, and logs.

use serde_json::{Map, Value, json};

use super::Place;

const EXEC: &[(&str, &str)] = &[
    ("command", "string"),
    ("container", "string"),
    ("stderr", "boolean"),
    ("stdin", "boolean"),
    ("stdout", "boolean"),
    ("tty", "boolean"),
];
const LOG: &[(&str, &str)] = &[
    ("container", "string"),
    ("follow", "boolean"),
    ("insecureSkipTLSVerifyBackend", "boolean"),
    ("limitBytes", "integer"),
    ("previous", "boolean"),
    ("sinceSeconds", "integer"),
    ("stream", "string"),
    ("tailLines", "integer"),
    ("timestamps", "boolean"),
];

/// The operations of a part that is a stream; `None` for every other part.
pub fn operations(place: &Place<'_>, part: &str) -> Option<Map<String, Value>> {
    let (parameters, methods): (_, &[&str]) = match part {
        "log" => {
            let mut read = place.operation("read", "get", LOG, Value::Null);
            read["responses"]["200"]["content"] = json!({ "text/plain": text() });
            return Some(Map::from_iter([("get".to_owned(), read)]));
        }
        "exec" => (EXEC, &["get", "post"]),
        // An attach has no command.
        "attach" => (&EXEC[1..], &["get", "post"]),
        "portforward" => (&[("ports", "integer")], &["get", "post"]),
        "proxy" => (&[("path", "string")], &["delete", "get", "head", "options", "patch", "post", "put"]),
        _ => return None,
    };
    let operation = |method: &&str| {
        let id = format!("connect{}", super::capitalize(method));
        let mut operation = place.operation(&id, "connect", parameters, Value::Null);
        operation["responses"]["200"]["content"] = json!({ "*/*": text() });
        ((*method).to_owned(), operation)
    };
    Some(methods.iter().map(operation).collect())
}

fn text() -> Value {
    json!({ "schema": { "type": "string" } })
}
