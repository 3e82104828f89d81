//! Which port and which address a proxied name means (pure).

use std::net::SocketAddr;

use k8s_openapi::api::{
    core::v1::{Pod, Service},
    discovery::v1::EndpointSlice,
};
use kubelab_api::{Error, Reason};

/// A name with a scheme and a port: `web`, `web:8080`, `https:web:8443`, `http:web:`.
/// Source: `SplitSchemeNamePort` in `k8s.io/apimachinery/pkg/util/net`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The object's name.
    pub name: String,
    /// A port's number or name; empty for the default.
    pub port: String,
    /// The pod speaks TLS.
    pub is_https: bool,
}

impl Name {
    /// Takes a name apart.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let (scheme, name, port) = match *text.split(':').collect::<Vec<_>>() {
            [name] => ("", name, ""),
            [name, port] => ("", name, port),
            [scheme, name, port] => (scheme, name, port),
            _ => ("?", "", ""),
        };
        if !["", "http", "https"].contains(&scheme) || name.is_empty() {
            return Err(Error::bad_request(format!("invalid request {text:?}")));
        }
        Ok(Self { name: name.to_owned(), port: port.to_owned(), is_https: scheme == "https" })
    }
}

/// The port of a pod. Without one the first that a container declares, or HTTP's.
pub fn pod_port(pod: &Pod, port: &str) -> Result<u16, Error> {
    if port.is_empty() {
        let ports =
            pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|container| container.ports.iter().flatten());
        let first = ports.into_iter().next().and_then(|port| u16::try_from(port.container_port).ok());
        return Ok(first.unwrap_or(80));
    }
    port.parse().map_err(|_| Error::bad_request(format!("invalid port {port:?}")))
}

/// The ready addresses behind a port of a Service, each with its node.
pub fn endpoints(service: &Service, slices: &[EndpointSlice], port: &str) -> Result<Vec<(SocketAddr, String)>, Error> {
    let name = service.metadata.name.as_deref().unwrap_or_default();
    let ports = service.spec.iter().flat_map(|spec| spec.ports.iter().flatten());
    let mut ports = ports.filter(|candidate| {
        port.is_empty() || candidate.name.as_deref() == Some(port) || candidate.port.to_string() == port
    });
    let Some(found) = ports.next() else {
        let message = format!("no service port {port:?} found for service {name:?}");
        return Err(Error::new(Reason::ServiceUnavailable, message));
    };
    let wanted = found.name.as_deref().unwrap_or_default();
    let mut all = Vec::new();
    for slice in slices {
        let numbers = slice.ports.iter().flatten().filter(|port| port.name.as_deref().unwrap_or_default() == wanted);
        let Some(number) = numbers.filter_map(|port| u16::try_from(port.port?).ok()).next() else { continue };
        for endpoint in slice.endpoints.iter().flatten() {
            let ready = endpoint.conditions.as_ref().and_then(|conditions| conditions.ready).unwrap_or(true);
            let address = endpoint.addresses.first().and_then(|address| address.parse().ok());
            if let (true, Some(address), Some(node)) = (ready, address, &endpoint.node_name) {
                all.push((SocketAddr::new(address, number), node.clone()));
            }
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn names_have_schemes_and_ports() {
        for (text, expected) in [
            ("web", Some(("web", "", false))),
            ("web:8080", Some(("web", "8080", false))),
            ("https:web:8443", Some(("web", "8443", true))),
            ("http:web:", Some(("web", "", false))),
            ("ftp:web:21", None),
            ("a:b:c:d", None),
            (":80", None),
        ] {
            let expected =
                expected.map(|(name, port, is_https)| Name { name: name.into(), port: port.into(), is_https });
            assert_eq!(Name::parse(text).ok(), expected, "{text}");
        }
        assert_eq!(Name::parse("ftp:web:21").unwrap_err().message, "invalid request \"ftp:web:21\"");
    }

    #[test]
    fn a_pods_first_port_is_its_default() {
        let pod = |ports| {
            serde_json::from_value(json!({"spec": {"containers": [{"name": "a"}, {"name": "b", "ports": ports}]}}))
                .unwrap()
        };
        assert_eq!(pod_port(&pod(json!([{"containerPort": 8080}])), "").unwrap(), 8080);
        assert_eq!(pod_port(&pod(json!([])), "").unwrap(), 80);
        assert_eq!(pod_port(&pod(json!([])), "81").unwrap(), 81);
    }

    #[test]
    fn a_services_port_leads_to_ready_addresses() {
        let service: Service = serde_json::from_value(json!({"metadata": {"name": "web"}, "spec": {"ports": [
            {"name": "http", "port": 80, "targetPort": 8080}, {"name": "admin", "port": 81}]}}))
        .unwrap();
        let slice: EndpointSlice = serde_json::from_value(json!({"addressType": "IPv4",
            "ports": [{"name": "http", "port": 8080}, {"name": "admin", "port": 9000}],
            "endpoints": [
                {"addresses": ["10.244.1.2"], "nodeName": "n1", "conditions": {"ready": true}},
                {"addresses": ["10.244.1.3"], "nodeName": "n1", "conditions": {"ready": false}}]}))
        .unwrap();
        for (port, expected) in [
            ("", Ok(vec![("10.244.1.2:8080".parse().unwrap(), "n1".to_owned())])),
            ("http", Ok(vec![("10.244.1.2:8080".parse().unwrap(), "n1".to_owned())])),
            ("81", Ok(vec![("10.244.1.2:9000".parse().unwrap(), "n1".to_owned())])),
            ("90", Err("no service port \"90\" found for service \"web\"".to_owned())),
        ] {
            let found = endpoints(&service, std::slice::from_ref(&slice), port).map_err(|error| error.message);
            assert_eq!(found, expected, "{port}");
        }
    }
}
