//! The Pod Security Standards and the smaller plugins, as a client meets them.

use super::*;

impl Lab {
    /// What came of a request, and the warnings with it.
    async fn warned(&self, request: Request) -> Result<Vec<String>, Error> {
        self.registry.handle(&request, &|_| Ok(())).await.map(|answer| answer.warnings)
    }

    fn creation(&self, plural: &str, namespace: &str, object: &Value) -> Request {
        Request { body: Body::Json(object.to_string().into()), ..self.request(Verb::Create, plural, namespace, "") }
    }

    async fn label(&self, labels: Value) -> Result<Vec<String>, Error> {
        let mut namespace = self.object(self.request(Verb::Get, "namespaces", "", "default")).await.unwrap();
        namespace["metadata"]["labels"] = labels;
        let body = Body::Json(namespace.to_string().into());
        self.warned(Request { body, ..self.request(Verb::Update, "namespaces", "", "default") }).await
    }
}

fn privileged(name: &str) -> Value {
    let mut wanted = pod(name);
    wanted["spec"]["containers"][0]["securityContext"] = json!({"privileged": true});
    wanted
}

#[tokio::test]
async fn pods_keep_to_their_namespaces_standard() {
    let lab = Lab::start().await;
    for name in ["a", "b"] {
        lab.create("pods", "default", privileged(name)).await.unwrap();
    }
    let enforce = "pod-security.kubernetes.io/enforce";
    let wrong = lab.label(json!({enforce: "strict"})).await.unwrap_err();
    assert_eq!(
        (wrong.code(), &*wrong.message),
        (
            422,
            "metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, \
             baseline, restricted"
        )
    );
    let told = lab.label(json!({enforce: "baseline", "pod-security.kubernetes.io/warn": "restricted"})).await.unwrap();
    assert_eq!(
        told,
        [
            "existing pods in namespace \"default\" violate the new PodSecurity enforce level \"baseline:latest\"",
            "a (and 1 other pod): privileged",
        ]
    );
    let refused = lab.create("pods", "default", privileged("c")).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.message),
        (
            403,
            "pods \"c\" is forbidden: violates PodSecurity \"baseline:latest\": privileged (container \"c\" must not set \
             securityContext.privileged=true)"
        )
    );
    let would = "would violate PodSecurity \"restricted:latest\": allowPrivilegeEscalation != false (container \"c\" must set \
                 securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set \
                 securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set \
                 securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set \
                 securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";
    assert_eq!(lab.warned(lab.creation("pods", "default", &pod("d"))).await.unwrap(), [would]);
    let deployment = json!({"metadata": {"name": "web"}, "spec": {"selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": pod("x")["spec"]}}});
    let told = lab.warned(lab.creation("deployments", "default", &deployment)).await.unwrap();
    assert_eq!(told, [would], "templates are only warned of");

    // A change that concerns no standard is not judged again.
    let mut old = lab.get("pods", "a").await.unwrap();
    old["metadata"]["labels"] = json!({"x": "y"});
    lab.update("pods", old.clone()).await.unwrap();
    old = lab.get("pods", "a").await.unwrap();
    old["spec"]["containers"][0]["image"] = "nginx:2".into();
    assert_eq!(lab.update("pods", old).await.unwrap_err().code(), 403);
}

#[tokio::test]
async fn classes_are_filled_in_and_claims_protected() {
    let lab = Lab::start().await;
    let class = json!({"metadata": {"name": "std", "annotations": {"storageclass.kubernetes.io/is-default-class": "true"}},
                       "provisioner": "example.com/disk"});
    lab.create("storageclasses", "", class).await.unwrap();
    let claim = json!({"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"],
                       "resources": {"requests": {"storage": "1Gi"}}}});
    let mut claim = lab.create("persistentvolumeclaims", "default", claim).await.unwrap();
    assert_eq!(claim["spec"]["storageClassName"], "std");
    assert_eq!(claim["metadata"]["finalizers"], json!(["kubernetes.io/pvc-protection"]));

    claim["status"] = json!({"phase": "Bound"});
    let mut claim = lab.update("persistentvolumeclaims/status", claim).await.unwrap();
    claim["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
    let refused = lab.update("persistentvolumeclaims", claim.clone()).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.message),
        (
            403,
            "persistentvolumeclaims \"data\" is forbidden: only dynamically provisioned pvc can be resized and the \
             storageclass that provisions the pvc must support resize"
        )
    );
    let mut class = lab.object(lab.request(Verb::Get, "storageclasses", "", "std")).await.unwrap();
    class["allowVolumeExpansion"] = true.into();
    lab.update("storageclasses", class).await.unwrap();
    lab.update("persistentvolumeclaims", claim).await.unwrap();

    let class = json!({"metadata": {"name": "web", "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}},
                       "spec": {"controller": "example.com/web"}});
    lab.create("ingressclasses", "", class).await.unwrap();
    let ingress = json!({"metadata": {"name": "web"}, "spec": {"defaultBackend": {"service": {"name": "web", "port": {"number": 80}}}}});
    assert_eq!(lab.create("ingresses", "default", ingress).await.unwrap()["spec"]["ingressClassName"], "web");
}

#[tokio::test]
async fn a_runtime_class_must_exist() {
    let lab = Lab::start().await;
    let with = |class: &str| {
        let mut wanted = pod(class);
        wanted["spec"]["runtimeClassName"] = class.into();
        wanted
    };
    let refused = lab.create("pods", "default", with("gvisor")).await.unwrap_err();
    assert_eq!(
        (refused.code(), &*refused.message),
        (403, "pods \"gvisor\" is forbidden: pod rejected: RuntimeClass \"gvisor\" not found")
    );
    let class = json!({"metadata": {"name": "gvisor"}, "handler": "runsc", "overhead": {"podFixed": {"cpu": "100m"}}});
    lab.create("runtimeclasses", "", class).await.unwrap();
    let created = lab.create("pods", "default", with("gvisor")).await.unwrap();
    assert_eq!(created["spec"]["overhead"], json!({"cpu": "100m"}));
    let mut overhead = pod("own");
    overhead["spec"]["overhead"] = json!({"cpu": "1"});
    let refused = lab.create("pods", "default", overhead).await.unwrap_err();
    assert_eq!(
        refused.message,
        "pods \"own\" is forbidden: pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"
    );
}

#[tokio::test]
async fn a_bound_pod_shows_its_nodes_zone() {
    let lab = Lab::start().await;
    let labels = json!({"topology.kubernetes.io/zone": "z1", "topology.kubernetes.io/region": "r1", "disk": "ssd"});
    lab.create("nodes", "", json!({"metadata": {"name": "n1", "labels": labels}})).await.unwrap();
    lab.create("pods", "default", pod("a")).await.unwrap();
    let binding = json!({"metadata": {"name": "a"}, "target": {"kind": "Node", "name": "n1"}});
    lab.create("pods/binding", "default", binding).await.unwrap();
    let shown = json!({"topology.kubernetes.io/region": "r1", "topology.kubernetes.io/zone": "z1"});
    assert_eq!(lab.get("pods", "a").await.unwrap()["metadata"]["labels"], shown);
    let mut placed = pod("b");
    placed["metadata"]["labels"] = json!({"topology.kubernetes.io/zone": "own"});
    placed["spec"]["nodeName"] = "n1".into();
    let placed = lab.create("pods", "default", placed).await.unwrap();
    assert_eq!(placed["metadata"]["labels"]["topology.kubernetes.io/zone"], "own");
    assert_eq!(placed["metadata"]["labels"]["topology.kubernetes.io/region"], "r1");
}
