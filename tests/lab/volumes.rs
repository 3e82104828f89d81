//! Claims and volumes: who gets which, in which order their phases come, and what becomes of volumes afterwards.

use std::{
    fmt::Debug,
    sync::{Arc, Mutex},
};

use futures::TryStreamExt;
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{
    Api, Resource,
    api::{ListParams, WatchEvent, WatchParams},
};
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::harness::{Kubectl, Lab, Seen, wait_for};

/// What a watch shows of objects, in order: `name phase`, each once until it changes, and `name deleted`.
#[derive(Clone, Default)]
struct Story(Arc<Mutex<Vec<String>>>);

impl Story {
    /// Begins to watch.
    async fn of<K>(objects: Api<K>, phase: fn(&K) -> String) -> Self
    where
        K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + 'static,
    {
        let story = Self::default();
        let begin = objects.list(&ListParams::default()).await.unwrap().metadata.resource_version.unwrap();
        let lines = Arc::clone(&story.0);
        tokio::spawn(async move {
            let stream = objects.watch(&WatchParams::default(), &begin).await.unwrap();
            let mut stream = std::pin::pin!(stream);
            while let Some(event) = stream.try_next().await.unwrap() {
                let line = match event {
                    WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                        format!("{} {}", object.meta().name.as_deref().unwrap(), phase(&object))
                    }
                    WatchEvent::Deleted(object) => format!("{} deleted", object.meta().name.as_deref().unwrap()),
                    WatchEvent::Bookmark(_) => continue,
                    WatchEvent::Error(status) => panic!("{status:?}"),
                };
                let mut lines = lines.lock().unwrap();
                if lines.iter().rfind(|known| known.split(' ').next() == line.split(' ').next()) != Some(&line) {
                    lines.push(line);
                }
            }
        });
        story
    }

    /// Waits for the end of an object's story; tells all of it.
    fn until(&self, last: &str) -> Vec<String> {
        let name = last.split(' ').next().unwrap();
        let lines = wait_for(last, || {
            let lines = self.0.lock().unwrap().clone();
            if lines.iter().any(|line| line == last) { Ok(lines) } else { Err(Seen(format!("{lines:?}"))) }
        });
        let own = lines.into_iter().filter(|line| line.split(' ').next() == Some(name));
        own.map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect()
    }
}

struct Stories {
    claims: Story,
    volumes: Story,
}

impl Stories {
    async fn begin(lab: &Lab) -> Self {
        let client = lab.client().await;
        let claims: Api<PersistentVolumeClaim> = Api::default_namespaced(client.clone());
        let volumes: Api<PersistentVolume> = Api::all(client);
        Self {
            claims: Story::of(claims, |claim| claim.status.clone().unwrap_or_default().phase.unwrap_or_default()).await,
            volumes: Story::of(volumes, |volume| volume.status.clone().unwrap_or_default().phase.unwrap_or_default())
                .await,
        }
    }
}

fn small_lab() -> Lab {
    Lab::with(&["--apiservers", "1", "--nodes", "2"])
}

fn claim(name: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {{name: {name}}}\n\
         spec: {{accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 5Gi}}}}{more}}}\n---\n"
    )
}

fn volume(name: &str, size: &str, more: &str) -> String {
    format!(
        "apiVersion: v1\nkind: PersistentVolume\nmetadata: {{name: {name}}}\n\
         spec: {{accessModes: [ReadWriteOnce], capacity: {{storage: {size}}}, hostPath: {{path: /tmp/{name}}}{more}}}\n---\n"
    )
}

fn pod(name: &str, claim: &str, node: &str) -> String {
    let spec = json!({
        "nodeName": node,
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c", "image": "nginx", "volumeMounts": [{"name": "data", "mountPath": "/data"}]}],
        "volumes": [{"name": "data", "persistentVolumeClaim": {"claimName": claim}}],
    });
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}).to_string()
}

fn class(name: &str, more: serde_json::Value) -> String {
    let mut class = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": name},
        "provisioner": "disk.example.com",
    });
    class.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    class.to_string()
}

/// The events about an object, oldest first: `Reason: message`.
fn events(kubectl: &Kubectl, object: &str) -> String {
    kubectl.says(&format!(
        "events --for {object} -o 'jsonpath={{range .items[*]}}{{.reason}}: {{.message}}{{\"\\n\"}}{{end}}'"
    ))
}

fn wait_for_event(kubectl: &Kubectl, object: &str, wanted: &str) {
    wait_for(&format!("the event {wanted:?} about {object}"), || {
        let events = events(kubectl, object);
        if events.contains(wanted) { Ok(()) } else { Err(Seen(events)) }
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_claim_gets_a_new_volume_and_takes_it_along() {
    let lab = small_lab();
    let stories = Stories::begin(&lab).await;
    tokio::task::block_in_place(|| {
        let kubectl = lab.kubectl();
        assert!(kubectl.run("get storageclass").contains("standard (default)"));
        kubectl.run_with("create -f -", &claim("data", ""));
        assert_eq!(stories.claims.until("data Bound"), ["Pending", "Bound"]);
        let claim = kubectl.json("get pvc data");
        let uid = claim["metadata"]["uid"].as_str().unwrap();
        let name = format!("pvc-{uid}");
        assert_eq!(claim["spec"]["storageClassName"], "standard");
        assert_eq!(claim["spec"]["volumeName"], name.as_str());
        assert_eq!(claim["status"]["capacity"]["storage"], "5Gi");
        let annotations = &claim["metadata"]["annotations"];
        for key in ["pv.kubernetes.io/bind-completed", "pv.kubernetes.io/bound-by-controller"] {
            assert_eq!(annotations[key], "yes", "{key}");
        }
        assert_eq!(annotations["volume.kubernetes.io/storage-provisioner"], "csi.kubelab.dev");
        assert_eq!(stories.volumes.until(&format!("{name} Bound")), ["Pending", "Bound"]);
        let volume = kubectl.json(&format!("get pv {name}"));
        assert_eq!(volume["metadata"]["annotations"]["pv.kubernetes.io/provisioned-by"], "csi.kubelab.dev");
        assert_eq!(volume["spec"]["csi"]["volumeHandle"], name.as_str());
        assert_eq!(volume["spec"]["persistentVolumeReclaimPolicy"], "Delete");
        wait_for_event(&kubectl, "pvc/data", &format!("ProvisioningSucceeded: Successfully provisioned volume {name}"));
        let told = events(&kubectl, "pvc/data");
        assert!(told.contains("ExternalProvisioning: Waiting for a volume to be created either by"), "{told}");
        assert!(told.contains("External provisioner is provisioning volume for claim \"default/data\""), "{told}");

        // It grows when its claim does.
        kubectl.run(r#"patch pvc data -p '{"spec":{"resources":{"requests":{"storage":"8Gi"}}}}'"#);
        kubectl.wait_until("get pvc data -o jsonpath={.status.capacity.storage}", |text| text == "8Gi");
        assert_eq!(kubectl.run(&format!("get pv {name} -o jsonpath={{.spec.capacity.storage}}")), "8Gi");
        let status = kubectl.json("get pvc data")["status"].clone();
        assert_eq!(status["allocatedResources"]["storage"], "8Gi");
        assert!(status.get("conditions").is_none() && status.get("allocatedResourceStatuses").is_none(), "{status}");
        wait_for_event(&kubectl, "pvc/data", "VolumeResizeSuccessful: Resize volume succeeded");

        kubectl.run("delete pvc data --timeout=60s");
        assert_eq!(stories.volumes.until(&format!("{name} deleted")), ["Pending", "Bound", "Released", "deleted"]);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn volumes_made_by_hand_find_their_claims() {
    let lab = small_lab();
    let stories = Stories::begin(&lab).await;
    tokio::task::block_in_place(|| {
        let kubectl = lab.kubectl();
        // No class: nobody makes a volume. The smallest that suffices is chosen, and kept afterwards.
        kubectl.run_with("create -f -", &claim("data", ", storageClassName: ''"));
        wait_for_event(
            &kubectl,
            "pvc/data",
            "FailedBinding: no persistent volumes available for this claim and no storage class is set",
        );
        kubectl.run_with("create -f -", &(volume("tiny", "1Gi", "") + &volume("large", "9Gi", "")));
        assert_eq!(stories.claims.until("data Bound"), ["Pending", "Bound"]);
        assert_eq!(stories.volumes.until("large Bound"), ["Pending", "Available", "Bound"]);
        assert_eq!(kubectl.run("get pvc data -o jsonpath={.status.capacity.storage}"), "9Gi");
        kubectl.run("delete pvc data --timeout=60s");
        assert_eq!(stories.volumes.until("large Released"), ["Pending", "Available", "Bound", "Released"]);
        assert!(kubectl.run("get pv large").contains("default/data"), "it remembers whose it was");
        kubectl.run_with("create -f -", &claim("next", ", storageClassName: ''"));
        wait_for_event(&kubectl, "pvc/next", "FailedBinding");
        // An administrator frees it.
        kubectl.run(r#"patch pv large --type=json -p '[{"op":"remove","path":"/spec/claimRef"}]'"#);
        stories.claims.until("next Bound");
        let story = stories.volumes.until("large Bound");
        assert_eq!(story[3..], ["Released", "Available", "Bound"]);

        // Bound beforehand, from either side.
        let reserved = ", claimRef: {namespace: default, name: own}";
        kubectl.run_with("create -f -", &volume("reserved", "50Gi", reserved));
        assert_eq!(stories.volumes.until("reserved Available"), ["Pending", "Available"]);
        kubectl.run_with("create -f -", &claim("own", ", storageClassName: ''"));
        stories.claims.until("own Bound");
        let annotations = "get pv reserved -o jsonpath={.metadata.annotations}";
        assert_eq!(kubectl.run(annotations), "", "the user bound it, not the controller");
        kubectl.run_with("create -f -", &volume("named", "50Gi", ""));
        stories.volumes.until("named Available");
        kubectl.run_with("create -f -", &claim("asks", ", storageClassName: '', volumeName: named"));
        stories.claims.until("asks Bound");
        let annotations = kubectl.run("get pvc asks -o jsonpath={.metadata.annotations}");
        assert_eq!(annotations, r#"{"pv.kubernetes.io/bind-completed":"yes"}"#);
        kubectl.run_with("create -f -", &claim("greedy", ", storageClassName: '', volumeName: tiny"));
        let message = "VolumeMismatch: Cannot bind to requested volume \"tiny\": requested PV is too small";
        wait_for_event(&kubectl, "pvc/greedy", message);

        // A volume that is taken away takes the claim's data along.
        kubectl.run("delete pv named --wait=false");
        assert!(kubectl.run("get pv named").contains("Terminating"));
        kubectl.run(r#"patch pv named -p '{"metadata":{"finalizers":null}}'"#);
        assert_eq!(stories.claims.until("asks Lost"), ["Pending", "Bound", "Lost"]);
        wait_for_event(
            &kubectl,
            "pvc/asks",
            "ClaimLost: Bound claim has lost its PersistentVolume. Data on the volume is lost!",
        );

        // Policies: emptied, deleted, not to be deleted.
        for (name, policy, more) in
            [("recycled", "Recycle", ""), ("deleted", "Delete", ""), ("failed", "Delete", ", storageClassName: nfs")]
        {
            let spec = volume(name, "50Gi", &format!(", persistentVolumeReclaimPolicy: {policy}{more}"));
            let spec = if name == "failed" { spec.replace("/tmp/", "/srv/") } else { spec };
            kubectl.run_with("create -f -", &spec);
            stories.volumes.until(&format!("{name} Available"));
            kubectl.run_with(
                "create -f -",
                &claim(
                    name,
                    &format!(", storageClassName: '', volumeName: {name}").replace(
                        "storageClassName: ''",
                        if name == "failed" { "storageClassName: nfs" } else { "storageClassName: ''" },
                    ),
                ),
            );
            stories.claims.until(&format!("{name} Bound"));
            kubectl.run(&format!("delete pvc {name} --timeout=60s"));
        }
        let story = wait_for("the recycled volume", || {
            let story = stories.volumes.until("recycled Released");
            if story.last().unwrap() == "Available" { Ok(story) } else { Err(Seen(format!("{story:?}"))) }
        });
        assert_eq!(story, ["Pending", "Available", "Bound", "Released", "Available"]);
        wait_for_event(&kubectl, "pv/recycled", "VolumeRecycled: Volume recycled");
        let story = stories.volumes.until("deleted deleted");
        assert_eq!(story, ["Pending", "Available", "Bound", "Released", "deleted"]);
        stories.volumes.until("failed Failed");
        let message = "VolumeFailedDelete: host_path deleter only supports /tmp/.+ but received provided /srv/failed";
        wait_for_event(&kubectl, "pv/failed", message);
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn classes_decide_when_and_where_volumes_are_made() {
    let lab = small_lab();
    let stories = Stories::begin(&lab).await;
    tokio::task::block_in_place(|| {
        let kubectl = lab.kubectl();
        kubectl.run_with("create -f -", &claim("early", ", storageClassName: fast-ssd"));
        wait_for_event(&kubectl, "pvc/early", "ProvisioningFailed: storageclass.storage.k8s.io \"fast-ssd\" not found");
        kubectl.run_with(
            "create -f -",
            &class("fast-ssd", json!({"reclaimPolicy": "Retain", "mountOptions": ["noatime"]})),
        );
        assert_eq!(stories.claims.until("early Bound"), ["Pending", "Bound"]);
        let name = kubectl.run("get pvc early -o jsonpath={.spec.volumeName}");
        let volume = kubectl.json(&format!("get pv {name}"));
        assert_eq!(volume["spec"]["mountOptions"], json!(["noatime"]));
        assert_eq!(volume["spec"]["csi"]["driver"], "disk.example.com");
        let said =
            kubectl.fail("patch pvc early -p {\"spec\":{\"resources\":{\"requests\":{\"storage\":\"8Gi\"}}}}", "");
        assert!(said.contains("only dynamically provisioned pvc can be resized"), "{said}");
        kubectl.run("delete pvc early --timeout=60s");
        assert_eq!(stories.volumes.until(&format!("{name} Released")), ["Pending", "Bound", "Released"]);

        // A class that waits until a pod is placed, and then makes the volume where the pod is.
        kubectl.run("label node node-2 topology.kubernetes.io/zone=b");
        kubectl.run_with("create -f -", &class("late", json!({"volumeBindingMode": "WaitForFirstConsumer"})));
        kubectl.run_with("create -f -", &claim("late", ", storageClassName: late"));
        wait_for_event(
            &kubectl,
            "pvc/late",
            "WaitForFirstConsumer: waiting for first consumer to be created before binding",
        );
        kubectl.run("annotate pvc late volume.kubernetes.io/selected-node=node-2");
        assert_eq!(stories.claims.until("late Bound"), ["Pending", "Bound"]);
        let name = kubectl.run("get pvc late -o jsonpath={.spec.volumeName}");
        let terms =
            kubectl.json(&format!("get pv {name}"))["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"].clone();
        let expression = json!({"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["b"]});
        assert_eq!(terms, json!([{"matchExpressions": [expression]}]));

        // A node that is not there: the scheduler may choose again.
        kubectl.run_with("create -f -", &claim("nowhere", ", storageClassName: late"));
        kubectl.run("annotate pvc nowhere volume.kubernetes.io/selected-node=node-9");
        let annotations = "get pvc nowhere -o jsonpath={.metadata.annotations}";
        kubectl.wait_until(annotations, |text| text.contains("provisioner") && !text.contains("selected-node"));
        wait_for_event(&kubectl, "pvc/nowhere", "failed to provision volume with StorageClass \"late\"");

        // Who says nothing of a class gets the default one, be it later.
        kubectl.run("annotate storageclass standard storageclass.kubernetes.io/is-default-class-");
        kubectl.run_with("create -f -", &claim("patient", ""));
        wait_for_event(&kubectl, "pvc/patient", "no storage class is set");
        kubectl.run("annotate storageclass fast-ssd storageclass.kubernetes.io/is-default-class=true");
        assert_eq!(stories.claims.until("patient Bound"), ["Pending", "Bound"]);
        assert_eq!(kubectl.run("get pvc patient -o jsonpath={.spec.storageClassName}"), "fast-ssd");
    });
}

#[test]
fn a_volume_follows_its_pods_from_node_to_node() {
    let lab = small_lab();
    let kubectl = lab.kubectl();
    kubectl.run_with("create -f -", &claim("data", ""));
    kubectl.wait_until("get pvc data -o jsonpath={.status.phase}", |text| text == "Bound");
    let name = kubectl.run("get pvc data -o jsonpath={.spec.volumeName}");
    let attached = |node: &str| format!("get node {node} -o jsonpath={{.status.volumesAttached[*].name}}");
    let unique = format!("kubernetes.io/csi/csi.kubelab.dev^{name}");
    let attachments = "get volumeattachments -o 'jsonpath={range .items[*]}{.spec.nodeName} {.status.attached};{end}'";

    kubectl.run_with("create -f -", &pod("first", "data", "node-1"));
    kubectl.wait_until(attachments, |text| text == "node-1 true;");
    kubectl.wait_until(&attached("node-1"), |text| text == unique);
    wait_for_event(
        &kubectl,
        "pod/first",
        &format!("SuccessfulAttachVolume: AttachVolume.Attach succeeded for volume \"{name}\""),
    );
    let finalizers = kubectl.run(&format!("get pv {name} -o jsonpath={{.metadata.finalizers}}"));
    assert!(finalizers.contains("external-attacher/csi-kubelab-dev"), "{finalizers}");

    // One node at a time.
    kubectl.run_with("create -f -", &pod("second", "data", "node-2"));
    let refused = format!("Multi-Attach error for volume \"{name}\" Volume is already used by pod(s) first");
    wait_for_event(&kubectl, "pod/second", &format!("FailedAttachVolume: {refused}"));
    kubectl.run("delete pod first --timeout=60s");
    kubectl.wait_until(attachments, |text| text == "node-2 true;");
    kubectl.wait_until(&attached("node-2"), |text| text == unique);
    assert_eq!(kubectl.run(&attached("node-1")), "");

    kubectl.run("delete pod second --timeout=60s");
    kubectl.wait_until(attachments, str::is_empty);
    kubectl.run("delete pvc data --timeout=60s");
    kubectl.wait_until("get pv -o name", str::is_empty);

    // A driver that says that nothing needs to be attached.
    let driver = json!({
        "apiVersion": "storage.k8s.io/v1",
        "kind": "CSIDriver",
        "metadata": {"name": "disk.example.com"},
        "spec": {"attachRequired": false},
    });
    kubectl.run_with("create -f -", &driver.to_string());
    kubectl.run_with("create -f -", &class("shared", json!({})));
    kubectl.run_with("create -f -", &claim("free", ", storageClassName: shared"));
    kubectl.run_with("create -f -", &pod("third", "free", "node-1"));
    kubectl.run_with("create -f -", &claim("held", ""));
    kubectl.run_with("create -f -", &pod("fourth", "held", "node-1"));
    kubectl.wait_until(attachments, |text| text == "node-1 true;");
    let one = kubectl.run("get volumeattachments -o jsonpath={.items[*].spec.attacher}");
    assert_eq!(one, "csi.kubelab.dev");
}

#[test]
fn a_pod_brings_its_own_claim_and_takes_it_along() {
    let lab = small_lab();
    let kubectl = lab.kubectl();
    let template = json!({"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}});
    let pod = json!({
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web"},
        "spec": {
            "terminationGracePeriodSeconds": 1,
            "containers": [{"name": "c", "image": "nginx"}],
            "volumes": [{"name": "scratch", "ephemeral": {"volumeClaimTemplate": template}}],
        },
    });
    kubectl.run_with("create -f -", &pod.to_string());
    kubectl.wait_until("get pvc web-scratch -o jsonpath={.status.phase}", |text| text == "Bound");
    kubectl.run("delete pod web --timeout=60s");
    kubectl.wait_until("get pvc,pv -o name", str::is_empty);
}
