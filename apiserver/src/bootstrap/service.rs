//! The Service `kubernetes` in `default`, by which pods find the API, and the apiservers behind it.
//! Source: `pkg/controlplane/controller/kubernetesservice`, `pkg/controlplane/reconcilers`.

use std::net::{IpAddr, SocketAddr};

use kubelab_api::well_known::label;
use serde_json::{Value, json};

use super::Object;

const NAME: &str = "kubernetes";
const PORT: u16 = 443;

/// The Service: port 443 of `cluster_ip`, the first address of the service range.
pub fn service(cluster_ip: IpAddr, target_port: u16) -> Object {
    let family = if cluster_ip.is_ipv4() { "IPv4" } else { "IPv6" };
    let value = json!({
        "metadata": {"name": NAME, "namespace": "default", "labels": {"component": "apiserver", "provider": NAME}},
        "spec": {
            "clusterIP": cluster_ip,
            "clusterIPs": [cluster_ip],
            "internalTrafficPolicy": "Cluster",
            "ipFamilies": [family],
            "ipFamilyPolicy": "SingleStack",
            "ports": [{"name": "https", "port": PORT, "protocol": "TCP", "targetPort": target_port}],
            "sessionAffinity": "None",
            "type": "ClusterIP",
        },
        "status": {"loadBalancer": {}},
    });
    Object::new(value, "", "v1", "services")
}

/// The Endpoints: the addresses of all apiservers. Those that share a port stand together.
pub fn endpoints(apiservers: &[SocketAddr]) -> Object {
    let subsets = by_port(apiservers).into_iter().map(|(port, addresses)| {
        let addresses: Vec<Value> = addresses.iter().map(|ip| json!({"ip": ip})).collect();
        json!({"addresses": addresses, "ports": [{"name": "https", "port": port, "protocol": "TCP"}]})
    });
    let mut value = json!({
        "metadata": {
            "name": NAME,
            "namespace": "default",
            // The slices are written along with the Endpoints.
            "labels": {label::ENDPOINT_SLICE_SKIP_MIRROR: "true"},
        },
    });
    let subsets: Vec<Value> = subsets.collect();
    if !subsets.is_empty() {
        value["subsets"] = subsets.into();
    }
    Object::new(value, "", "v1", "endpoints")
}

/// The EndpointSlices: `kubernetes` for the first port, `kubernetes-<port>` for others. In a lab apiservers may share an
/// address and differ by their ports, which no slice can tell apart by itself.
pub fn endpoint_slices(apiservers: &[SocketAddr]) -> Vec<Object> {
    let slices = by_port(apiservers).into_iter().enumerate().map(|(i, (port, addresses))| {
        let name = if i == 0 { NAME.to_owned() } else { format!("{NAME}-{port}") };
        let family = if addresses.iter().all(IpAddr::is_ipv4) { "IPv4" } else { "IPv6" };
        let endpoints: Vec<Value> =
            addresses.iter().map(|ip| json!({"addresses": [ip], "conditions": {"ready": true}})).collect();
        let value = json!({
            "metadata": {"name": name, "namespace": "default", "labels": {label::SERVICE_NAME: NAME}},
            "addressType": family,
            "endpoints": endpoints,
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        });
        Object::new(value, "discovery.k8s.io", "v1", "endpointslices")
    });
    slices.collect()
}

fn by_port(apiservers: &[SocketAddr]) -> Vec<(u16, Vec<IpAddr>)> {
    let mut groups: Vec<(u16, Vec<IpAddr>)> = Vec::new();
    for address in apiservers {
        match groups.iter_mut().find(|(port, _)| *port == address.port()) {
            Some((_, addresses)) => addresses.push(address.ip()),
            None => groups.push((address.port(), vec![address.ip()])),
        }
    }
    groups.iter_mut().for_each(|(_, addresses)| {
        addresses.sort();
        addresses.dedup();
    });
    groups.sort();
    groups
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::{
        core::v1::{Endpoints, Service},
        discovery::v1::EndpointSlice,
    };

    use super::*;

    #[test]
    fn pods_find_the_apiservers() {
        let service: Service = serde_json::from_value(service("10.96.0.1".parse().unwrap(), 6443).value).unwrap();
        assert_eq!(service.spec.unwrap().cluster_ip.as_deref(), Some("10.96.0.1"));
        let apiservers: Vec<SocketAddr> =
            ["127.0.0.1:7002", "127.0.0.1:7001", "127.0.0.2:7001"].map(|a| a.parse().unwrap()).into();
        let endpoints: Endpoints = serde_json::from_value(endpoints(&apiservers).value).unwrap();
        let subsets = endpoints.subsets.unwrap();
        let first: Vec<_> = subsets[0].addresses.iter().flatten().map(|address| address.ip.as_str()).collect();
        assert_eq!((subsets.len(), first), (2, vec!["127.0.0.1", "127.0.0.2"]));
        let slices = endpoint_slices(&apiservers);
        assert_eq!(slices.iter().map(Object::name).collect::<Vec<_>>(), ["kubernetes", "kubernetes-7002"]);
        for slice in slices {
            let slice: EndpointSlice = serde_json::from_value(slice.value).unwrap();
            assert_eq!(slice.ports.unwrap().len(), 1);
        }
    }
}
