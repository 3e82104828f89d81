//! Volumes on a running node.

use std::time::Duration;

use serde_json::json;

use crate::rig::Rig;

const SLEEP: [&str; 2] = ["sleep", "infinity"];

#[tokio::test]
async fn a_token_is_renewed_before_it_ends() {
    let rig = Rig::new().await;
    let token = json!({"serviceAccountToken": {"path": "token", "expirationSeconds": 600}});
    let volumes = json!([{"name": "access", "projected": {"sources": [token]}}]);
    let mounts = json!([{"name": "access", "mountPath": "/access"}]);
    let container = json!({"name": "web", "image": "busybox", "command": SLEEP, "volumeMounts": mounts});
    rig.run("web", json!({}), json!({"containers": [container], "volumes": volumes}));
    rig.until("web", "/status/phase", json!("Running")).await;
    let first = rig.exec("web", "web", &["cat", "/access/token"]).await;
    assert!(first.starts_with("token-"), "{first}");
    let renewed = async {
        loop {
            let now = rig.exec("web", "web", &["cat", "/access/token"]).await;
            if now != first {
                return now;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let renewed = tokio::time::timeout(Duration::from_secs(20), renewed).await.unwrap();
    assert!(renewed.starts_with("token-"), "{renewed}");
}

#[tokio::test]
async fn an_image_is_a_volume() {
    let rig = Rig::new().await;
    let volume = |image: &str| json!([{"name": "volume", "image": {"reference": image, "pullPolicy": "IfNotPresent"}}]);
    let mounts = json!([{"name": "volume", "mountPath": "/volume"}]);
    let shell = || json!({"name": "shell", "image": "debian", "command": SLEEP, "volumeMounts": mounts});
    // https://kubernetes.io/docs/tasks/configure-pod-container/image-volumes/
    let volumes = volume("quay.io/crio/artifact:v2");
    rig.run("image-volume", json!({}), json!({"containers": [shell()], "volumes": volumes}));
    rig.until("image-volume", "/status/phase", json!("Running")).await;
    rig.until_event("Pulling", "Pulling image \"quay.io/crio/artifact:v2\"").await;
    assert_eq!(rig.exec("image-volume", "shell", &["cat", "/volume/dir/file", "/volume/file"]).await, "1\n2\n");
    let refused = rig.exec("image-volume", "shell", &["touch", "/volume/x"]).await;
    assert!(refused.contains("Read-only file system"), "{refused}");

    rig.run("bad", json!({}), json!({"containers": [shell()], "volumes": volume("example.com/missing")}));
    let reason = "/status/containerStatuses/0/state/waiting/reason";
    rig.until("bad", reason, json!("ErrImagePull")).await;
    let pod = rig.until("bad", reason, json!("ImagePullBackOff")).await;
    let message = pod["status"]["containerStatuses"][0]["state"]["waiting"]["message"].as_str().unwrap();
    assert!(message.starts_with("Back-off pulling image \"example.com/missing\": ErrImagePull: "), "{message}");
    rig.until_event("BackOff", "Back-off pulling image \"example.com/missing\"").await;
}

#[tokio::test]
async fn a_driver_s_volume_needs_its_driver() {
    let rig = Rig::new().await;
    let volumes = json!([{"name": "inline", "csi": {"driver": "inline.example.com"}}]);
    let mounts = json!([{"name": "inline", "mountPath": "/data"}]);
    let container = json!({"name": "web", "image": "busybox", "command": SLEEP, "volumeMounts": mounts});
    rig.run("web", json!({}), json!({"containers": [container], "volumes": volumes}));
    let initialization = "MountVolume.NewMounter initialization failed for volume \"inline\" : ";
    let mode = "volume mode \"Ephemeral\" not supported by driver inline.example.com";
    rig.until_event("FailedMount", &format!("{initialization}{mode} (no CSIDriver object)")).await;
    let driver = |modes: serde_json::Value| json!({"metadata": {"name": "inline.example.com"}, "spec": {"volumeLifecycleModes": modes}});
    rig.api.put("csidrivers", driver(json!(["Persistent"])));
    rig.until_event("FailedMount", &format!("{initialization}{mode} (only supports [\"Persistent\"])")).await;
    rig.api.put("csidrivers", driver(json!(["Persistent", "Ephemeral"])));
    rig.until("web", "/status/phase", json!("Running")).await;
    assert_eq!(rig.exec("web", "web", &["sh", "-c", "echo 1 > /data/x; cat /data/x"]).await, "1\n");
}
