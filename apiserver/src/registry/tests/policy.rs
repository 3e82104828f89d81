//! Admission, as a client meets it.

use kubelab_store::{Origin, Precondition, Transaction, Write};

use super::*;

impl Lab {
    /// Sends a request as the kubelet of a node.
    async fn as_node(&self, node: &str, mut request: Request) -> Result<Value, Error> {
        request.user = User {
            name: format!("system:node:{node}"),
            groups: vec!["system:nodes".into(), "system:authenticated".into()],
            ..Default::default()
        };
        self.object(request).await
    }

    fn create_request(&self, plural: &str, namespace: &str, object: &Value) -> Request {
        Request { body: Body::Json(object.to_string().into()), ..self.request(Verb::Create, plural, namespace, "") }
    }

    fn update_request(&self, plural: &str, object: &Value) -> Request {
        let text = |field: &str| object["metadata"][field].as_str().unwrap_or_default().to_owned();
        let request = self.request(Verb::Update, plural, &text("namespace"), &text("name"));
        Request { body: Body::Json(object.to_string().into()), ..request }
    }

    async fn bound_pod(&self, name: &str, node: &str) -> Value {
        self.create("pods", "default", pod(name)).await.unwrap();
        let binding = json!({"metadata": {"name": name}, "target": {"kind": "Node", "name": node}});
        self.create("pods/binding", "default", binding).await.unwrap();
        self.get("pods", name).await.unwrap()
    }
}

#[tokio::test]
async fn a_new_node_takes_no_pods_and_is_its_kubelets_alone() {
    let lab = Lab::start().await;
    let named = |name: &str| json!({"metadata": {"name": name}});
    let mine = lab.as_node("n1", lab.create_request("nodes", "", &named("n1"))).await.unwrap();
    assert_eq!(mine["spec"]["taints"], json!([{"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}]));

    let other = lab.as_node("n1", lab.create_request("nodes", "", &named("n2"))).await.unwrap_err();
    assert_eq!(
        (other.code(), &*other.message),
        (403, "nodes \"n2\" is forbidden: node \"n1\" is not allowed to modify node \"n2\"")
    );
    let mut untainted = mine.clone();
    untainted["spec"]["taints"] = json!([]);
    let refused = lab.as_node("n1", lab.update_request("nodes", &untainted)).await.unwrap_err();
    assert!(refused.message.ends_with("node \"n1\" is not allowed to modify taints"), "{refused}");
    let mut labelled = mine.clone();
    labelled["metadata"]["labels"] = json!({"node-restriction.kubernetes.io/team": "a"});
    let refused = lab.as_node("n1", lab.update_request("nodes", &labelled)).await.unwrap_err();
    assert!(
        refused.message.ends_with("is not allowed to modify labels: node-restriction.kubernetes.io/team"),
        "{refused}"
    );
    let mut ready = mine;
    ready["status"] = json!({"conditions": [{"type": "Ready", "status": "True"}]});
    lab.as_node("n1", lab.update_request("nodes/status", &ready)).await.unwrap();
}

#[tokio::test]
async fn a_kubelet_writes_only_its_own_pods() {
    let lab = Lab::start().await;
    let mine = lab.bound_pod("mine", "n1").await;
    let other = lab.bound_pod("other", "n2").await;
    lab.as_node("n1", lab.update_request("pods/status", &mine)).await.unwrap();
    let refused = lab.as_node("n1", lab.update_request("pods/status", &other)).await.unwrap_err();
    assert_eq!(
        refused.message,
        "pods \"other\" is forbidden: node \"n1\" can only update pod status for pods with spec.nodeName set to itself"
    );
    let delete = lab.request(Verb::Delete, "pods", "default", "other");
    let refused = lab.as_node("n1", delete).await.unwrap_err();
    assert!(
        refused.message.ends_with("node \"n1\" can only delete pods with spec.nodeName set to itself"),
        "{refused}"
    );
    let created = lab.as_node("n1", lab.create_request("pods", "default", &pod("new"))).await.unwrap_err();
    assert!(created.message.ends_with("node \"n1\" can only create mirror pods"), "{created}");
}

#[tokio::test]
async fn a_priority_class_becomes_a_number() {
    let lab = Lab::start().await;
    let key = kubelab_store::Key::new("scheduling.k8s.io/priorityclasses", "high");
    let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": "high"},
                       "value": 1000, "preemptionPolicy": "Never"});
    let origin = Origin {
        user: "".into(),
        agent: "".into(),
        door: Door::Internal,
        verb: "create".into(),
        time_us: 0,
        trace_id: "".into(),
        cause: 0,
        note: "".into(),
    };
    let put =
        Write::Put { key: key.clone(), value: class.to_string().into(), stamp: None, index: None, expires_ms: None };
    let transaction = Transaction { preconditions: vec![Precondition::Absent(key)], writes: vec![put], origin };
    lab.registry.store().commit(transaction).await.unwrap();

    let with = |name: &str, class: &str, priority: Value| {
        let mut wanted = pod(name);
        wanted["spec"]["priorityClassName"] = class.into();
        wanted["spec"]["priority"] = priority;
        lab.create_request("pods", "default", &wanted)
    };
    let created = lab.object(with("a", "high", Value::Null)).await.unwrap();
    assert_eq!((&created["spec"]["priority"], &created["spec"]["preemptionPolicy"]), (&json!(1000), &json!("Never")));
    let cases = [
        ("none", Value::Null, "pods \"b\" is forbidden: no PriorityClass with name none was found"),
        (
            "high",
            json!(7),
            "pods \"b\" is forbidden: the integer value of priority (7) must not be provided in pod spec; priority admission \
             controller computed 1000 from the given PriorityClass name",
        ),
    ];
    for (class, priority, message) in cases {
        let refused = lab.object(with("b", class, priority)).await.unwrap_err();
        assert_eq!((refused.code(), &*refused.message), (403, message));
    }
}

#[tokio::test]
async fn a_pod_gets_its_accounts_token() {
    let lab = Lab::start().await;
    let created = lab.create("pods", "default", pod("a")).await.unwrap();
    let spec = &created["spec"];
    assert_eq!((&spec["serviceAccountName"], &spec["serviceAccount"]), (&json!("default"), &json!("default")));
    let volume = spec["volumes"][0]["name"].as_str().unwrap();
    assert!(volume.starts_with("kube-api-access-") && volume.len() == 21, "{volume}");
    assert_eq!(
        spec["containers"][0]["volumeMounts"],
        json!([{"name": volume, "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}])
    );
    let mut without = pod("b");
    without["spec"]["automountServiceAccountToken"] = false.into();
    assert_eq!(lab.create("pods", "default", without).await.unwrap()["spec"]["volumes"], Value::Null);
}
