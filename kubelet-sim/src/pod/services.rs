//! The environment variables that tell a container of services. Source: `FromServices` in `pkg/kubelet/envvars` and
//! `getServiceEnvVarMap` in `pkg/kubelet/kubelet_pods.go` of Kubernetes.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{Pod, Service};

/// The variables for a pod: of the API's own service, and of those in the pod's namespace unless it does not want them.
pub fn variables(pod: &Pod, services: &[Arc<Service>]) -> Vec<(String, String)> {
    let namespace = pod.metadata.namespace.as_deref().unwrap_or_default();
    let links = pod.spec.as_ref().and_then(|spec| spec.enable_service_links).unwrap_or(true);
    let place = |service: &Service| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        (text(&service.metadata.namespace), text(&service.metadata.name))
    };
    let is_api = |service: &Service| place(service) == ("default".to_owned(), "kubernetes".to_owned());
    // One of the pod's own namespace that bears the API's name comes later, and wins.
    let api = services.iter().filter(|service| is_api(service));
    let own = services.iter().filter(|service| links && place(service).0 == namespace && !is_api(service));
    api.chain(own).flat_map(|service| of(service)).collect()
}

fn of(service: &Service) -> Vec<(String, String)> {
    let Some(spec) = &service.spec else { return Vec::new() };
    let address = spec.cluster_ip.as_deref().filter(|address| !address.is_empty() && *address != "None");
    let Some(address) = address else { return Vec::new() };
    let ports = spec.ports.as_deref().unwrap_or_default();
    let name = variable(service.metadata.name.as_deref().unwrap_or_default());
    let mut variables = vec![(format!("{name}_SERVICE_HOST"), address.to_owned())];
    let host = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    if let Some(first) = ports.first() {
        variables.push((format!("{name}_SERVICE_PORT"), first.port.to_string()));
    }
    for port in ports {
        if let Some(of) = port.name.as_deref().filter(|name| !name.is_empty()) {
            variables.push((format!("{name}_SERVICE_PORT_{}", variable(of)), port.port.to_string()));
        }
    }
    for (index, port) in ports.iter().enumerate() {
        let protocol = port.protocol.as_deref().unwrap_or("TCP");
        let (lower, number) = (protocol.to_lowercase(), port.port);
        let url = format!("{lower}://{host}:{number}");
        if index == 0 {
            variables.push((format!("{name}_PORT"), url.clone()));
        }
        let prefix = format!("{name}_PORT_{number}_{protocol}");
        variables.push((format!("{prefix}_PROTO"), lower));
        variables.push((format!("{prefix}_PORT"), number.to_string()));
        variables.push((format!("{prefix}_ADDR"), address.to_owned()));
        variables.push((prefix, url));
    }
    variables
}

fn variable(name: &str) -> String {
    name.to_uppercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_container_learns_of_the_services_of_its_namespace() {
        let service = |namespace: &str, name: &str, address: &str, ports: Value| -> Arc<Service> {
            let service = json!({"metadata": {"name": name, "namespace": namespace},
                "spec": {"clusterIP": address, "ports": ports}});
            Arc::new(serde_json::from_value(service).unwrap())
        };
        let https = json!([{"name": "https", "port": 443, "protocol": "TCP"}]);
        let services = [
            service("default", "kubernetes", "10.96.0.1", https),
            service("shop", "my-db", "10.96.0.5", json!([{"port": 3306}])),
            service("shop", "headless", "None", json!([{"port": 1}])),
            service("other", "web", "10.96.0.6", json!([{"port": 80}])),
        ];
        let names = |links: Value| {
            let pod =
                json!({"metadata": {"namespace": "shop"}, "spec": {"containers": [], "enableServiceLinks": links}});
            let pod: Pod = serde_json::from_value(pod).unwrap();
            let variables = variables(&pod, &services).into_iter();
            variables.map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>()
        };
        let api = [
            "KUBERNETES_SERVICE_HOST=10.96.0.1",
            "KUBERNETES_SERVICE_PORT=443",
            "KUBERNETES_SERVICE_PORT_HTTPS=443",
            "KUBERNETES_PORT=tcp://10.96.0.1:443",
            "KUBERNETES_PORT_443_TCP_PROTO=tcp",
            "KUBERNETES_PORT_443_TCP_PORT=443",
            "KUBERNETES_PORT_443_TCP_ADDR=10.96.0.1",
            "KUBERNETES_PORT_443_TCP=tcp://10.96.0.1:443",
        ];
        assert_eq!(names(json!(false)), api);
        let db = [
            "MY_DB_SERVICE_HOST=10.96.0.5",
            "MY_DB_SERVICE_PORT=3306",
            "MY_DB_PORT=tcp://10.96.0.5:3306",
            "MY_DB_PORT_3306_TCP_PROTO=tcp",
            "MY_DB_PORT_3306_TCP_PORT=3306",
            "MY_DB_PORT_3306_TCP_ADDR=10.96.0.5",
            "MY_DB_PORT_3306_TCP=tcp://10.96.0.5:3306",
        ];
        assert_eq!(names(Value::Null), [&api[..], &db[..]].concat());
    }
}
