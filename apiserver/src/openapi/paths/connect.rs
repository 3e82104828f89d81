//! The operations of streams: exec, attach, port-forward, proxy, and logs.

use serde_json::{Map, Value, json};

use super::{Parameters, Place, capitalize};
use crate::openapi::{parameters::Parameter, schemas::Dialect};

const EXEC: &[Parameter] = &[
    ("command", "string", "The program and its arguments, one by one."),
    ("container", "string", "The container; the only one, or the first, where it is missing."),
    ("stderr", "boolean", "Send what it writes to standard error."),
    ("stdin", "boolean", "Take its standard input."),
    ("stdout", "boolean", "Send what it writes to standard output."),
    ("tty", "boolean", "Give it a terminal."),
];
const LOG: &[Parameter] = &[
    ("container", "string", "The container; the only one where it is missing."),
    ("follow", "boolean", "Go on with what is written from now on."),
    ("insecureSkipTLSVerifyBackend", "boolean", "Believe any kubelet."),
    ("limitBytes", "integer", "At most so many bytes."),
    ("previous", "boolean", "Of the container that ended last."),
    ("sinceSeconds", "integer", "Only what is not older than this."),
    ("stream", "string", "`All`, `Stdout` or `Stderr`."),
    ("tailLines", "integer", "Only the last lines, so many."),
    ("timestamps", "boolean", "Put its time before each line."),
];
const PORTS: &[Parameter] = &[("ports", "integer", "The ports; needed for WebSockets.")];
const PATH: &[Parameter] = &[("path", "string", "What to ask for there.")];

/// The operations of a part that is a stream; `None` for every other part.
pub fn operations(place: &Place<'_>, part: &str, parameters: &mut Parameters) -> Option<Map<String, Value>> {
    let (takes, methods): (_, &[&str]) = match part {
        "log" => {
            let id = format!("read{}{}", place.of, place.subject);
            let about = format!("Read the log of a {}.", place.kind);
            let mut read = place.operation(id, ("get", about), parameters.query(LOG));
            answers(place, &mut read, "text/plain");
            return Some(Map::from_iter([("get".to_owned(), read.into())]));
        }
        "exec" => (EXEC, &["get", "post"]),
        // An attach has no command.
        "attach" => (&EXEC[1..], &["get", "post"]),
        "portforward" => (PORTS, &["get", "post"]),
        "proxy" => (PATH, &["delete", "get", "head", "options", "patch", "post", "put"]),
        _ => return None,
    };
    let mut operation = |method: &&str| {
        let id = format!("connect{}{}{}", place.of, capitalize(method), place.subject);
        let about = format!("Connect {} requests to {part}.", method.to_uppercase());
        let mut operation = place.operation(id, ("connect", about), parameters.query(takes));
        answers(place, &mut operation, "*/*");
        ((*method).to_owned(), operation.into())
    };
    Some(methods.iter().map(&mut operation).collect())
}

fn answers(place: &Place<'_>, operation: &mut Map<String, Value>, media_type: &str) {
    let text = json!({ "type": "string" });
    let mut ok = json!({ "description": "OK" });
    match place.dialect {
        Dialect::V2 => {
            ok["schema"] = text;
            operation.insert("produces".into(), json!([media_type]));
        }
        Dialect::V3 => ok["content"] = json!({ media_type: { "schema": text } }),
    }
    let responses = json!({ "200": ok, "401": { "description": "Unauthorized" } });
    operation.insert("responses".into(), responses);
}
