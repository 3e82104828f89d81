//! Custom resources over a real store.

use super::*;

fn definition(patch: Value) -> Value {
    let mut definition = json!({
        "metadata": {"name": "widgets.example.com"},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": "widgets", "kind": "Widget", "shortNames": ["wd"], "categories": ["all"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "subresources": {
                    "status": {},
                    "scale": {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"},
                },
                "additionalPrinterColumns": [{"name": "Size", "type": "string", "jsonPath": ".spec.size"}],
                "selectableFields": [{"jsonPath": ".spec.size"}],
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                    "spec": {"type": "object", "required": ["size"], "properties": {
                        "size": {"type": "string", "enum": ["S", "M", "L"]},
                        "replicas": {"type": "integer", "default": 1, "minimum": 0},
                    }},
                    "status": {"type": "object", "properties": {"replicas": {"type": "integer"}, "note": {"type": "string"}}},
                }}},
            }],
        },
    });
    json_patch::merge(&mut definition, &patch);
    definition
}

fn widget(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name}, "spec": spec})
}

fn condition<'a>(definition: &'a Value, name: &str) -> &'a Value {
    let conditions = definition["status"]["conditions"].as_array().unwrap();
    conditions.iter().find(|condition| condition["type"] == name).unwrap()
}

impl Lab {
    fn of_version(&self, version: &str, verb: Verb, part: &str, name: &str) -> Request {
        let resource = self.registry.find("example.com", version, "widgets").unwrap();
        Request { resource, subresource: part.into(), ..self.request(verb, "configmaps", "default", name) }
    }

    async fn custom(&self, verb: Verb, part: &str, name: &str, body: Value) -> Result<Value, Error> {
        let request = self.of_version("v1", verb, part, name);
        let body = match verb {
            Verb::Patch => Body::Patch { media_type: patch::MERGE.into(), patch: body.to_string().into() },
            Verb::Get | Verb::Delete => Body::None,
            _ => Body::Json(body.to_string().into()),
        };
        self.object(Request { body, ..request }).await
    }
}

#[tokio::test]
async fn a_definition_is_served_from_the_moment_it_is_there() {
    let lab = Lab::start().await;
    assert!(lab.registry.find("example.com", "v1", "widgets").is_none());
    let made = lab.create("customresourcedefinitions", "", definition(json!({}))).await.unwrap();
    assert_eq!(condition(&made, "NamesAccepted")["reason"], "NoConflicts");
    assert_eq!(condition(&made, "Established")["reason"], "InitialNamesAccepted");
    assert_eq!(made["status"]["acceptedNames"]["shortNames"], json!(["wd"]));
    assert_eq!(made["status"]["acceptedNames"]["listKind"], "WidgetList");
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));

    let resource = lab.registry.find("example.com", "v1", "widgets").unwrap();
    assert_eq!(resource.subresources, ["status", "scale"]);
    let made = lab.custom(Verb::Create, "", "", widget("a", json!({"size": "S"}))).await.unwrap();
    assert_eq!(made["spec"], json!({"size": "S", "replicas": 1}));
    assert_eq!(made["metadata"]["generation"], 1);
    assert_eq!(lab.custom(Verb::Get, "", "a", json!({})).await.unwrap(), made);
    let cells = lab.registry.cells(&resource, made.to_string().as_bytes(), Timestamp::now()).unwrap();
    assert_eq!(cells, [json!("a"), json!("S")]);
}

#[tokio::test]
async fn objects_are_what_the_schema_says() {
    let lab = Lab::start().await;
    lab.create("customresourcedefinitions", "", definition(json!({}))).await.unwrap();
    for (object, code, wrong) in [
        (widget("a", json!({})), 422, "Widget.example.com \"a\" is invalid: spec.size: Required value"),
        (
            widget("a", json!({"size": "X"})),
            422,
            "Widget.example.com \"a\" is invalid: spec.size: Unsupported value: \"X\": supported values: \"S\", \"M\", \"L\"",
        ),
        (
            widget("a", json!({"size": "S", "replicas": -1})),
            422,
            "Widget.example.com \"a\" is invalid: [spec.replicas: Invalid value: -1: spec.replicas in body should be \
             greater than or equal to 0, .spec.replicas: Invalid value: -1: should be a non-negative integer]",
        ),
        (
            widget("a", json!({"size": "S", "colour": "red"})),
            400,
            "Widget in version \"v1\" cannot be handled as a Widget: strict decoding error: unknown field \"spec.colour\"",
        ),
        (
            json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "a"}}),
            400,
            "the API version in the data (example.com/v2) does not match the expected API version (example.com/v1)",
        ),
        (
            json!({"kind": "Gadget", "metadata": {"name": "a"}, "spec": {"size": "S"}}),
            422,
            "Widget.example.com \"a\" is invalid: kind: Invalid value: \"Gadget\": must be Widget",
        ),
    ] {
        let error = lab.custom(Verb::Create, "", "", object).await.unwrap_err();
        assert_eq!((error.code(), error.message.as_str()), (code, wrong));
    }
}

#[tokio::test]
async fn spec_status_and_scale_are_written_apart() {
    let lab = Lab::start().await;
    lab.create("customresourcedefinitions", "", definition(json!({}))).await.unwrap();
    let mut sent = widget("a", json!({"size": "S"}));
    sent["status"] = json!({"note": "mine"});
    let made = lab.custom(Verb::Create, "", "", sent).await.unwrap();
    assert_eq!(made.get("status"), None);

    let changed =
        lab.custom(Verb::Patch, "", "a", json!({"spec": {"size": "M"}, "status": {"note": "x"}})).await.unwrap();
    assert_eq!((&changed["metadata"]["generation"], changed.get("status")), (&json!(2), None));
    let labelled = lab.custom(Verb::Patch, "", "a", json!({"metadata": {"labels": {"a": "b"}}})).await.unwrap();
    assert_eq!(labelled["metadata"]["generation"], 2);

    let body = json!({"spec": {"size": "L"}, "status": {"replicas": 2}});
    let stated = lab.custom(Verb::Patch, "status", "a", body).await.unwrap();
    assert_eq!((&stated["spec"]["size"], &stated["status"]), (&json!("M"), &json!({"replicas": 2})));
    assert_eq!(stated["metadata"]["generation"], 2);
    let error = lab.custom(Verb::Patch, "status", "a", json!({"status": {"replicas": "two"}})).await.unwrap_err();
    assert_eq!(
        error.message,
        "Widget.example.com \"a\" is invalid: [status.replicas: Invalid value: \"string\": replicas in body must be of \
         type integer: \"string\", .status.replicas: Invalid value: 0: .status.replicas accessor error: two is of the \
         type string, expected int64]"
    );

    let scale = lab.custom(Verb::Get, "scale", "a", json!({})).await.unwrap();
    assert_eq!(
        (&scale["kind"], &scale["spec"], &scale["status"]),
        (&json!("Scale"), &json!({"replicas": 1}), &json!({"replicas": 2}))
    );
    let scaled = lab.custom(Verb::Patch, "scale", "a", json!({"spec": {"replicas": 5}})).await.unwrap();
    assert_eq!(scaled["spec"], json!({"replicas": 5}));
    let got = lab.custom(Verb::Get, "", "a", json!({})).await.unwrap();
    assert_eq!((&got["spec"]["replicas"], &got["metadata"]["generation"]), (&json!(5), &json!(3)));
    let sent =
        json!({"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": "a"}, "spec": {"replicas": 6}});
    assert_eq!(lab.custom(Verb::Update, "scale", "a", sent).await.unwrap()["spec"], json!({"replicas": 6}));

    // A whole object must say which version it replaces.
    let error = lab.custom(Verb::Update, "", "a", widget("a", json!({"size": "S"}))).await.unwrap_err();
    assert!(error.message.ends_with("metadata.resourceVersion: Invalid value: 0: must be specified for an update"));
}

#[tokio::test]
async fn rules_compare_what_is_with_what_was() {
    let lab = Lab::start().await;
    let rules = json!([
        {"rule": "!has(self.max) || self.replicas <= self.max", "messageExpression": "self.max == 2 ? 'at most 2' : 'too many'"},
        {"rule": "self.size == oldSelf.size", "message": "size is immutable", "fieldPath": ".size",
         "reason": "FieldValueForbidden"},
    ]);
    let mut ruled = definition(json!({}));
    let spec = &mut ruled["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["properties"]["max"] = json!({"type": "integer", "x-kubernetes-validations": [{"rule": "self > 0"}]});
    spec["x-kubernetes-validations"] = rules;
    lab.create("customresourcedefinitions", "", ruled.clone()).await.unwrap();
    for (spec, wrong) in [
        (json!({"size": "S", "replicas": 3, "max": 2}), "spec: Invalid value: at most 2"),
        (
            json!({"size": "S", "max": -1, "replicas": -2}),
            "[spec.replicas: Invalid value: -2: spec.replicas in body should be greater than or equal to 0, .spec.replicas: \
          Invalid value: -2: should be a non-negative integer, spec.max: Invalid value: -1: failed rule: self > 0]",
        ),
        (
            json!({"size": "X"}),
            "[spec.size: Unsupported value: \"X\": supported values: \"S\", \"M\", \"L\", <nil>: Invalid value: \"null\": some \
          validation rules were not checked because the object was invalid; correct the existing errors to complete \
          validation]",
        ),
    ] {
        let error = lab.custom(Verb::Create, "", "", widget("a", spec)).await.unwrap_err();
        assert_eq!(error.message, format!("Widget.example.com \"a\" is invalid: {wrong}"));
    }
    lab.custom(Verb::Create, "", "", widget("a", json!({"size": "S"}))).await.unwrap();
    let error = lab.custom(Verb::Patch, "", "a", json!({"spec": {"size": "M"}})).await.unwrap_err();
    assert_eq!(error.message, "Widget.example.com \"a\" is invalid: spec.size: Forbidden: size is immutable");

    for (rule, wrong) in [
        (json!({"rule": "self.nothing"}), "undefined field 'nothing'"),
        (json!({"rule": "self.size"}), "cel expression must evaluate to a bool"),
        (json!({"rule": "true", "messageExpression": "1"}), "messageExpression must evaluate to a string"),
        (json!({"rule": "true", "optionalOldSelf": true}), "may not be set if oldSelf is not used in rule"),
    ] {
        let mut other = ruled.clone();
        other["metadata"]["name"] = "gadgets.example.com".into();
        other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget"});
        let spec = &mut other["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
        spec["x-kubernetes-validations"] = json!([rule]);
        let error = lab.create("customresourcedefinitions", "", other).await.unwrap_err();
        let place = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]";
        assert!(error.message.contains(place) && error.message.contains(wrong), "{error}");
    }
}

#[tokio::test]
async fn configurations_are_applied_by_the_schema() {
    let lab = Lab::start().await;
    let mut listed = definition(json!({}));
    let spec = &mut listed["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"];
    spec["properties"]["axes"] = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
        "items": {"type": "object", "required": ["name"], "properties": {
            "name": {"type": "string"}, "length": {"type": "integer"}}},
    });
    lab.create("customresourcedefinitions", "", listed).await.unwrap();
    let apply = async |manager: &str, spec: Value| {
        let body = Body::Patch { media_type: patch::APPLY.into(), patch: widget("a", spec).to_string().into() };
        let mut request = Request { body, ..lab.of_version("v1", Verb::Patch, "", "a") };
        request.options.field_manager = manager.into();
        lab.object(request).await
    };
    let axis = |name: &str, length: i64| json!({"name": name, "length": length});
    apply("one", json!({"size": "S", "axes": [axis("x", 1)]})).await.unwrap();
    let both = apply("two", json!({"size": "S", "axes": [axis("y", 2)]})).await.unwrap();
    assert_eq!(both["spec"]["axes"], json!([axis("x", 1), axis("y", 2)]));
    let error = apply("two", json!({"size": "S", "axes": [axis("x", 3), axis("y", 2)]})).await.unwrap_err();
    assert_eq!(error.code(), 409);
    assert!(error.message.contains(".spec.axes[name=\"x\"].length"), "{error}");
    let left = apply("one", json!({"size": "S"})).await.unwrap();
    assert_eq!(left["spec"]["axes"], json!([axis("y", 2)]));
}

#[tokio::test]
async fn a_strategic_merge_patch_is_refused() {
    let lab = Lab::start().await;
    lab.create("customresourcedefinitions", "", definition(json!({}))).await.unwrap();
    lab.custom(Verb::Create, "", "", widget("a", json!({"size": "S"}))).await.unwrap();
    let body = Body::Patch { media_type: patch::STRATEGIC.into(), patch: "{}".into() };
    let error = lab.send(Request { body, ..lab.of_version("v1", Verb::Patch, "", "a") }).await.map(drop).unwrap_err();
    assert_eq!(
        (error.code(), error.message.as_str()),
        (
            415,
            "the body of the request was in an unknown format - accepted media types include: \
             application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        )
    );
}

#[tokio::test]
async fn objects_are_selected_by_the_fields_that_the_definition_names() {
    let lab = Lab::start().await;
    lab.create("customresourcedefinitions", "", definition(json!({}))).await.unwrap();
    for (name, size) in [("a", "S"), ("b", "M")] {
        lab.custom(Verb::Create, "", "", widget(name, json!({"size": size}))).await.unwrap();
    }
    let list = async |selector: &str| {
        let mut request = lab.of_version("v1", Verb::List, "", "");
        request.options.list.field_selector = selector.into();
        lab.object(request).await
    };
    let found = list("spec.size=M").await.unwrap();
    assert_eq!(found["items"].as_array().unwrap().len(), 1);
    assert_eq!(found["items"][0]["metadata"]["name"], "b");
    let error = list("spec.replicas=1").await.unwrap_err();
    assert!(error.message.contains("field label not supported: spec.replicas"), "{error}");
}

#[tokio::test]
async fn names_belong_to_who_came_first() {
    let lab = Lab::start().await;
    lab.create("customresourcedefinitions", "", definition(json!({}))).await.unwrap();
    let other = definition(json!({"metadata": {"name": "gadgets.example.com"}, "spec": {"names":
        {"plural": "gadgets", "kind": "Gadget", "shortNames": ["wd"]}}}));
    let second = lab.create("customresourcedefinitions", "", other).await.unwrap();
    let accepted = condition(&second, "NamesAccepted");
    assert_eq!((&accepted["status"], &accepted["reason"]), (&json!("False"), &json!("ShortNamesConflict")));
    assert_eq!(accepted["message"], "\"wd\" is already in use");
    assert_eq!(condition(&second, "Established")["message"], "not all names are accepted");
    assert!(lab.registry.find("example.com", "v1", "gadgets").is_none());

    let free = json!({"spec": {"names": {"shortNames": ["w"]}}});
    lab.patch("customresourcedefinitions", "widgets.example.com", patch::MERGE, free).await.unwrap();
    let again = lab.patch("customresourcedefinitions", "gadgets.example.com", patch::MERGE, json!({})).await.unwrap();
    assert_eq!(condition(&again, "NamesAccepted")["status"], "True");
    assert!(lab.registry.find("example.com", "v1", "gadgets").is_some());
}

#[tokio::test]
async fn versions_show_the_same_objects() {
    let lab = Lab::start().await;
    let mut two = definition(json!({}));
    let mut old = two["spec"]["versions"][0].clone();
    old["name"] = "v1beta1".into();
    old["storage"] = false.into();
    old["deprecated"] = true.into();
    old["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["replicas"] = Value::Null;
    old["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"].as_object_mut().unwrap().remove("replicas");
    two["spec"]["versions"].as_array_mut().unwrap().push(old);
    lab.create("customresourcedefinitions", "", two).await.unwrap();
    lab.custom(Verb::Create, "", "", widget("a", json!({"size": "S", "replicas": 3}))).await.unwrap();
    let request = lab.of_version("v1beta1", Verb::Get, "", "a");
    let answer = lab.registry.handle(&request, &|_| Ok(())).await.unwrap();
    assert_eq!(answer.warnings, ["example.com/v1beta1 Widget is deprecated"]);
    let seen = lab.object(request).await.unwrap();
    assert_eq!((&seen["apiVersion"], &seen["spec"]), (&json!("example.com/v1beta1"), &json!({"size": "S"})));
}

#[tokio::test]
async fn a_definition_goes_after_its_objects_and_ends_their_watches() {
    let lab = Lab::start().await;
    lab.create("customresourcedefinitions", "", definition(json!({}))).await.unwrap();
    lab.custom(Verb::Create, "", "", widget("a", json!({"size": "S"}))).await.unwrap();
    let mut watch = match lab.send(lab.of_version("v1", Verb::Watch, "", "")).await.unwrap() {
        Response::Watch(watch) => *watch,
        _ => panic!("no watch"),
    };
    assert_eq!(next(&mut watch).await.events.len(), 1);

    let crd = "widgets.example.com";
    let ending = lab.delete("customresourcedefinitions", crd, json!({})).await.unwrap();
    assert_eq!(condition(&ending, "Terminating")["reason"], "InstanceDeletionPending");
    assert_eq!(ending["metadata"]["finalizers"], json!(["customresourcecleanup.apiextensions.k8s.io"]));
    let error = lab.custom(Verb::Create, "", "", widget("b", json!({"size": "S"}))).await.unwrap_err();
    assert_eq!(error.code(), 405);
    lab.custom(Verb::Delete, "", "a", json!({})).await.unwrap();
    assert_eq!(next(&mut watch).await.events[0].event_type, EventType::Deleted);

    let finish = json!({"metadata": {"finalizers": null}});
    lab.patch("customresourcedefinitions", crd, patch::MERGE, finish).await.unwrap();
    assert!(watch.next(Duration::from_secs(20)).await.is_none(), "the watch has ended");
    assert!(lab.registry.find("example.com", "v1", "widgets").is_none());
    // All its names are free again.
    let made = lab.create("customresourcedefinitions", "", definition(json!({}))).await.unwrap();
    assert_eq!(condition(&made, "NamesAccepted")["status"], "True");
}
