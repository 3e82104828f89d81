//! The table as `iptables-save` would print it. Chains, comments and their order are those of `pkg/proxy/iptables` of
//! Kubernetes, so that what is read about its rules can be found here.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::{Endpoint, PortName, Rule, Table};

/// Pod addresses; what comes from elsewhere is masqueraded. Source: kubelab's pod network.
const CLUSTER_CIDR: &str = "10.244.0.0/16";

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The whole table.
pub fn save(table: &Table) -> String {
    let mut text = filter(table);
    text.push_str(&nat(table));
    text
}

/// Ports without endpoints are refused.
fn filter(table: &Table) -> String {
    let mut text = String::from("*filter\n:KUBE-EXTERNAL-SERVICES - [0:0]\n:KUBE-SERVICES - [0:0]\n");
    for (name, rule) in &table.0 {
        let protocol = rule.protocol.to_lowercase();
        if let Some(port) = rule.node_port.filter(|_| rule.external.is_empty()) {
            let why = if rule.external_local && !rule.cluster.is_empty() {
                "has no local endpoints"
            } else {
                "has no endpoints"
            };
            let verdict = if rule.cluster.is_empty() { "REJECT --reject-with icmp-port-unreachable" } else { "DROP" };
            line(
                &mut text,
                format_args!(
                    "-A KUBE-EXTERNAL-SERVICES -p {protocol} -m comment --comment \"{name} {why}\" -m addrtype --dst-type LOCAL \
                 -m {protocol} --dport {port} -j {verdict}"
                ),
            );
        }
        if rule.cluster.is_empty() {
            let Rule { cluster_ip, port, .. } = rule;
            line(
                &mut text,
                format_args!(
                    "-A KUBE-SERVICES -d {cluster_ip}/32 -p {protocol} -m comment --comment \"{name} has no endpoints\" \
                 -m {protocol} --dport {port} -j REJECT --reject-with icmp-port-unreachable"
                ),
            );
        }
    }
    text.push_str("COMMIT\n");
    text
}

fn nat(table: &Table) -> String {
    let mut chains = String::from("*nat\n:KUBE-MARK-MASQ - [0:0]\n:KUBE-NODEPORTS - [0:0]\n:KUBE-SERVICES - [0:0]\n");
    let mut rules = String::from("-A KUBE-MARK-MASQ -j MARK --set-xmark 0x4000/0x4000\n");
    for (name, rule) in &table.0 {
        let service = Chains { name, rule, protocol: rule.protocol.to_lowercase() };
        if !rule.cluster.is_empty() {
            service.cluster_ip(&mut chains, &mut rules);
        }
        if rule.node_port.is_some() && !rule.external.is_empty() {
            service.node_port(&mut chains, &mut rules);
        }
        service.endpoints(&mut chains, &mut rules);
    }
    let last = "-A KUBE-SERVICES -m comment --comment \"kubernetes service nodeports; NOTE: this must be the last rule in \
                this chain\" -m addrtype --dst-type LOCAL -j KUBE-NODEPORTS\n";
    format!("{chains}{rules}{last}COMMIT\n")
}

/// One port's chains.
struct Chains<'a> {
    name: &'a PortName,
    rule: &'a Rule,
    protocol: String,
}

impl Chains<'_> {
    fn chain(&self, prefix: &str) -> String {
        format!("{prefix}{}", hash(&format!("{}{}", self.name, self.protocol)))
    }

    fn endpoint_chain(&self, endpoint: &Endpoint) -> String {
        format!("KUBE-SEP-{}", hash(&format!("{}{}{}", self.name, self.protocol, endpoint.address)))
    }

    fn cluster_ip(&self, chains: &mut String, rules: &mut String) {
        let (Self { name, protocol, rule }, chain) = (self, self.chain("KUBE-SVC-"));
        let Rule { cluster_ip, port, .. } = rule;
        let to = format!(
            "-d {cluster_ip}/32 -p {protocol} -m comment --comment \"{name} cluster IP\" -m {protocol} --dport {port}"
        );
        line(chains, format_args!(":{chain} - [0:0]"));
        line(rules, format_args!("-A KUBE-SERVICES {to} -j {chain}"));
        line(rules, format_args!("-A {chain} ! -s {CLUSTER_CIDR} {to} -j KUBE-MARK-MASQ"));
        self.choose(&chain, &rule.cluster, rules);
    }

    fn node_port(&self, chains: &mut String, rules: &mut String) {
        let (Self { name, protocol, rule }, chain) = (self, self.chain("KUBE-EXT-"));
        let Some(port) = rule.node_port else { return };
        line(chains, format_args!(":{chain} - [0:0]"));
        line(
            rules,
            format_args!(
                "-A KUBE-NODEPORTS -p {protocol} -m comment --comment \"{name}\" -m {protocol} --dport {port} -j {chain}"
            ),
        );
        if rule.external_local {
            let local = self.chain("KUBE-SVL-");
            line(chains, format_args!(":{local} - [0:0]"));
            line(rules, format_args!("-A {chain} -j {local}"));
            self.choose(&local, &rule.external, rules);
        } else {
            line(
                rules,
                format_args!(
                    "-A {chain} -m comment --comment \"masquerade traffic for {name} external destinations\" -j KUBE-MARK-MASQ"
                ),
            );
            line(rules, format_args!("-A {chain} -j {}", self.chain("KUBE-SVC-")));
        }
    }

    /// Each endpoint is as likely as the others: the first with 1/n, the second with 1/(n-1) of the rest, and so on.
    fn choose(&self, chain: &str, endpoints: &[Endpoint], rules: &mut String) {
        let name = self.name;
        if let Some(affinity) = self.rule.affinity {
            for endpoint in endpoints {
                let (target, address, seconds) = (self.endpoint_chain(endpoint), endpoint.address, affinity.as_secs());
                line(
                    rules,
                    format_args!(
                        "-A {chain} -m comment --comment \"{name} -> {address}\" -m recent --name {target} --rcheck \
                     --seconds {seconds} --reap --rsource -j {target}"
                    ),
                );
            }
        }
        for (i, endpoint) in endpoints.iter().enumerate() {
            let (target, address, left) = (self.endpoint_chain(endpoint), endpoint.address, endpoints.len() - i);
            let chance = if left > 1 {
                format!(" -m statistic --mode random --probability {:.10}", 1.0 / left as f64)
            } else {
                String::new()
            };
            line(rules, format_args!("-A {chain} -m comment --comment \"{name} -> {address}\"{chance} -j {target}"));
        }
    }

    fn endpoints(&self, chains: &mut String, rules: &mut String) {
        let Self { name, protocol, rule } = self;
        let outside = rule.external.iter().filter(|endpoint| !rule.cluster.contains(endpoint));
        for endpoint in rule.cluster.iter().chain(outside) {
            let (chain, address, ip) = (self.endpoint_chain(endpoint), endpoint.address, endpoint.address.ip());
            let recent = if rule.affinity.is_some() {
                format!(" -m recent --name {chain} --set --rsource")
            } else {
                String::new()
            };
            line(chains, format_args!(":{chain} - [0:0]"));
            line(rules, format_args!("-A {chain} -s {ip}/32 -m comment --comment \"{name}\" -j KUBE-MARK-MASQ"));
            line(
                rules,
                format_args!(
                    "-A {chain} -p {protocol} -m comment --comment \"{name}\"{recent} -m {protocol} -j DNAT --to-destination {address}"
                ),
            );
        }
    }
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    // Writing to a String cannot fail.
    let _ = writeln!(text, "{line}");
}

/// The 16 letters that end a chain's name: the beginning of a SHA-256 in base 32.
fn hash(text: &str) -> String {
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
    }
}
