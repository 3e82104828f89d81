use std::sync::Arc;

use kubelab_api::volume::annotations::SELECTED_NODE;
use serde_json::{Value, json};

use super::{binding::check, claims::Decision, *};
use crate::testing::{labelled, node, object, said};

const CONFLICT: &str = "node(s) had volume node affinity conflict!";
const NONE: &str = "node(s) didn't find available persistent volumes to bind!";
const NO_SPACE: &str = "node(s) did not have enough free storage!";
const GONE: &str = "node(s) unavailable due to one or more pvc(s) bound to non-existent pv(s)!";

fn volume(name: &str, zone: &str, size: &str, more: Value) -> Value {
    let mut spec = json!({
        "storageClassName": "local", "capacity": { "storage": size }, "accessModes": ["ReadWriteOnce"],
    });
    if !zone.is_empty() {
        let term = json!({ "matchExpressions": [{ "key": "zone", "operator": "In", "values": [zone] }] });
        spec["nodeAffinity"] = json!({ "required": { "nodeSelectorTerms": [term] } });
    }
    spec.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({ "metadata": { "name": name }, "spec": spec, "status": { "phase": "Available" } })
}

fn claim(name: &str, class: &str, size: &str, volume: Option<&str>, annotations: Value) -> Value {
    let mut annotations = annotations;
    if volume.is_some() {
        annotations["pv.kubernetes.io/bind-completed"] = json!("yes");
    }
    json!({
        "metadata": { "namespace": "shop", "name": name, "uid": name, "annotations": annotations },
        "spec": {
            "storageClassName": class, "accessModes": ["ReadWriteOnce"], "volumeName": volume,
            "resources": { "requests": { "storage": size } },
        },
    })
}

fn world(volumes: Vec<Value>, claims: Vec<Value>) -> Arc<Objects> {
    let objects = Objects::default();
    volumes.into_iter().for_each(|volume| objects.volumes.put(object(volume)));
    claims.into_iter().for_each(|claim| objects.claims.put(object(claim)));
    for (name, provisioner, mode) in [
        ("local", "kubernetes.io/no-provisioner", "WaitForFirstConsumer"),
        ("lazy", "made.example", "WaitForFirstConsumer"),
        ("eager", "made.example", "Immediate"),
    ] {
        let terms = json!([{ "matchLabelExpressions": [{ "key": "zone", "values": ["a", "b"] }] }]);
        objects.classes.put(object(json!({
            "metadata": { "name": name }, "provisioner": provisioner, "volumeBindingMode": mode,
            "allowedTopologies": terms,
        })));
    }
    Arc::new(objects)
}

fn snapshot(objects: Arc<Objects>) -> Snapshot {
    let nodes = ["a", "b", "c"].map(|zone| node(zone, json!({ "zone": zone }), json!({}), json!({})));
    Snapshot::with_objects(nodes.into_iter().map(Arc::new).collect(), objects)
}

fn using(claims: &[&str]) -> PodInfo {
    let volumes: Vec<Value> =
        claims.iter().map(|claim| json!({ "name": claim, "persistentVolumeClaim": { "claimName": claim } })).collect();
    labelled("shop", "web", json!({}), json!({ "volumes": volumes }))
}

fn filtered(snapshot: &Snapshot, pod: &PodInfo) -> Vec<String> {
    let (plugin, mut state) = (VolumeBinding::default(), CycleState::default());
    match plugin.pre_filter(&mut state, pod, snapshot) {
        Ok(PreFiltered::Skip) => vec!["skip".into()],
        Ok(_) => snapshot.nodes().iter().map(|node| said(plugin.filter(&state, pod, node))).collect(),
        Err(rejection) => vec![said(Err(rejection))],
    }
}

#[test]
fn claims_decide_where_a_pod_can_go() {
    let plain = json!({});
    let free =
        |claim: Value| (vec![volume("small", "a", "1Gi", json!({})), volume("large", "b", "9Gi", json!({}))], claim);
    let bound = claim("x", "local", "1Gi", Some("small"), plain.clone());
    let lost = {
        let mut lost = bound.clone();
        lost["status"] = json!({ "phase": "Lost" });
        lost
    };
    let selected = claim("x", "lazy", "1Gi", None, json!({ SELECTED_NODE: "b" }));
    let prebound = claim("x", "lazy", "1Gi", None, plain.clone());
    let prebound = {
        let mut claim = prebound;
        claim["spec"]["volumeName"] = json!("small");
        claim
    };
    let reserved = json!({ "claimRef": { "namespace": "shop", "name": "x" } });
    let taken = json!({ "claimRef": { "namespace": "shop", "name": "other" } });
    for (what, (volumes, claim), expected) in [
        ("bound", free(bound), vec!["fits", CONFLICT, CONFLICT]),
        ("bound to nothing", free(claim("x", "local", "1Gi", Some("none"), plain.clone())), vec![GONE; 3]),
        ("lost", free(lost), vec!["persistentvolumeclaim \"x\" bound to non-existent persistentvolume \"small\"!"]),
        ("either", free(claim("x", "local", "1Gi", None, plain.clone())), vec!["fits", "fits", NONE]),
        ("the large one", free(claim("x", "local", "2Gi", None, plain.clone())), vec![NONE, "fits", NONE]),
        (
            "made where the class allows",
            free(claim("x", "lazy", "1Gi", None, plain.clone())),
            vec!["fits", "fits", NONE],
        ),
        ("being made on b", free(selected), vec![NONE, "fits", NONE]),
        (
            "immediate",
            free(claim("x", "eager", "1Gi", None, plain.clone())),
            vec!["pod has unbound immediate PersistentVolumeClaims!"],
        ),
        ("named a volume itself", free(prebound), vec!["pod has unbound immediate PersistentVolumeClaims!"]),
        (
            "another claim",
            free(claim("y", "local", "1Gi", None, plain.clone())),
            vec!["persistentvolumeclaim \"x\" not found!"],
        ),
        (
            "reserved for it",
            (
                vec![volume("r", "a", "5Gi", reserved), volume("free", "b", "1Gi", json!({}))],
                claim("x", "local", "1Gi", None, plain.clone()),
            ),
            vec!["fits", NONE, NONE],
        ),
        (
            "reserved for another",
            (vec![volume("t", "a", "5Gi", taken)], claim("x", "local", "1Gi", None, plain.clone())),
            vec![NONE; 3],
        ),
    ] {
        assert_eq!(filtered(&snapshot(world(volumes, vec![claim])), &using(&["x"])), expected, "{what}");
    }
    assert_eq!(filtered(&snapshot(world(vec![], vec![])), &using(&[])), ["skip"]);
}

#[test]
fn each_claim_needs_a_volume_of_its_own() {
    let volumes = vec![
        volume("a1", "a", "1Gi", json!({})),
        volume("b1", "b", "1Gi", json!({})),
        volume("b2", "b", "2Gi", json!({})),
    ];
    let claims = vec![claim("x", "local", "2Gi", None, json!({})), claim("y", "local", "1Gi", None, json!({}))];
    let snapshot = snapshot(world(volumes, claims));
    assert_eq!(filtered(&snapshot, &using(&["x", "y"])), [NONE, "fits", NONE]);
    let decisions = Claims::of(&using(&["x", "y"]), snapshot.objects()).unwrap().on(&snapshot.nodes()[1]).ok().unwrap();
    let told: Vec<String> = decisions
        .iter()
        .map(|decision| match decision {
            Decision::Bind(claim, volume) => {
                format!("{}→{}", claim.metadata.name.as_ref().unwrap(), volume.metadata.name.as_ref().unwrap())
            }
            Decision::Provision(claim) => format!("{}→new", claim.metadata.name.as_ref().unwrap()),
        })
        .collect();
    assert_eq!(told, ["y→b1", "x→b2"], "the smallest that will do");
}

#[test]
fn pools_that_say_how_much_they_have_must_have_enough() {
    let objects = world(vec![], vec![claim("x", "lazy", "5Gi", None, json!({}))]);
    objects
        .csi_drivers
        .put(object(json!({ "metadata": { "name": "made.example" }, "spec": { "storageCapacity": true } })));
    let pool = |name: &str, zone: &str, capacity: &str| {
        object(json!({
            "metadata": { "namespace": "kube-system", "name": name }, "storageClassName": "lazy",
            "capacity": capacity, "nodeTopology": { "matchLabels": { "zone": zone } },
        }))
    };
    objects.capacities.put(pool("p", "a", "9Gi"));
    objects.capacities.put(pool("q", "b", "1Gi"));
    assert_eq!(filtered(&snapshot(objects), &using(&["x"])), ["fits", NO_SPACE, NONE]);
}

#[test]
fn what_is_reserved_is_taken_until_it_is_given_back() {
    let claims = vec![claim("x", "local", "1Gi", None, json!({})), claim("z", "lazy", "1Gi", None, json!({}))];
    let snapshot = snapshot(world(vec![volume("only", "a", "1Gi", json!({}))], claims));
    let (plugin, pod, mut state) = (VolumeBinding::default(), using(&["x", "z"]), CycleState::default());
    plugin.pre_filter(&mut state, &pod, &snapshot).unwrap();
    let mut plans = CycleState::default();
    plugin.reserve(&state, &mut plans, &snapshot.nodes()[0], snapshot.objects());
    assert!(plugin.has_work(&plans));
    let other = using(&["y"]);
    snapshot.objects().claims.put(object(claim("y", "local", "1Gi", None, json!({}))));
    assert_eq!(filtered(&snapshot, &other), [NONE; 3], "the volume is as good as bound");
    assert_eq!(filtered(&snapshot, &using(&["z"])), ["fits", NONE, NONE], "its volume is made on a");
    plugin.unreserve(&plans, snapshot.objects());
    assert_eq!(filtered(&snapshot, &other), ["fits", NONE, NONE]);
}

#[test]
fn binding_is_over_when_all_is_bound_or_cannot_be() {
    let claims = vec![claim("x", "local", "1Gi", None, json!({})), claim("z", "lazy", "1Gi", None, json!({}))];
    let objects = world(vec![volume("only", "a", "1Gi", json!({}))], claims);
    let snapshot = snapshot(objects.clone());
    let decisions = Claims::of(&using(&["x", "z"]), &objects).unwrap().on(&snapshot.nodes()[0]).ok().unwrap();
    let bindings = Bindings::of(&decisions, "a");
    bindings.assume(&objects);
    let mut chosen = false;
    assert_eq!(check(&bindings, "a", &objects, &mut chosen), Ok(false));
    objects.claims.put(object(claim("z", "lazy", "1Gi", None, json!({ SELECTED_NODE: "a" }))));
    assert_eq!(check(&bindings, "a", &objects, &mut chosen), Ok(false));
    assert!(chosen);
    let mut failed = chosen;
    objects.claims.put(object(claim("z", "lazy", "1Gi", None, json!({}))));
    assert_eq!(
        check(&bindings, "a", &objects, &mut failed),
        Err("provisioning failed for PVC \"z\"".to_owned()),
        "the provisioner gave up",
    );
    objects.claims.put(object(claim("x", "local", "1Gi", Some("only"), json!({}))));
    objects.claims.put(object(claim("z", "lazy", "1Gi", Some("made"), json!({ SELECTED_NODE: "a" }))));
    assert_eq!(check(&bindings, "a", &objects, &mut chosen), Ok(false), "the new volume is not mirrored yet");
    objects.volumes.put(object(volume("made", "a", "1Gi", json!({}))));
    assert_eq!(check(&bindings, "a", &objects, &mut chosen), Ok(true));
}
