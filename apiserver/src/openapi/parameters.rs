//! The parameters of operations. Source of names and types: the options in `k8s.io/apimachinery/pkg/apis/meta/v1`.

use serde_json::{Map, Value, json};

use super::schemas::Dialect;
use crate::discovery::etag;

/// Name, type and meaning of a parameter in the query.
pub type Parameter = (&'static str, &'static str, &'static str);

const PRETTY: Parameter =
    ("pretty", "string", "`true` for an indented answer. Without it, browsers, curl and wget get one.");
const DRY_RUN: Parameter =
    ("dryRun", "string", "`All`: do everything but store the result. Any other value is refused.");
const MANAGER: Parameter = (
    "fieldManager",
    "string",
    "Who makes this change: up to 128 printable characters. Required for apply patches; else taken from the User-Agent.",
);
const VALIDATION: Parameter = (
    "fieldValidation",
    "string",
    "What becomes of unknown and duplicate fields: `Ignore` drops them, `Warn` (the default) warns of each, `Strict` refuses.",
);
const FORCE: Parameter =
    ("force", "boolean", "Take over fields that others manage. Only for apply patches, where it resolves conflicts.");
const SELECTION: [Parameter; 10] = [
    ("allowWatchBookmarks", "boolean", "Let the server send BOOKMARK events in a watch."),
    ("continue", "string", "Where the last page ended, as the server said. It is valid for a few minutes."),
    ("fieldSelector", "string", "Only objects whose fields have these values."),
    ("labelSelector", "string", "Only objects with these labels."),
    ("limit", "integer", "At most so many objects; the answer says how to go on."),
    ("resourceVersion", "string", "How fresh the answer must be, or where a watch begins."),
    ("resourceVersionMatch", "string", "What resourceVersion means: `Exact` or `NotOlderThan`."),
    (
        "sendInitialEvents",
        "boolean",
        "A watch begins with the present state and marks its end with a bookmark. Needs resourceVersionMatch=NotOlderThan.",
    ),
    ("timeoutSeconds", "integer", "How long the request may last, whatever happens."),
    ("watch", "boolean", "Answer with a stream of changes instead of a list."),
];
const DELETION: [Parameter; 5] = [
    ("gracePeriodSeconds", "integer", "How long the object may take to end; 0 deletes at once."),
    (
        "ignoreStoreReadErrorWithClusterBreakingPotential",
        "boolean",
        "Delete an object that cannot be read from the store, whatever that breaks.",
    ),
    ("orphanDependents", "boolean", "Superseded by propagationPolicy: leave dependents alone."),
    ("propagationPolicy", "string", "What becomes of dependents: `Orphan`, `Background` or `Foreground`."),
    ("resourceVersion", "string", "Only if the object still has this version."),
];

/// What an operation takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    Nothing,
    Selection,
    Writing,
    Patching,
    Deletion,
    Collection,
}

/// The parameters of one document. Swagger 2.0 keeps each once and refers to it.
pub struct Parameters {
    dialect: Dialect,
    /// Those that are referred to.
    pub shared: Map<String, Value>,
}

impl Parameters {
    /// No parameters yet.
    pub fn new(dialect: Dialect) -> Self {
        Self { dialect, shared: Map::new() }
    }

    /// Those of an operation.
    pub fn of(&mut self, takes: Takes) -> Vec<Value> {
        let delete = &DELETION[..4];
        let listed: Vec<&Parameter> = match takes {
            Takes::Nothing => Vec::new(),
            Takes::Selection => SELECTION.iter().collect(),
            Takes::Writing => vec![&DRY_RUN, &MANAGER, &VALIDATION],
            Takes::Patching => vec![&DRY_RUN, &MANAGER, &VALIDATION, &FORCE],
            Takes::Deletion => std::iter::once(&DRY_RUN).chain(delete).collect(),
            Takes::Collection => {
                let selection = SELECTION.iter().filter(|(name, ..)| !["watch", "allowWatchBookmarks"].contains(name));
                std::iter::once(&DRY_RUN).chain(delete).chain(selection).collect()
            }
        };
        listed.into_iter().map(|(name, kind, meaning)| self.add(name, "query", kind, meaning)).collect()
    }

    /// These, in the query.
    pub fn query(&mut self, listed: &[Parameter]) -> Vec<Value> {
        listed.iter().map(|(name, kind, meaning)| self.add(name, "query", kind, meaning)).collect()
    }

    /// Those of a path: what stands in it, and `pretty`.
    pub fn above(&mut self, in_path: &[(&str, &str)], all: bool) -> Vec<Value> {
        let mut above: Vec<Value> =
            in_path.iter().map(|(name, meaning)| self.add(name, "path", "string", meaning)).collect();
        if all {
            above.extend(SELECTION.iter().map(|(name, kind, meaning)| self.add(name, "query", kind, meaning)));
        }
        let (name, kind, meaning) = PRETTY;
        above.push(self.add(name, "query", kind, meaning));
        above
    }

    /// The body of an operation in Swagger 2.0.
    pub fn body(&mut self, schema: Value, required: bool) -> Value {
        let mut body = json!({ "in": "body", "name": "body", "schema": schema });
        if required {
            body["required"] = true.into();
        }
        body
    }

    fn add(&mut self, name: &str, place: &str, kind: &str, meaning: &str) -> Value {
        let mut parameter = json!({ "name": name, "in": place, "description": meaning });
        if place == "path" {
            parameter["required"] = true.into();
        }
        match self.dialect {
            Dialect::V3 => parameter["schema"] = json!({ "type": kind, "uniqueItems": true }),
            Dialect::V2 => {
                parameter["type"] = kind.into();
                parameter["uniqueItems"] = true.into();
                // A name in the path is described by its kind, so it is hardly ever the same.
                if name == "name" {
                    return parameter;
                }
                let hash = etag(parameter.to_string().as_bytes());
                let key = format!("{name}-{}", &hash.trim_matches('"')[..8]);
                let reference = json!({ "$ref": format!("#/parameters/{key}") });
                self.shared.insert(key, parameter);
                return reference;
            }
        }
        parameter
    }
}
