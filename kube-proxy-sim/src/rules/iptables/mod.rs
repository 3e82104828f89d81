//! The table as `iptables-save` would print it on the node. Chains, comments and rules are those of `pkg/proxy/iptables` of
//! Kubernetes, so that what is read about its rules can be found here; their form is the one in which the kernel gives them
//! back.
//!
//! | module | what it is |
//! | --- | --- |
//! | `chains` | a table of chains, and how it is printed |
//! | `port` | the rules of one Service's port |

mod chains;
mod port;

use sha2::{Digest, Sha256};

use self::chains::Chains;
use super::Table;

/// What each table starts with, and where the kernel enters kube-proxy's chains. Source: `iptablesJumpChains`.
const FILTER: [(&str, &str); 11] = [
    (
        "INPUT",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL",
    ),
    ("INPUT", "-m comment --comment \"kubernetes health check service ports\" -j KUBE-NODEPORTS"),
    (
        "INPUT",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" \
         -j KUBE-EXTERNAL-SERVICES",
    ),
    ("INPUT", "-j KUBE-FIREWALL"),
    (
        "FORWARD",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL",
    ),
    ("FORWARD", "-m comment --comment \"kubernetes forwarding rules\" -j KUBE-FORWARD"),
    ("FORWARD", "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"),
    (
        "FORWARD",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes externally-visible service portals\" \
         -j KUBE-EXTERNAL-SERVICES",
    ),
    (
        "OUTPUT",
        "-m conntrack --ctstate NEW -m comment --comment \"kubernetes load balancer firewall\" -j KUBE-PROXY-FIREWALL",
    ),
    ("OUTPUT", "-m conntrack --ctstate NEW -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"),
    ("OUTPUT", "-j KUBE-FIREWALL"),
];

const NAT: [(&str, &str); 3] = [
    ("PREROUTING", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"),
    ("OUTPUT", "-m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES"),
    ("POSTROUTING", "-m comment --comment \"kubernetes postrouting rules\" -j KUBE-POSTROUTING"),
];

/// How many rules there are in each table. What the kernel's own chains hold does not count, as upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// In the table `filter`.
    pub filter: usize,
    /// In the table `nat`.
    pub nat: usize,
}

/// All tables.
pub fn save(table: &Table) -> String {
    let Tables { filter, nat } = tables(table);
    let mut mangle = Chains::new(&["PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"]);
    for chain in ["KUBE-IPTABLES-HINT", "KUBE-KUBELET-CANARY", "KUBE-PROXY-CANARY"] {
        mangle.touch(chain);
    }
    format!("{}{}{}", mangle.print("mangle"), filter.print("filter"), nat.print("nat"))
}

/// How many rules [`save`] prints.
pub fn count(table: &Table) -> Counts {
    let Tables { filter, nat } = tables(table);
    Counts { filter: filter.len() - FILTER.len(), nat: nat.len() - NAT.len() }
}

struct Tables {
    filter: Chains,
    nat: Chains,
}

fn tables(table: &Table) -> Tables {
    let mut filter = Chains::new(&["INPUT", "FORWARD", "OUTPUT"]);
    let mut nat = Chains::new(&["PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"]);
    FILTER.iter().for_each(|(chain, rule)| filter.add(chain, *rule));
    NAT.iter().for_each(|(chain, rule)| nat.add(chain, *rule));
    for chain in ["KUBE-EXTERNAL-SERVICES", "KUBE-NODEPORTS", "KUBE-PROXY-FIREWALL", "KUBE-SERVICES"] {
        filter.touch(chain);
    }
    for chain in ["KUBE-KUBELET-CANARY", "KUBE-PROXY-CANARY"] {
        filter.touch(chain);
        nat.touch(chain);
    }
    nat.touch("KUBE-NODEPORTS");
    nat.touch("KUBE-SERVICES");
    fixed(&mut filter, &mut nat);
    let mut tables = Tables { filter, nat };
    for (name, rule) in table.iter() {
        port::add(&mut tables, table.place(), name, rule);
    }
    let last = "-m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in this chain\" \
                -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS";
    tables.nat.add("KUBE-SERVICES", last);
    tables
}

/// What is there without any Service.
fn fixed(filter: &mut Chains, nat: &mut Chains) {
    filter.add(
        "KUBE-FIREWALL",
        "! -s 127.0.0.0/8 -d 127.0.0.0/8 -m comment --comment \"block incoming localnet connections\" \
         -m conntrack ! --ctstate RELATED,ESTABLISHED,DNAT -j DROP",
    );
    filter.add("KUBE-FORWARD", "-m conntrack --ctstate INVALID -j DROP");
    filter.add(
        "KUBE-FORWARD",
        "-m comment --comment \"kubernetes forwarding rules\" -m mark --mark 0x4000/0x4000 -j ACCEPT",
    );
    filter.add(
        "KUBE-FORWARD",
        "-m comment --comment \"kubernetes forwarding conntrack rule\" -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT",
    );
    nat.add("KUBE-MARK-MASQ", "-j MARK --set-xmark 0x4000/0x4000");
    nat.add("KUBE-POSTROUTING", "-m mark ! --mark 0x4000/0x4000 -j RETURN");
    nat.add("KUBE-POSTROUTING", "-j MARK --set-xmark 0x4000/0x0");
    nat.add(
        "KUBE-POSTROUTING",
        "-m comment --comment \"kubernetes service traffic requiring SNAT\" -j MASQUERADE --random-fully",
    );
}

/// The 16 letters that end a chain's name: the beginning of a SHA-256 in base 32.
fn hash(text: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Sha256::digest(text.as_bytes());
    let bits = digest.iter().take(10).fold(0u128, |bits, byte| bits << 8 | u128::from(*byte));
    (0..16).rev().map(|i| char::from(ALPHABET[(bits >> (5 * i)) as usize & 31])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_named_as_upstream_names_them() {
        // From clusters in the wild: every one has these chains for its own API.
        assert_eq!(hash("default/kubernetes:httpstcp"), "NPX46M4PTMTKRN6Y");
        assert_eq!(hash("kube-system/kube-dns:dnsudp"), "TCOU7JCQXEZGVUNU");
        // From upstream's own tests.
        assert_eq!(hash("ns1/svc1:p80tcp"), "XPGD46QRK7WJZT7O");
        assert_eq!(hash("ns1/svc1:p80tcp10.180.0.1:80"), "SXIVWICOYRO3J4NJ");
    }
}
