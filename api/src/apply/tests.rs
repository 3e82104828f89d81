//! Golden cases, and what holds for all objects.
#![allow(clippy::unwrap_used)]

use std::{fs, path::Path};

use jiff::Timestamp;
use serde_json::json;

use super::*;
use crate::{patch::Schema, resource};

mod cost;
mod properties;

/// An object under a sequence of writes.
pub(super) struct Object {
    schema: Schema,
    api_version: String,
    ignored: Set,
    pub(super) live: Option<Value>,
    pub(super) managers: Vec<Manager>,
    clock: i64,
}

impl Object {
    pub(super) fn new(kind: &str) -> Self {
        let resource = resource::named(kind).unwrap();
        Self {
            schema: Schema::of(resource).unwrap(),
            api_version: resource.api_version(),
            ignored: Set::default(),
            live: None,
            managers: Vec::new(),
            clock: 0,
        }
    }

    fn ground(&self) -> Ground<'_> {
        Ground { api_version: &self.api_version, schema: &self.schema, ignored: &self.ignored, versions: &OneVersion }
    }

    fn tick(&mut self) -> Time {
        self.clock += 1;
        Time(Timestamp::from_second(self.clock).unwrap())
    }

    pub(super) fn update(&mut self, name: &str, subresource: &str, new: Value) {
        let now = self.tick();
        let writer = Writer { name, subresource, now: &now };
        self.managers = update(self.ground(), writer, self.live.as_ref(), &new, self.managers.clone()).unwrap();
        self.live = Some(new);
    }

    pub(super) fn apply(&mut self, name: &str, subresource: &str, config: &Value, force: bool) -> Result<(), Error> {
        let now = self.tick();
        let writer = Writer { name, subresource, now: &now };
        let applied = apply(self.ground(), writer, self.live.as_ref(), config, self.managers.clone(), force)?;
        self.live = Some(applied.object);
        self.managers = applied.managers;
        Ok(())
    }

    /// Each manager's fields, under its name.
    fn managed(&self) -> Value {
        let name = |manager: &Manager| {
            let Identity { name, operation, subresource, .. } = &manager.identity;
            let part = if subresource.is_empty() { String::new() } else { format!("/{subresource}") };
            format!("{name} {}{part}", operation.name())
        };
        let fields = |manager: &Manager| (name(manager), fields_v1::encode(&manager.fields));
        Value::Object(self.managers.iter().map(fields).collect())
    }
}

/// Each file in `cases/` holds a list of cases: `what`, `kind`, and `steps`. A step is an `update` or an `apply` of an
/// object `as` a manager, perhaps `through` a part, perhaps with `force`, which leads to `live` and `managed`, or to an
/// `error`.
#[test]
fn cases() {
    let mut count = 0;
    for file in fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/apply/cases")).unwrap() {
        let path = file.unwrap().path();
        let cases: Vec<Value> = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        for case in cases {
            let mut object = Object::new(case["kind"].as_str().unwrap());
            for (number, step) in case["steps"].as_array().unwrap().iter().enumerate() {
                let what = format!("{}: {}, step {}", path.display(), case["what"], number + 1);
                let text = |name: &str| step[name].as_str().unwrap_or_default().to_owned();
                let (name, part) = (text("as"), text("through"));
                if let Some(ignored) = step["ignored"].as_str() {
                    object.ignored = Set::of_fields(&[&[ignored]]);
                }
                let outcome = match step.get("update") {
                    Some(new) => {
                        object.update(&name, &part, new.clone());
                        Ok(())
                    }
                    None => object.apply(&name, &part, &step["apply"], step["force"] == true),
                };
                match (outcome, step.get("error")) {
                    (Err(error), Some(expected)) => assert_eq!(error.message, expected.as_str().unwrap(), "{what}"),
                    (Ok(()), None) => {}
                    (outcome, _) => panic!("{what}: {outcome:?}"),
                }
                if let Some(live) = step.get("live") {
                    assert_eq!(object.live.as_ref().unwrap(), live, "{what}");
                }
                if let Some(managed) = step.get("managed") {
                    assert_eq!(object.managed(), *managed, "{what}: {:#}", object.managed());
                }
            }
            count += 1;
        }
    }
    assert!(count >= 12, "only {count} cases were found");
}

#[test]
fn a_conflict_names_its_causes() {
    let mut object = Object::new("deploy");
    object.update("kubectl-client-side-apply", "", json!({"spec": {"replicas": 1}}));
    let error = object.apply("me", "", &json!({"spec": {"replicas": 2}}), false).unwrap_err();
    assert_eq!(
        error.message,
        "Apply failed with 1 conflict: conflict with \"kubectl-client-side-apply\" using apps/v1: .spec.replicas"
    );
    let status = serde_json::to_value(error.to_status()).unwrap();
    assert_eq!((&status["code"], &status["reason"]), (&json!(409), &json!("Conflict")));
    assert_eq!(
        status["details"]["causes"],
        json!([{
            "reason": "FieldManagerConflict",
            "message": "conflict with \"kubectl-client-side-apply\" using apps/v1",
            "field": ".spec.replicas",
        }])
    );
}

#[test]
fn no_more_than_ten_updaters_are_told_apart() {
    let mut object = Object::new("cm");
    let mut data = serde_json::Map::new();
    for n in 0..14 {
        data.insert(format!("k{n:02}"), "x".into());
        object.update(&format!("m{n:02}"), "", json!({"data": data.clone()}));
    }
    let entries = manager::encode(object.managers.clone()).unwrap();
    let names: Vec<_> = entries.iter().map(|entry| entry.manager.as_deref().unwrap()).collect();
    assert_eq!(names[..2], ["ancient-changes", "m05"]);
    assert_eq!(names.len(), 10);
    assert_eq!(serde_json::to_value(&entries[0].time).unwrap(), "1970-01-01T00:00:05Z", "the youngest of them");
    let ancient = manager::decode(&entries).unwrap().remove(0);
    assert_eq!(ancient.fields.paths().len(), 6, "five keys, and `data` itself");
}

#[test]
fn managed_fields_are_read_as_they_were_written() {
    let mut object = Object::new("pod");
    object.update("a", "", json!({"metadata": {"labels": {"x": "y"}}, "spec": {"containers": [{"name": "c"}]}}));
    object.apply("b", "", &json!({"metadata": {"labels": {"z": "y"}}}), false).unwrap();
    let entries = manager::encode(object.managers.clone()).unwrap();
    assert_eq!(entries[0].operation.as_deref(), Some("Apply"));
    let mut read = manager::decode(&entries).unwrap();
    read.sort_by_key(|manager| std::cmp::Reverse(manager.identity.operation));
    assert_eq!(read, object.managers);

    let entry = |change: fn(&mut k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry)| {
        let mut entry = entries[0].clone();
        change(&mut entry);
        manager::decode(&[entry]).unwrap_err().to_string()
    };
    assert_eq!(entry(|entry| entry.operation = Some("Patch".into())), "operation must be `Apply` or `Update`");
    assert_eq!(entry(|entry| entry.api_version = None), "apiVersion must not be empty");
    assert_eq!(entry(|entry| entry.fields_type = None), "missing fieldsType in managed fields entry 0");
    assert_eq!(
        entry(|entry| entry.fields_type = Some("FieldsV2".into())),
        "invalid fieldsType \"FieldsV2\" in managed fields entry 0"
    );
}

#[test]
fn values_are_checked_by_their_type() {
    let check = |kind: &str, value: Value| {
        let schema = Schema::of(resource::named(kind).unwrap()).unwrap();
        typed::validate(&value, &schema).map_err(|problems| problems.to_string()).unwrap_err()
    };
    for (kind, value, message) in [
        ("deploy", json!({"spec": {"replica": 1}}), ".spec.replica: field not declared in schema"),
        ("deploy", json!({"spec": {"replicas": "1"}}), ".spec.replicas: expected numeric (int or float), got string"),
        ("cm", json!({"data": {"a": 1}}), ".data.a: expected string, got &value.valueUnstructured{Value:1}"),
        ("cm", json!({"data": ["a"]}), ".data: expected map, got &{[a]}"),
        ("cm", json!({"immutable": "yes"}), ".immutable: expected boolean, got &{yes}"),
        ("svc", json!({"spec": {"ports": {"port": 1}}}), ".spec.ports: expected list, got &{map[port:1]}"),
        (
            "svc",
            json!({"spec": {"ports": [{"port": 1}, {"port": 1, "protocol": "TCP"}]}}),
            ".spec.ports: duplicate entries for key [port=1,protocol=\"TCP\"]",
        ),
        (
            "pod",
            json!({"spec": {"containers": [{"name": "c", "img": "x"}], "x": 1}}),
            "errors:\n  .spec.containers[name=\"c\"].img: field not declared in schema\n  .spec.x: field not declared in \
             schema",
        ),
        (
            "sa",
            json!({"secrets": [{"namespace": "x"}]}),
            ".secrets: element 0: associative list with keys has an element that omits all key fields [\"name\"] (and \
             doesn't have default values for any key fields)",
        ),
    ] {
        assert_eq!(check(kind, value), message);
    }
}
