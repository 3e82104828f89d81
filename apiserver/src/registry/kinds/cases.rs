//! Every kind's golden cases: `<group>/cases/<kind>.json`, one file for each kind.
//!
//! | field | what it holds |
//! | --- | --- |
//! | `apiVersion`, `kind`, `minimal` | the least object that a client may send |
//! | `completed` | what is stored of it |
//! | `refused` | `with` (merged into `minimal`) and the `errors` of its creation, in upstream's words |
//! | `updates` | `from` and `to` (merged into `minimal`, one after the other), maybe a `part`; `becomes` (what changed, as a merge patch), or `errors` |
//! | `warned` | `with` and the `warnings` of its creation |
//! | `printed` | `with` and the `cells` of its row |
//!
//! `UPDATE_CASES=1 cargo test -p kubelab-apiserver golden` writes the results into the files. Read them before you commit.
#![allow(clippy::unwrap_used)]

use std::{
    cell::RefCell,
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};

use kubelab_api::{
    Resource,
    field::Errors,
    resource::{BUILT_IN, Verbs},
};
use serde_json::{Map, Value, json};

use crate::registry::{
    decode::Validation,
    handler::Handler,
    kinds,
    object::AnyObject,
    table::{Rows, Table},
};

const MADE: &str = "2026-01-01T00:00:00Z";
const NOW: &str = "2026-01-01T00:00:10Z";
const UID: &str = "00000000-0000-0000-0000-000000000001";

static TABLE: LazyLock<Table> = LazyLock::new(Table::built_in);

/// The rules that cases have broken: the places in the code, by file and line.
pub(super) type Broken = BTreeSet<(&'static str, u32)>;

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            files(&entry, found);
        } else if entry.extension().is_some_and(|end| end == "json") && entry.parent().unwrap().ends_with("cases") {
            found.push(entry);
        }
    }
}

/// Each file of cases: where it is, and what it says.
fn every_file() -> Vec<(PathBuf, Value)> {
    let mut found = Vec::new();
    files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/registry"), &mut found);
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).unwrap();
        let file = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        (path, file)
    };
    found.into_iter().map(read).collect()
}

/// The rules that the cases of all files break.
pub(super) fn broken() -> Broken {
    let table = every_kind();
    every_file().iter().flat_map(|(_, file)| evaluated(file, &table).1).collect()
}

/// What is stored, and what is asked and answered.
pub(crate) fn every_kind() -> Table {
    let mut rows = Rows(Vec::new());
    kinds::rows(&mut rows);
    kinds::questions(&mut rows);
    rows.0.into_iter().filter(|row| !is_renamed(&row.resource)).collect()
}

/// Of this question only the version's name ever changed, and k8s-openapi has but the newest.
fn is_renamed(resource: &Resource) -> bool {
    resource.kind == "SelfSubjectReview" && resource.version != "v1"
}

/// One kind's file.
struct File<'a> {
    handler: &'a Handler,
    minimal: Value,
    broken: RefCell<Broken>,
}

fn merged(base: &Value, patch: &Value) -> Value {
    let mut merged = base.clone();
    json_patch::merge(&mut merged, patch);
    merged
}

/// What must be merged into `old` to get `new`.
pub(crate) fn difference(old: &Value, new: &Value) -> Value {
    let (Value::Object(old), Value::Object(new)) = (old, new) else { return new.clone() };
    let mut changes = Map::new();
    for (field, value) in new {
        match old.get(field) {
            Some(before) if before == value => {}
            Some(before) => drop(changes.insert(field.clone(), difference(before, value))),
            None => drop(changes.insert(field.clone(), value.clone())),
        }
    }
    for field in old.keys().filter(|field| !new.contains_key(*field)) {
        changes.insert(field.clone(), Value::Null);
    }
    Value::Object(changes)
}

impl File<'_> {
    /// The errors as texts; who found them is noted.
    fn texts(&self, errors: &Errors) -> Value {
        let rules = errors.0.iter().map(|error| (error.rule.0.file(), error.rule.0.line()));
        self.broken.borrow_mut().extend(rules);
        errors.0.iter().map(ToString::to_string).collect()
    }

    fn decode(&self, json: &Value) -> Box<dyn AnyObject> {
        let bytes = serde_json::to_vec(json).unwrap();
        match self.handler.decode(&bytes, Validation::Strict) {
            Ok((object, _)) => object,
            Err(error) => panic!("{}: {error}: {json}", self.handler.resource.kind),
        }
    }

    fn json(&self, object: &dyn AnyObject) -> Value {
        serde_json::from_slice(&self.handler.encode(object).unwrap()).unwrap()
    }

    /// An object on its way into the store: with what the server says of every object, and of this kind.
    fn created(&self, with: &Value) -> Box<dyn AnyObject> {
        let mut json = merged(&self.minimal, with);
        if self.handler.resource.verbs == Verbs::All {
            json["metadata"]["uid"] = UID.into();
            json["metadata"]["creationTimestamp"] = MADE.into();
        }
        if self.handler.resource.namespaced && json["metadata"].get("namespace").is_none() {
            json["metadata"]["namespace"] = "default".into();
        }
        let mut object = self.decode(&json);
        if self.handler.rules.generation() {
            object.metadata_mut().generation = Some(1);
        }
        self.handler.rules.prepare_create(&mut *object);
        self.handler.rules.settle(&mut *object, &TABLE);
        object
    }

    fn completed(&self) -> Value {
        let mut json = self.json(&*self.created(&json!({})));
        if let Some(meta) = json["metadata"].as_object_mut() {
            meta.remove("uid");
            meta.remove("creationTimestamp");
        }
        json
    }

    fn errors(&self, with: &Value) -> Value {
        let object = self.created(with);
        let mut errors = Errors::default();
        self.handler.rules.validate(&*object, &mut errors);
        self.handler.validate_create(&*object, &mut errors);
        self.texts(&errors)
    }

    /// As `registry::update::replace` does it.
    fn update(&self, case: &Value) -> (&'static str, Value) {
        let rules = &self.handler.rules;
        let before = merged(&self.json(&*self.created(&case["from"])), &case["from"]);
        let old = self.decode(&before);
        let mut new = self.decode(&merged(&before, &case["to"]));
        let part = case["part"].as_str().unwrap_or_default();
        match part {
            "" => rules.prepare_update(&mut *new, &*old),
            "status" => rules.prepare_status_update(&mut *new, &*old),
            part => rules.prepare_part(part, &mut *new, &*old),
        }
        if part != "status" && rules.generation() && rules.spec_changed(&*new, &*old) {
            new.metadata_mut().generation = Some(old.metadata().generation.unwrap_or_default() + 1);
            rules.settle(&mut *new, &TABLE);
        }
        let mut errors = Errors::default();
        match part {
            "" => {
                rules.validate(&*new, &mut errors);
                self.handler.validate_update(&*new, &*old, &mut errors);
            }
            "status" => rules.validate_status_update(&*new, &*old, &mut errors),
            part => {
                rules.validate(&*new, &mut errors);
                rules.validate_part(part, &*new, &*old, &mut errors);
            }
        }
        match errors.is_empty() {
            true => ("becomes", difference(&self.json(&*old), &self.json(&*new))),
            false => ("errors", self.texts(&errors)),
        }
    }

    fn cells(&self, with: &Value) -> Value {
        let base = self.json(&*self.created(&json!({})));
        let object = self.decode(&merged(&base, with));
        self.handler.rules.cells(&*object, NOW.parse().unwrap()).into()
    }
}

/// The file with its results as they are now, and the rules that its cases break.
fn evaluated(file: &Value, table: &Table) -> (Value, Broken) {
    let (group, version) = file["apiVersion"].as_str().unwrap().rsplit_once('/').unwrap_or(("", "v1"));
    let of_kind = |r: &&Resource| r.group == group && r.version == version && r.kind == file["kind"].as_str().unwrap();
    let resource = BUILT_IN.iter().find(of_kind).unwrap_or_else(|| panic!("no such kind: {}", file["kind"]));
    let handler = table.get(resource).unwrap();
    let mut minimal = file["minimal"].clone();
    minimal["apiVersion"] = file["apiVersion"].clone();
    minimal["kind"] = file["kind"].clone();
    let this = File { handler, minimal, broken: RefCell::default() };
    let mut result = file.clone();
    result["completed"] = this.completed();
    assert_eq!(this.errors(&json!({})), json!([]), "{}: the minimal object is sound", resource.kind);
    let each = |result: &mut Value, list: &str, of: &dyn Fn(&Value) -> (&'static str, Value)| {
        for case in result.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
            let (field, value) = of(case);
            let fields = case.as_object_mut().unwrap();
            fields.retain(|field, _| !matches!(field.as_str(), "errors" | "becomes" | "warnings" | "cells"));
            fields.insert(field.into(), value);
        }
    };
    each(&mut result, "refused", &|case| ("errors", this.errors(&case["with"])));
    each(&mut result, "updates", &|case| this.update(case));
    each(&mut result, "warned", &|case| {
        ("warnings", this.handler.rules.warnings(&*this.created(&case["with"])).into())
    });
    each(&mut result, "printed", &|case| ("cells", this.cells(&case["with"])));
    (result, this.broken.into_inner())
}

/// One case a line.
fn written(file: &Value) -> String {
    let mut out = String::from("{\n");
    let order =
        ["apiVersion", "kind", "minimal", "completed", "refused", "updates", "warned", "printed"].map(str::to_owned);
    let fields: Vec<_> = order.iter().filter_map(|field| Some((field, file.get(field)?))).collect();
    for (i, (field, value)) in fields.iter().enumerate() {
        let end = if i + 1 < fields.len() { "," } else { "" };
        match value {
            Value::Array(cases) => {
                let lines: Vec<_> = cases.iter().map(|case| format!("    {case}")).collect();
                out += &format!("  \"{field}\": [\n{}\n  ]{end}\n", lines.join(",\n"));
            }
            value => out += &format!("  \"{field}\": {value}{end}\n"),
        }
    }
    out + "}\n"
}

#[test]
fn golden_cases_of_every_kind() {
    let table = every_kind();
    let mut seen = BTreeSet::new();
    let mut sound = Vec::new();
    for (path, file) in every_file() {
        let (result, _) = evaluated(&file, &table);
        seen.insert((file["apiVersion"].to_string(), file["kind"].to_string()));
        let refused = result["refused"].as_array().into_iter().flatten();
        let missed = refused.filter(|case| case["errors"] == json!([]));
        sound.extend(missed.map(|case| format!("{}: {}", file["kind"], case["with"])));
        if std::env::var_os("UPDATE_CASES").is_some() {
            fs::write(&path, written(&result)).unwrap();
            continue;
        }
        for (field, value) in result.as_object().unwrap() {
            match (value, &file[field]) {
                (Value::Array(now), Value::Array(said)) => {
                    for (now, said) in now.iter().zip(said) {
                        assert_eq!(now, said, "{}: {field}", path.display());
                    }
                }
                (now, said) => assert_eq!(now, said, "{}: {field}", path.display()),
            }
        }
    }
    assert!(sound.is_empty(), "not refused:\n{}", sound.join("\n"));
    for resource in BUILT_IN.iter().filter(|resource| !is_renamed(resource)) {
        let key = (Value::from(resource.api_version()).to_string(), Value::from(&*resource.kind).to_string());
        assert!(seen.contains(&key), "{} {} has no file of cases", key.0, key.1);
    }
}
