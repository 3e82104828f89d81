//! `/etc/hosts` and `/etc/resolv.conf` of a pod. Sources: `pkg/kubelet/kubelet_pods.go` and `pkg/kubelet/network/dns` of
//! Kubernetes.

use std::fmt::Write;

use k8s_openapi::api::core::v1::{PodDNSConfig, PodSpec};

/// The domain of all names in the cluster: the kubelet's `--cluster-domain`.
pub const DOMAIN: &str = "cluster.local";
/// The cluster's DNS server: the kubelet's `--cluster-dns`.
pub const SERVER: &str = "10.96.0.10";

/// The most that a resolver reads. Source: `MaxDNSNameservers` and `MaxDNSSearchPaths` of the API's validation.
const MAX_SERVERS: usize = 3;
const MAX_SEARCHES: usize = 32;

/// The pod's `/etc/hosts`: itself, and its aliases.
pub fn hosts(spec: &PodSpec, address: &str, hostname: &str, namespace: &str) -> String {
    let mut text = String::from(
        "# Kubernetes-managed hosts file.\n127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::0\tip6-localnet\nfe00::0\tip6-mcastprefix\nfe00::1\tip6-allnodes\nfe00::2\tip6-allrouters\n",
    );
    let own = match spec.subdomain.as_deref() {
        Some(subdomain) if !subdomain.is_empty() => {
            format!("{address}\t{hostname}.{subdomain}.{namespace}.svc.{DOMAIN}\t{hostname}\n")
        }
        _ => format!("{address}\t{hostname}\n"),
    };
    text.push_str(&own);
    let aliases = spec.host_aliases.iter().flatten();
    let lines =
        aliases.map(|alias| format!("{}\t{}\n", alias.ip, alias.hostnames.as_deref().unwrap_or_default().join("\t")));
    let lines: String = lines.collect();
    if !lines.is_empty() {
        text.push_str("\n# Entries added by HostAliases.\n");
        text.push_str(&lines);
    }
    text
}

/// The pod's `/etc/resolv.conf`, as its `dnsPolicy` and `dnsConfig` want it. The node itself has no DNS server.
pub fn resolv_conf(spec: &PodSpec, namespace: &str) -> String {
    let on_node = spec.host_network == Some(true);
    let policy = spec.dns_policy.as_deref().unwrap_or("ClusterFirst");
    let is_cluster = policy == "ClusterFirstWithHostNet" || (policy == "ClusterFirst" && !on_node);
    let (mut servers, mut searches, mut options) = (Vec::new(), Vec::new(), Vec::new());
    if is_cluster {
        servers.push(SERVER.to_owned());
        searches.extend([format!("{namespace}.svc.{DOMAIN}"), format!("svc.{DOMAIN}"), DOMAIN.to_owned()]);
        options.push(("ndots".to_owned(), Some("5".to_owned())));
    }
    if let Some(PodDNSConfig { nameservers, searches: more, options: changed }) = &spec.dns_config {
        append(&mut servers, nameservers.as_deref().unwrap_or_default());
        append(&mut searches, more.as_deref().unwrap_or_default());
        for option in changed.iter().flatten() {
            let name = option.name.clone().unwrap_or_default();
            match options.iter_mut().find(|(known, _)| *known == name) {
                Some((_, value)) => value.clone_from(&option.value),
                None => options.push((name, option.value.clone())),
            }
        }
    }
    servers.truncate(MAX_SERVERS);
    searches.truncate(MAX_SEARCHES);
    let mut text = String::new();
    if !searches.is_empty() {
        let _ = writeln!(text, "search {}", searches.join(" "));
    }
    for server in servers {
        let _ = writeln!(text, "nameserver {server}");
    }
    if !options.is_empty() {
        let options = options.into_iter().map(|(name, value)| match value {
            Some(value) if !value.is_empty() => format!("{name}:{value}"),
            _ => name,
        });
        let _ = writeln!(text, "options {}", options.collect::<Vec<_>>().join(" "));
    }
    text
}

fn append(list: &mut Vec<String>, more: &[String]) {
    for item in more {
        if !list.contains(item) {
            list.push(item.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::{Value, json};

    use super::*;

    fn spec(fields: Value) -> PodSpec {
        let mut spec = json!({"containers": []});
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn resolvers_are_configured_as_the_policy_says() {
        const CLUSTER: &str =
            "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
        let config = json!({"nameservers": ["1.2.3.4"], "searches": ["a.b"], "options": [{"name": "ndots", "value": "2"}, {"name": "edns0"}]});
        for (fields, expected) in [
            (json!({}), CLUSTER),
            (json!({"dnsPolicy": "ClusterFirst"}), CLUSTER),
            (json!({"dnsPolicy": "ClusterFirst", "hostNetwork": true}), ""),
            (json!({"dnsPolicy": "ClusterFirstWithHostNet", "hostNetwork": true}), CLUSTER),
            (json!({"dnsPolicy": "Default"}), ""),
            (
                json!({"dnsPolicy": "None", "dnsConfig": config}),
                "search a.b\nnameserver 1.2.3.4\noptions ndots:2 edns0\n",
            ),
            (
                json!({"dnsConfig": config}),
                "search shop.svc.cluster.local svc.cluster.local cluster.local a.b\nnameserver 10.96.0.10\n\
                 nameserver 1.2.3.4\noptions ndots:2 edns0\n",
            ),
        ] {
            assert_eq!(resolv_conf(&spec(fields.clone()), "shop"), expected, "{fields}");
        }
    }

    #[test]
    fn pods_know_themselves_and_their_aliases() {
        let last = |fields: Value| {
            let hosts = hosts(&spec(fields), "10.244.0.2", "web-0", "shop");
            hosts.split_once("ip6-allrouters\n").unwrap().1.to_owned()
        };
        assert_eq!(last(json!({})), "10.244.0.2\tweb-0\n");
        assert_eq!(last(json!({"subdomain": "web"})), "10.244.0.2\tweb-0.web.shop.svc.cluster.local\tweb-0\n");
        assert_eq!(
            last(json!({"hostAliases": [{"ip": "1.2.3.4", "hostnames": ["foo.local", "bar"]}]})),
            "10.244.0.2\tweb-0\n\n# Entries added by HostAliases.\n1.2.3.4\tfoo.local\tbar\n"
        );
    }
}
