use k8s_openapi::api::{apps::v1::Deployment, core::v1::Pod, rbac::v1::ClusterRole};

use super::*;

fn paths(dialect: Dialect) -> (Map<String, Value>, Map<String, Value>) {
    let some = || {
        let wanted = ["Deployment", "ClusterRole", "Pod"];
        resource::BUILT_IN.iter().filter(move |r| wanted.contains(&&*r.kind))
    };
    let schema = |resource: &Resource, generator: &mut k8s_openapi::schemars::SchemaGenerator| {
        Some(match &*resource.kind {
            "Deployment" => generator.subschema_for::<Deployment>(),
            "Pod" => generator.subschema_for::<Pod>(),
            _ => generator.subschema_for::<ClusterRole>(),
        })
    };
    let schemas = Schemas::collect(some(), schema, dialect);
    let mut parameters = Parameters::new(dialect);
    (build(some(), &schemas, &mut parameters, dialect), parameters.shared)
}

const ITEM: &str = "/apis/apps/v1/namespaces/{namespace}/deployments/{name}";

#[test]
fn kubectl_finds_what_it_looks_for() {
    let (paths, _) = paths(Dialect::V3);
    let item = &paths[ITEM];
    assert_eq!(item["patch"]["x-kubernetes-group-version-kind"], gvk("apps", "v1", "Deployment"));
    let names: Vec<_> = item["patch"]["parameters"].as_array().into_iter().flatten().map(|p| &p["name"]).collect();
    assert_eq!(names, ["dryRun", "fieldManager", "fieldValidation", "force"]);
    assert!(item["patch"]["requestBody"]["content"]["application/strategic-merge-patch+json"].is_object());
    let above: Vec<_> = item["parameters"].as_array().into_iter().flatten().map(|p| &p["name"]).collect();
    assert_eq!(above, ["name", "namespace", "pretty"]);
    let scale = &paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
    assert_eq!(scale["put"]["x-kubernetes-group-version-kind"], gvk("autoscaling", "v1", "Scale"));
    assert_eq!(paths["/apis/apps/v1/deployments"]["get"]["x-kubernetes-action"], "list");
    let exec = &paths["/api/v1/namespaces/{namespace}/pods/{name}/exec"];
    assert_eq!(exec["get"]["operationId"], "connectCoreV1GetNamespacedPodExec");
    assert_eq!(exec["post"]["x-kubernetes-group-version-kind"], gvk("", "v1", "PodExecOptions"));
}

#[test]
fn operations_have_upstreams_names() {
    let (paths, _) = paths(Dialect::V3);
    let collection = "/apis/apps/v1/namespaces/{namespace}/deployments";
    for (path, method, id) in [
        (ITEM, "get", "readAppsV1NamespacedDeployment"),
        (ITEM, "put", "replaceAppsV1NamespacedDeployment"),
        (ITEM, "patch", "patchAppsV1NamespacedDeployment"),
        (ITEM, "delete", "deleteAppsV1NamespacedDeployment"),
        (collection, "get", "listAppsV1NamespacedDeployment"),
        (collection, "post", "createAppsV1NamespacedDeployment"),
        (collection, "delete", "deleteAppsV1CollectionNamespacedDeployment"),
        ("/apis/apps/v1/deployments", "get", "listAppsV1DeploymentForAllNamespaces"),
        ("/apis/apps/v1/watch/deployments", "get", "watchAppsV1DeploymentListForAllNamespaces"),
        ("/apis/apps/v1/", "get", "getAppsV1APIResources"),
        ("/apis/rbac.authorization.k8s.io/v1/clusterroles", "get", "listRbacAuthorizationV1ClusterRole"),
        (
            "/apis/apps/v1/namespaces/{namespace}/deployments/{name}/status",
            "patch",
            "patchAppsV1NamespacedDeploymentStatus",
        ),
    ] {
        assert_eq!(paths[path][method]["operationId"], id);
    }
    assert_eq!(camel("stable.example.com"), "stableExampleCom");
}

#[test]
fn swagger_refers_to_its_parameters() {
    let (paths, shared) = paths(Dialect::V2);
    let patch = &paths[ITEM]["patch"];
    assert_eq!(patch["parameters"][0]["in"], "body");
    let reference = patch["parameters"][1]["$ref"].as_str().unwrap_or_default();
    let name = reference.strip_prefix("#/parameters/").unwrap_or_default();
    assert_eq!(shared[name]["name"], "dryRun");
    assert_eq!(shared[name]["type"], "string");
    assert!(patch["consumes"].as_array().is_some_and(|types| types.len() == 4));
    assert_eq!(patch["responses"]["201"]["schema"]["$ref"], "#/definitions/io.k8s.api.apps.v1.Deployment");
}
