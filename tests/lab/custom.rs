//! Custom resources: their definitions, kubectl of two ages, and an operator on the `kube` crate.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::{
    api::core::v1::ConfigMap, apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api, Client, CustomResource, CustomResourceExt, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams},
    runtime::{
        controller::{Action, Controller},
        wait::{await_condition, conditions},
        watcher,
    },
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::harness::{KUBECTLS, Kubectl, Lab, Seen, wait_for};

const GEARS: &str = include_str!("gears.yaml");

fn gear(name: &str, spec: Value) -> String {
    json!({"apiVersion": "lab.example.com/v1", "kind": "Gear", "metadata": {"name": name}, "spec": spec}).to_string()
}

#[test]
fn kubectl_works_with_a_rich_definition() {
    let lab = Lab::start();
    for version in KUBECTLS {
        let kubectl = lab.kubectl_of(version);
        kubectl.run_with("create -f -", GEARS);
        kubectl.run("wait --for=condition=Established crd/gears.lab.example.com --timeout=30s");
        shows(&kubectl);
        refuses(&kubectl);
        changes(&kubectl);
        goes(&kubectl);
    }
}

fn shows(kubectl: &Kubectl) {
    let resources = kubectl.run("api-resources --api-group=lab.example.com");
    assert!(resources.contains("gears") && resources.contains("gr") && resources.contains("Gear"), "{resources}");
    let explained = kubectl.run("explain gears.spec.teeth");
    assert!(explained.contains("How many teeth it has."), "{explained}");
    let tree = kubectl.run("explain gear --recursive");
    assert!(tree.contains("axes") && tree.contains("length"), "{tree}");

    kubectl.run_with("apply -f -", &gear("a", json!({"teeth": 12, "axes": [{"name": "x"}], "options": {"free": 1}})));
    let made = kubectl.json("get gear a");
    assert_eq!(made["spec"]["colour"], "red");
    assert_eq!(made["spec"]["axes"], json!([{"name": "x", "length": 10}]));
    let table = kubectl.run("get gears");
    assert!(table.starts_with("NAME") && table.contains("TEETH") && !table.contains("COLOUR"), "{table}");
    let wide = kubectl.run("get gr -o wide");
    assert!(wide.contains("COLOUR") && wide.contains("red"), "{wide}");
    assert!(
        kubectl.run("get machines").contains("gear.lab.example.com/a") || kubectl.run("get machines").contains('a')
    );
    assert!(kubectl.run("describe gear a").contains("Teeth:"));
    assert!(kubectl.run("get gears --field-selector spec.colour=red -o name").contains("gear.lab.example.com/a"));
    assert_eq!(kubectl.run("get gears --field-selector spec.colour=blue -o name"), "");
    assert_eq!(kubectl.json("get gears.v1beta1.lab.example.com a")["spec"], json!({"teeth": 12}));
}

fn refuses(kubectl: &Kubectl) {
    for (spec, wrong) in [
        (json!({}), "spec.teeth: Required value"),
        (json!({"teeth": 2}), "spec.teeth: Invalid value: 2: spec.teeth in body should be greater than or equal to 3"),
        (
            json!({"teeth": 5, "colour": "green"}),
            r#"spec.colour: Unsupported value: "green": supported values: "red", "blue""#,
        ),
        (json!({"teeth": 5, "axes": [{"name": "x"}, {"name": "x"}]}), r#"spec.axes[1]: Duplicate value: {"name":"x"}"#),
    ] {
        let said = kubectl.fail("create --validate=false -f -", &gear("bad", spec));
        assert!(said.contains(wrong), "{said}");
    }
    let size = gear("bad", json!({"teeth": 5, "size": 1}));
    let said = kubectl.fail("create -f -", &size);
    assert!(said.contains(r#"strict decoding error: unknown field "spec.size""#), "{said}");
    kubectl.run_with("create --validate=false -f -", &size);
    assert_eq!(kubectl.json("get gear bad")["spec"].get("size"), None, "what nobody declared is dropped");
    kubectl.run("delete gear bad");
    let said = kubectl.fail("patch gear a --type=strategic -p '{}'", "");
    assert!(said.contains("application/merge-patch+json"), "{said}");
}

fn changes(kubectl: &Kubectl) {
    kubectl.run("patch gear a --type=merge -p '{\"spec\":{\"colour\":\"blue\"}}'");
    assert_eq!(kubectl.json("get gear a")["metadata"]["generation"], 2);
    kubectl.run("scale gear a --replicas=4");
    assert_eq!(kubectl.json("get gear a")["spec"]["replicas"], 4);
    let status = r#"{"status":{"replicas":4,"conditions":[{"type":"Ready","status":"True"}]}}"#;
    kubectl.run(&format!("patch gear a --subresource=status --type=merge -p '{status}'"));
    let now = kubectl.json("get gear a");
    assert_eq!((&now["metadata"]["generation"], &now["status"]["replicas"]), (&json!(3), &json!(4)));
    assert!(kubectl.run("get gear a").contains("True"));
    kubectl.run("label gear a speed=high");
    kubectl.run("annotate gear a note=x");
    assert!(kubectl.run("get gears -l speed=high -o name").contains("/a"));
}

fn goes(kubectl: &Kubectl) {
    kubectl.run("create namespace workshop");
    kubectl.run_with("create -n workshop -f -", &gear("b", json!({"teeth": 3})));
    kubectl.run("delete namespace workshop --timeout=60s");
    assert!(!kubectl.run("get gears -A -o name").contains("/b"), "what is in a namespace goes with it");
    kubectl.run("delete crd gears.lab.example.com --timeout=60s");
    let said = kubectl.fail("get gears.lab.example.com", "");
    assert!(said.contains("the server doesn't have a resource type"), "{said}");
    let paths = kubectl.run("get --raw /apis");
    assert!(!paths.contains("lab.example.com"), "{paths}");
}

/// A spring, as an operator's author writes it.
#[derive(CustomResource, Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[kube(group = "lab.example.com", version = "v1", kind = "Spring", namespaced, status = "SpringStatus")]
struct SpringSpec {
    length: i64,
    #[serde(default)]
    note: Option<String>,
}

#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema)]
struct SpringStatus {
    doubled: i64,
}

async fn define(client: &Client) {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &Spring::crd()).await.unwrap();
    let established = await_condition(definitions, "springs.lab.example.com", conditions::is_crd_established());
    tokio::time::timeout(Duration::from_secs(30), established).await.unwrap().unwrap();
}

fn spring(name: &str, length: i64) -> Spring {
    Spring::new(name, SpringSpec { length, note: None })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_typed_client_sees_a_definition_at_once_on_every_apiserver() {
    let lab = Lab::start();
    let client = lab.client().await;
    define(&client).await;
    let springs: Api<Spring> = Api::default_namespaced(client);
    // Each connection may end at another apiserver.
    for i in 0..6 {
        let fresh: Api<Spring> = Api::default_namespaced(lab.client().await);
        fresh.create(&PostParams::default(), &spring(&format!("s{i}"), i)).await.unwrap();
    }
    assert_eq!(springs.list(&ListParams::default()).await.unwrap().items.len(), 6);
    let wrong = json!({"apiVersion": "lab.example.com/v1", "kind": "Spring", "metadata": {"name": "w"}, "spec": {}});
    let wrong: kube::core::DynamicObject = serde_json::from_value(wrong).unwrap();
    let dynamic: Api<kube::core::DynamicObject> =
        Api::default_namespaced_with(lab.client().await, &kube::core::ApiResource::erase::<Spring>(&()));
    let refusal = dynamic.create(&PostParams::default(), &wrong).await.unwrap_err();
    assert!(refusal.to_string().contains("spec.length: Required value"), "{refusal}");

    let mut seen = watcher(springs.clone(), watcher::Config::default()).boxed();
    let mut names = Vec::new();
    while names.len() < 6 {
        if let watcher::Event::InitApply(spring) = seen.try_next().await.unwrap().unwrap() {
            names.push(spring.name_any());
        }
    }
    let patch = Patch::Merge(json!({"status": {"doubled": 2}}));
    let patched = springs.patch_status("s1", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!((patched.status.unwrap().doubled, patched.metadata.generation), (2, Some(1)));
    springs.delete("s0", &DeleteParams::default()).await.unwrap();
    assert!(springs.get_opt("s0").await.unwrap().is_none());
}

/// Doubles the length of each spring into its status, and owns a ConfigMap for it.
async fn reconcile(spring: Arc<Spring>, client: Arc<Client>) -> Result<Action, kube::Error> {
    let client = Client::clone(&client);
    let springs: Api<Spring> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client);
    let name = spring.name_any();
    let mut map = ConfigMap {
        data: Some(BTreeMap::from([("length".into(), spring.spec.length.to_string())])),
        ..Default::default()
    };
    map.metadata.name = Some(name.clone());
    map.metadata.owner_references = spring.controller_owner_ref(&()).map(|owner| vec![owner]);
    match maps.create(&PostParams::default(), &map).await {
        Err(kube::Error::Api(status)) if status.code == 409 => {}
        made => drop(made?),
    }
    let patch = Patch::Merge(json!({"status": {"doubled": spring.spec.length * 2}}));
    springs.patch_status(&name, &PatchParams::default(), &patch).await?;
    Ok(Action::await_change())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operator_sets_status_and_owns_children() {
    let lab = Lab::start();
    let client = lab.client().await;
    define(&client).await;
    let springs: Api<Spring> = Api::default_namespaced(client.clone());
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let operator = Controller::new(springs.clone(), watcher::Config::default())
        .owns(maps.clone(), watcher::Config::default())
        .run(reconcile, |_, _, _| Action::requeue(Duration::from_secs(1)), Arc::new(client))
        .for_each(|_| async {});
    let operator = tokio::spawn(operator);
    springs.create(&PostParams::default(), &spring("coil", 21)).await.unwrap();
    let is_doubled = |spring: Option<&Spring>| {
        spring.and_then(|spring| spring.status.as_ref()).is_some_and(|status| status.doubled == 42)
    };
    let doubled = await_condition(springs.clone(), "coil", is_doubled);
    tokio::time::timeout(Duration::from_secs(60), doubled).await.unwrap().unwrap();
    assert_eq!(maps.get("coil").await.unwrap().metadata.owner_references.unwrap()[0].kind, "Spring");

    // The garbage collector knows the new kind: what a spring owns goes with it.
    springs.delete("coil", &DeleteParams::default()).await.unwrap();
    let kubectl = lab.kubectl();
    wait_for("the ConfigMap's end", || match kubectl.run("get configmap -o name") {
        text if text.contains("coil") => Err(Seen(text)),
        _ => Ok(()),
    });
    operator.abort();
    assert_eq!(Spring::kind(&()), "Spring");
}
