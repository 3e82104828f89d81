//! ResourceQuota, as a client meets it.

use super::*;

impl Lab {
    /// A quota whose usage is known, as the quota controller leaves it.
    async fn quota(&self, name: &str, hard: Value, used: Value) {
        let object = json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"hard": hard}});
        let mut quota = self.create("resourcequotas", "default", object).await.unwrap();
        quota["status"] = json!({"hard": hard, "used": used});
        self.update("resourcequotas/status", quota).await.unwrap();
    }

    async fn used(&self, name: &str) -> Value {
        self.get("resourcequotas", name).await.unwrap()["status"]["used"].clone()
    }
}

#[tokio::test]
async fn a_quota_is_charged_with_the_object() {
    let lab = Lab::start().await;
    lab.quota("q", json!({"pods": "2"}), json!({"pods": "0"})).await;
    let first = lab.create("pods", "default", pod("a")).await.unwrap();
    let quota = lab.get("resourcequotas", "q").await.unwrap();
    assert_eq!((version(&quota), &quota["status"]["used"]), (version(&first), &json!({"pods": "1"})));

    let mut dry = lab.request(Verb::Create, "pods", "default", "");
    dry.options.dry_run = true;
    dry.body = Body::Json(pod("dry").to_string().into());
    lab.object(dry).await.unwrap();
    assert_eq!(lab.used("q").await, json!({"pods": "1"}));

    lab.create("pods", "default", pod("b")).await.unwrap();
    let refused = lab.create("pods", "default", pod("c")).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.message),
        (403, "pods \"c\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2")
    );
    assert_eq!(lab.used("q").await, json!({"pods": "2"}));
}

#[tokio::test]
async fn all_quotas_of_a_namespace_are_charged_or_none() {
    let lab = Lab::start().await;
    lab.quota("large", json!({"count/configmaps": "9"}), json!({"count/configmaps": "0"})).await;
    lab.quota("small", json!({"configmaps": "1"}), json!({"configmaps": "0"})).await;
    lab.create("configmaps", "default", config("a", json!({}))).await.unwrap();
    assert!(lab.create("configmaps", "default", config("b", json!({}))).await.is_err());
    let used = (lab.used("large").await, lab.used("small").await);
    assert_eq!(used, (json!({"count/configmaps": "1"}), json!({"configmaps": "1"})));
    let taken = lab.create("configmaps", "default", config("a", json!({}))).await.unwrap_err();
    assert!(taken.message.contains("exceeded quota: small"), "{taken}");
}

#[tokio::test]
async fn writes_at_the_same_time_never_overspend() {
    let lab = Lab::start().await;
    lab.quota("q", json!({"secrets": "7"}), json!({"secrets": "0"})).await;
    let create = async |n: usize| {
        let secret = json!({"metadata": {"name": format!("s{n}")}});
        lab.create("secrets", "default", secret).await.is_ok()
    };
    let created: Vec<bool> = stream::iter(0..30).map(create).buffer_unordered(30).collect().await;
    assert_eq!(created.iter().filter(|ok| **ok).count(), 7);
    let left = lab.list("secrets", ListOptions::default()).await.unwrap();
    assert_eq!(left["items"].as_array().map(Vec::len), Some(7));
    assert_eq!(lab.used("q").await, json!({"secrets": "7"}));
}

#[tokio::test]
async fn a_service_pays_for_node_ports_when_it_changes() {
    let lab = Lab::start().await;
    let none = json!({"services": "0", "services.nodeports": "0"});
    lab.quota("q", json!({"services": "2", "services.nodeports": "1"}), none).await;
    let service = json!({"metadata": {"name": "web"}, "spec": {"ports": [{"port": 80}]}});
    let mut web = lab.create("services", "default", service).await.unwrap();
    assert_eq!(lab.used("q").await, json!({"services": "1", "services.nodeports": "0"}));
    web["spec"]["type"] = "NodePort".into();
    let mut web = lab.update("services", web).await.unwrap();
    assert_eq!(lab.used("q").await, json!({"services": "1", "services.nodeports": "1"}));
    web["spec"]["ports"] = json!([{"port": 80, "name": "a"}, {"port": 81, "name": "b"}]);
    let refused = lab.update("services", web).await.unwrap_err();
    assert_eq!(
        refused.message,
        "services \"web\" is forbidden: exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1, \
         limited: services.nodeports=1"
    );
}
