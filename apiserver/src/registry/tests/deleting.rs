//! Deletion in all its forms.

use super::*;

#[tokio::test]
async fn finalizers_hold_and_their_end_frees() {
    let lab = Lab::start().await;
    let mut held = config("a", json!({}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    lab.create("configmaps", "default", held.clone()).await.unwrap();
    let deleting = lab.delete("configmaps", "a", json!({})).await.unwrap();
    assert_eq!(deleting["kind"], "ConfigMap");
    assert_eq!(deleting["metadata"]["deletionGracePeriodSeconds"], 0);
    let again = lab.delete("configmaps", "a", json!({})).await.unwrap();
    assert_eq!(version(&again), version(&deleting), "a second deletion changes nothing");
    held["metadata"]["finalizers"] = json!(["example.com/hold", "example.com/more"]);
    assert_eq!(lab.update("configmaps", held.clone()).await.unwrap_err().code(), 422);
    held["metadata"]["finalizers"] = json!([]);
    lab.update("configmaps", held).await.unwrap();
    assert_eq!(lab.get("configmaps", "a").await.unwrap_err().code(), 404);

    for (policy, finalizer) in [("Foreground", "foregroundDeletion"), ("Orphan", "orphan")] {
        let name = policy.to_lowercase();
        lab.create("configmaps", "default", config(&name, json!({}))).await.unwrap();
        let deleting = lab.delete("configmaps", &name, json!({"propagationPolicy": policy})).await.unwrap();
        assert_eq!(deleting["metadata"]["finalizers"], json!([finalizer]));
    }
    lab.create("configmaps", "default", config("b", json!({}))).await.unwrap();
    let error = lab.delete("configmaps", "b", json!({"preconditions": {"uid": "x"}})).await.unwrap_err();
    assert!(
        error.message.starts_with(
            "Operation cannot be fulfilled on ConfigMap \"b\": the UID in the precondition (x) does not match"
        ),
        "{error}"
    );
}

#[tokio::test]
async fn pods_end_gracefully() {
    let lab = Lab::start().await;
    let waiting = lab.create("pods", "default", pod("waiting")).await.unwrap();
    assert!(waiting["spec"]["tolerations"].as_array().is_some_and(|list| list.len() == 2), "{waiting}");
    assert_eq!(waiting["spec"]["priority"], 0);
    assert_eq!(lab.delete("pods", "waiting", json!({})).await.unwrap()["kind"], "Pod");
    assert_eq!(lab.get("pods", "waiting").await.unwrap_err().code(), 404);

    lab.create("pods", "default", pod("running")).await.unwrap();
    let binding = json!({"metadata": {"name": "running"}, "target": {"kind": "Node", "name": "node-1"}});
    assert_eq!(lab.create("pods/binding", "default", binding.clone()).await.unwrap()["status"], "Success");
    let twice = lab.create("pods/binding", "default", binding).await.unwrap_err();
    assert_eq!(
        (twice.code(), &*twice.message),
        (
            409,
            "Operation cannot be fulfilled on pods/binding \"running\": pod running is already assigned to node \"node-1\""
        )
    );
    let bound = lab.get("pods", "running").await.unwrap();
    assert_eq!(bound["spec"]["nodeName"], "node-1");
    assert_eq!(bound["status"]["conditions"][0]["type"], "PodScheduled");

    let ending = lab.delete("pods", "running", json!({})).await.unwrap();
    assert_eq!(ending["metadata"]["deletionGracePeriodSeconds"], 30);
    let sooner = lab.delete("pods", "running", json!({"gracePeriodSeconds": 5})).await.unwrap();
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    lab.delete("pods", "running", json!({"gracePeriodSeconds": 0})).await.unwrap();
    assert_eq!(lab.get("pods", "running").await.unwrap_err().code(), 404);
}

#[tokio::test]
async fn evictions_respect_the_budget() {
    let lab = Lab::start().await;
    for name in ["a", "b"] {
        let mut wanted = pod(name);
        wanted["metadata"]["labels"] = json!({"app": "web"});
        lab.create("pods", "default", wanted).await.unwrap();
        let binding = json!({"metadata": {"name": name}, "target": {"name": "node-1"}});
        lab.create("pods/binding", "default", binding).await.unwrap();
        let mut running = lab.get("pods", name).await.unwrap();
        running["status"]["phase"] = "Running".into();
        running["status"]["conditions"] = json!([{"type": "Ready", "status": "True"}]);
        lab.update("pods/status", running).await.unwrap();
    }
    let budget = json!({"metadata": {"name": "web", "namespace": "default"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}});
    if lab.create("poddisruptionbudgets", "default", budget).await.is_err() {
        return;
    }
    let mut budget = lab.get("poddisruptionbudgets", "web").await.unwrap();
    budget["status"] = json!({"observedGeneration": budget["metadata"]["generation"], "disruptionsAllowed": 1, "currentHealthy": 2, "desiredHealthy": 1, "expectedPods": 2});
    lab.update("poddisruptionbudgets/status", budget).await.unwrap();
    let evict = |name: &str| {
        lab.create(
            "pods/eviction",
            "default",
            json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}}),
        )
    };
    assert_eq!(evict("a").await.unwrap()["status"], "Success");
    let refused = evict("b").await.unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.message),
        (429, "Cannot evict pod as it would violate the pod's disruption budget.")
    );
}

#[tokio::test]
async fn namespaces_end_when_they_are_finalized() {
    let lab = Lab::start().await;
    let missing = lab.create("configmaps", "none", json!({"metadata": {"name": "a"}})).await.unwrap_err();
    assert_eq!((missing.code(), &*missing.message), (404, "namespaces \"none\" not found"));
    let immortal = lab.object(lab.request(Verb::Delete, "namespaces", "", "default")).await.unwrap_err();
    assert_eq!(
        (immortal.code(), &*immortal.message),
        (403, "namespaces \"default\" is forbidden: this namespace may not be deleted")
    );

    lab.create("namespaces", "", json!({"metadata": {"name": "team"}})).await.unwrap();
    let ending = lab.object(lab.request(Verb::Delete, "namespaces", "", "team")).await.unwrap();
    assert_eq!(ending["status"]["phase"], "Terminating");
    let refused = lab.create("configmaps", "team", json!({"metadata": {"name": "a"}})).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.message),
        (
            403,
            "configmaps \"a\" is forbidden: unable to create new content in namespace team because it is being terminated"
        )
    );
    let mut finalized = ending;
    finalized["spec"]["finalizers"] = json!([]);
    lab.update("namespaces/finalize", finalized).await.unwrap();
    assert_eq!(lab.object(lab.request(Verb::Get, "namespaces", "", "team")).await.unwrap_err().code(), 404);
}

#[tokio::test]
async fn collections_are_deleted_by_selection() {
    let lab = Lab::start().await;
    for n in 0..50 {
        let mut wanted = config(&format!("c{n}"), json!({}));
        wanted["metadata"]["labels"] = json!({"odd": (n % 2).to_string()});
        lab.create("configmaps", "default", wanted).await.unwrap();
    }
    let mut request = lab.request(Verb::DeleteCollection, "configmaps", "default", "");
    request.options.list.label_selector = "odd=1".into();
    assert_eq!(lab.object(request).await.unwrap()["items"].as_array().map(Vec::len), Some(25));
    let left = lab.list("configmaps", ListOptions::default()).await.unwrap();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(25));
}

#[tokio::test]
async fn a_dry_run_deletes_nothing() {
    let lab = Lab::start().await;
    let created = lab.create("configmaps", "default", config("a", json!({}))).await.unwrap();
    let answer = lab.delete("configmaps", "a", json!({"dryRun": ["All"]})).await.unwrap();
    assert_eq!((&answer["status"], &answer["details"]["kind"]), (&json!("Success"), &json!("configmaps")));
    assert_eq!(lab.get("configmaps", "a").await.unwrap(), created);
    let held =
        lab.delete("configmaps", "a", json!({"dryRun": ["All"], "propagationPolicy": "Foreground"})).await.unwrap();
    assert_eq!(held["metadata"]["finalizers"], json!(["foregroundDeletion"]));
    let mut collection = lab.request(Verb::DeleteCollection, "configmaps", "default", "");
    collection.options.dry_run = true;
    lab.object(collection).await.unwrap();
    assert_eq!(lab.get("configmaps", "a").await.unwrap(), created);
    let wrong = lab.delete("configmaps", "a", json!({"dryRun": ["Some"]})).await.unwrap_err();
    assert_eq!(
        wrong.message,
        "DeleteOptions.meta.k8s.io \"\" is invalid: dryRun: Unsupported value: \"Some\": supported values: \"All\""
    );
}

#[tokio::test]
async fn preconditions_name_the_object_that_is_meant() {
    let lab = Lab::start().await;
    let created = lab.create("configmaps", "default", config("a", json!({}))).await.unwrap();
    let (uid, version) = (&created["metadata"]["uid"], &created["metadata"]["resourceVersion"]);
    let stale = lab.delete("configmaps", "a", json!({"preconditions": {"resourceVersion": "1"}})).await.unwrap_err();
    assert_eq!(
        (stale.code(), stale.message),
        (
            409,
            format!(
                "Operation cannot be fulfilled on ConfigMap \"a\": the ResourceVersion in the precondition (1) does not \
                 match the ResourceVersion in record ({}). The object might have been modified",
                version.as_str().unwrap()
            )
        )
    );
    lab.delete("configmaps", "a", json!({"preconditions": {"uid": uid, "resourceVersion": version}})).await.unwrap();
    assert_eq!(lab.get("configmaps", "a").await.unwrap_err().code(), 404);
}

#[tokio::test]
async fn a_collection_may_be_deleted_in_parts() {
    let lab = Lab::start().await;
    for n in 0..9 {
        lab.create("configmaps", "default", config(&format!("c{n}"), json!({}))).await.unwrap();
    }
    let mut request = lab.request(Verb::DeleteCollection, "configmaps", "default", "");
    request.options.list.limit = 4;
    let gone = lab.object(request.clone()).await.unwrap();
    let names: Vec<_> = gone["items"].as_array().unwrap().iter().map(|item| item["metadata"]["name"].clone()).collect();
    assert_eq!(names, ["c0", "c1", "c2", "c3"]);
    request.options.list = ListOptions { field_selector: "metadata.name=c8".into(), ..Default::default() };
    lab.object(request).await.unwrap();
    let left = lab.list("configmaps", ListOptions::default()).await.unwrap();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(4));
}

#[tokio::test]
async fn an_object_goes_exactly_when_nothing_holds_it() {
    use rand::{RngExt, SeedableRng, rngs::StdRng, seq::SliceRandom};
    let lab = Lab::start().await;
    let seed: u64 = rand::random();
    println!("SEED={seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    for round in 0..60 {
        let name = format!("c{round}");
        let own: Vec<&str> =
            ["a.example.com/x", "b.example.com/y"].into_iter().filter(|_| rng.random_bool(0.5)).collect();
        let mut object = config(&name, json!({}));
        object["metadata"]["finalizers"] = json!(own);
        lab.create("configmaps", "default", object).await.unwrap();
        let (options, added) = match rng.random_range(0..5) {
            0 => (json!({"propagationPolicy": "Foreground"}), Some("foregroundDeletion")),
            1 => (json!({"propagationPolicy": "Orphan"}), Some("orphan")),
            2 => (json!({"propagationPolicy": "Background"}), None),
            3 => (json!({"orphanDependents": true}), Some("orphan")),
            _ => (json!({"gracePeriodSeconds": rng.random_range(0..60)}), None),
        };
        lab.delete("configmaps", &name, options.clone()).await.unwrap();
        let mut holding: Vec<&str> = own.iter().copied().chain(added).collect();
        holding.shuffle(&mut rng);
        let begun = lab.get("configmaps", &name).await.map(|object| object["metadata"]["deletionTimestamp"].clone());
        while let Some(freed) = holding.pop() {
            let mut object = lab.get("configmaps", &name).await.unwrap();
            let meta = &mut object["metadata"];
            assert_eq!(Some(&meta["deletionTimestamp"]), begun.as_ref().ok(), "{options}");
            let finalizers = meta["finalizers"].as_array_mut().unwrap();
            assert_eq!(finalizers.len(), holding.len() + 1, "{options}");
            finalizers.retain(|finalizer| finalizer != freed);
            lab.update("configmaps", object).await.unwrap();
        }
        assert_eq!(lab.get("configmaps", &name).await.unwrap_err().code(), 404, "{own:?} {options}");
    }
}
