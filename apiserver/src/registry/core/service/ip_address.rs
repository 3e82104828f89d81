//! The IPAddress that stands for a service's cluster address, written and removed along with it.
//! Source: KEP-1880, `pkg/registry/core/service/ipallocator/ipallocator.go`.

use std::net::Ipv4Addr;

use bytes::Bytes;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kubelab_store::Key;
use serde_json::{Value, json};

use crate::registry::claims::Claims;

const TOPIC: &str = "networking.k8s.io/ipaddresses";

/// Where an address' object is stored.
pub fn key(ip: &str) -> Key {
    Key::new(TOPIC, ip)
}

/// The object of an address that this service has; without identity and time of birth.
pub fn object(ip: &str, namespace: &str, service: &str) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": ip,
            "generation": 1,
            "labels": {
                "ipaddress.kubernetes.io/ip-family": "IPv4",
                "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
            },
        },
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": namespace, "name": service}},
    })
}

/// Writes the object of an address along with the service that these claims are for.
pub fn give(claims: &mut Claims, ip: &str) {
    let (namespace, name) = claims.owner();
    let mut object = object(ip, namespace, name);
    let metadata = &mut object["metadata"];
    metadata["uid"] = uid(claims.random(), ip).into();
    metadata["creationTimestamp"] = json!(Time(claims.now()));
    metadata["resourceVersion"] = "".into();
    claims.accompany(key(ip), Bytes::from(object.to_string()));
}

/// The same for the same request, should it be planned again; for two addresses of one service not.
fn uid(random: u64, ip: &str) -> String {
    let address = ip.parse::<Ipv4Addr>().map_or(0, u32::from);
    let mixed = u64::from(address).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ random.rotate_left(29);
    let bytes = (u128::from(random) << 64 | u128::from(mixed)).to_be_bytes();
    uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use k8s_openapi::api::networking::v1::IPAddress;

    use super::*;

    #[test]
    fn an_address_names_its_service() {
        let address: IPAddress = serde_json::from_value(object("10.96.0.7", "shop", "web")).unwrap();
        let parent = address.spec.parent_ref;
        assert_eq!((parent.namespace.as_deref(), &*parent.name, &*parent.resource), (Some("shop"), "web", "services"));
        assert_ne!(uid(7, "10.96.0.7"), uid(7, "10.96.0.8"));
        assert_eq!(uid(7, "10.96.0.7"), uid(7, "10.96.0.7"));
    }
}
