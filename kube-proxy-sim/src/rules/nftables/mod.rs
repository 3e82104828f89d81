//! The table as `nft list ruleset` would print it on the node. Chains, sets, maps, comments and their order are those of
//! `pkg/proxy/nftables` of Kubernetes; their form is the one in which nft gives them back.
//!
//! | module | what it is |
//! | --- | --- |
//! | `ruleset` | sets, maps and chains, and how they are printed |
//! | `port` | what one Service's port adds |

mod port;
mod ruleset;

use sha2::{Digest, Sha256};

use self::ruleset::{Ruleset, Set};
use super::Table;

/// The network that Services have their addresses from.
const SERVICES: &str = "10.96.0.0/12";

/// The chains that the kernel enters. Source: `nftablesBaseChains`.
const BASE: [(&str, &str, &str, &str); 8] = [
    ("filter-prerouting", "filter", "prerouting", "dstnat - 10"),
    ("filter-input", "filter", "input", "dstnat - 10"),
    ("filter-forward", "filter", "forward", "dstnat - 10"),
    ("filter-output", "filter", "output", "dstnat - 10"),
    ("filter-output-post-dnat", "filter", "output", "dstnat + 10"),
    ("nat-prerouting", "nat", "prerouting", "dstnat"),
    ("nat-output", "nat", "output", "dstnat"),
    ("nat-postrouting", "nat", "postrouting", "srcnat"),
];

/// Where these lead. Source: `nftablesJumpChains`.
const JUMPS: [(&str, &str); 11] = [
    ("filter-input", "ct state new jump nodeport-endpoints-check"),
    ("filter-input", "ct state new jump service-endpoints-check"),
    ("filter-forward", "ct state new jump service-endpoints-check"),
    ("filter-output", "ct state new jump service-endpoints-check"),
    ("filter-prerouting", "ct state new jump firewall-check"),
    ("filter-output", "ct state new jump firewall-check"),
    ("nat-output", "jump services"),
    ("nat-prerouting", "jump services"),
    ("nat-postrouting", "jump masquerading"),
    ("filter-forward", "ct state new jump cluster-ips-check"),
    ("filter-output-post-dnat", "ct state new jump cluster-ips-check"),
];

/// Sets and maps: their types and comments.
const SETS: [(&str, &str, &str); 7] = [
    ("set cluster-ips", "ipv4_addr", "Active ClusterIPs"),
    ("set nodeport-ips", "ipv4_addr", "IPs that accept NodePort traffic"),
    (
        "map no-endpoint-services",
        "ipv4_addr . inet_proto . inet_service : verdict",
        "vmap to drop or reject packets to services with no endpoints",
    ),
    (
        "map no-endpoint-nodeports",
        "inet_proto . inet_service : verdict",
        "vmap to drop or reject packets to service nodeports with no endpoints",
    ),
    (
        "map firewall-ips",
        "ipv4_addr . inet_proto . inet_service : verdict",
        "destinations that are subject to LoadBalancerSourceRanges",
    ),
    (
        "map service-ips",
        "ipv4_addr . inet_proto . inet_service : verdict",
        "ClusterIP, ExternalIP and LoadBalancer IP traffic",
    ),
    ("map service-nodeports", "inet_proto . inet_service : verdict", "NodePort traffic"),
];

/// The chains that are there without any Service, and their rules. Source: `setupNFTables`.
const CHAINS: [(&str, &[&str]); 8] = [
    ("nodeport-endpoints-check", &["ip daddr @nodeport-ips meta l4proto . th dport vmap @no-endpoint-nodeports"]),
    ("service-endpoints-check", &["ip daddr . meta l4proto . th dport vmap @no-endpoint-services"]),
    ("firewall-check", &["ip daddr . meta l4proto . th dport vmap @firewall-ips"]),
    (
        "services",
        &[
            "ip daddr . meta l4proto . th dport vmap @service-ips",
            "ip daddr @nodeport-ips meta l4proto . th dport vmap @service-nodeports",
        ],
    ),
    (
        "masquerading",
        &[
            "meta mark & 0x00004000 == 0x00000000 return",
            "meta mark set meta mark ^ 0x00004000",
            "masquerade fully-random",
        ],
    ),
    ("cluster-ips-check", &["ip daddr @cluster-ips reject comment \"Reject traffic to invalid ports of ClusterIPs\""]),
    ("mark-for-masquerade", &["meta mark set meta mark | 0x00004000"]),
    ("reject-chain", &["comment \"helper for @no-endpoint-services / @no-endpoint-nodeports\"", "reject"]),
];

/// The whole table.
pub fn list(table: &Table) -> String {
    let mut ruleset = Ruleset::default();
    ruleset.sets.extend(SETS.iter().map(|(name, kind, comment)| Set::new(name, kind, comment)));
    for (name, kind, hook, priority) in BASE {
        let head = format!("type {kind} hook {hook} priority {priority}; policy accept;");
        let jumps = JUMPS.iter().filter(|(from, _)| *from == name).map(|(_, rule)| (*rule).to_owned());
        ruleset.chain(name).extend(std::iter::once(head).chain(jumps));
    }
    for (name, rules) in CHAINS {
        ruleset.chain(name).extend(rules.iter().map(|rule| (*rule).to_owned()));
    }
    let unallocated = format!("ip daddr {SERVICES} drop comment \"Drop traffic to unallocated ClusterIPs\"");
    ruleset.chain("cluster-ips-check").push(unallocated);
    if let Some(ip) = table.place().ip {
        ruleset.element("nodeport-ips", ip.to_string());
    }
    for (name, rule) in table.iter() {
        port::add(&mut ruleset, table.place(), name, rule);
    }
    ruleset.print()
}

/// A name behind the beginning of its SHA-256 in base 32, so that names differ where they are cut. Source: `hashAndTruncate`.
fn hashed(name: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Sha256::digest(name.as_bytes());
    let bits = digest.iter().take(5).fold(0u64, |bits, byte| bits << 8 | u64::from(*byte));
    let hash: String = (0..8).rev().map(|i| char::from(ALPHABET[(bits >> (5 * i)) as usize & 31])).collect();
    format!("{hash}-{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_named_as_upstream_names_them() {
        // From upstream's own tests.
        assert_eq!(hashed("ns1/svc1/tcp/p80"), "ULMVA6XW-ns1/svc1/tcp/p80");
        assert_eq!(hashed("ns1/svc1/tcp/p80__10.180.0.1/80"), "5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80");
    }
}
