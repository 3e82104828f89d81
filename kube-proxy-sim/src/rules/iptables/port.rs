//! The rules of one Service's port. Source: `syncProxyRules` in `pkg/proxy/iptables/proxier.go`.

use super::{Tables, hash};
use crate::rules::{Endpoint, Place, PortName, Rule};

const REJECT: &str = "REJECT --reject-with icmp-port-unreachable";

/// Adds what a port needs.
pub fn add(tables: &mut Tables, place: &Place, name: &PortName, rule: &Rule) {
    Port { tables, place, name, rule, protocol: rule.protocol.lower() }.add();
}

struct Port<'a> {
    tables: &'a mut Tables,
    place: &'a Place,
    name: &'a PortName,
    rule: &'a Rule,
    protocol: &'static str,
}

impl Port<'_> {
    fn add(mut self) {
        self.virtual_address();
        self.external_addresses();
        self.node_port();
        self.health_check();
        if self.rule.usable.any && self.rule.externally_accessible() {
            self.external_chain();
        }
        if self.has_firewall() {
            self.firewall_chain();
        }
        let usable = self.rule.usable.clone();
        if !usable.cluster.is_empty() {
            self.choose(&self.chain("KUBE-SVC-"), &usable.cluster);
        }
        if !usable.local.is_empty() {
            self.choose(&self.chain("KUBE-SVL-"), &usable.local);
        }
        let only_local = usable.local.iter().filter(|endpoint| !usable.cluster.contains(endpoint));
        usable.cluster.iter().chain(only_local).for_each(|endpoint| self.endpoint_chain(endpoint));
    }

    fn chain(&self, prefix: &str) -> String {
        format!("{prefix}{}", hash(&format!("{}{}", self.name, self.protocol)))
    }

    fn chain_of(&self, endpoint: &Endpoint) -> String {
        format!("KUBE-SEP-{}", hash(&format!("{}{}{}", self.name, self.protocol, endpoint.address)))
    }

    fn internal_chain(&self) -> String {
        self.chain(if self.rule.internal_local { "KUBE-SVL-" } else { "KUBE-SVC-" })
    }

    fn has_firewall(&self) -> bool {
        let rule = self.rule;
        rule.usable.any && !rule.load_balancer_ips.is_empty() && !rule.source_ranges.is_empty()
    }

    /// A destination with its comment. `to`: the address, and what else comes before the port.
    fn to(&self, to: &str, comment: &str, port: u16) -> String {
        let Self { name, protocol, .. } = self;
        format!("{to}-p {protocol} -m comment --comment \"{name}{comment}\" -m {protocol} --dport {port}")
    }

    /// Why connections are refused or dropped, and how; nothing where they are not.
    fn verdict(&self, endpoints: &[Endpoint]) -> Option<(&'static str, &'static str)> {
        match (self.rule.usable.any, endpoints.is_empty()) {
            (false, _) => Some((" has no endpoints", REJECT)),
            (true, true) => Some((" has no local endpoints", "DROP")),
            (true, false) => None,
        }
    }

    fn virtual_address(&mut self) {
        let (at, port) = (format!("-d {}/32 ", self.rule.cluster_ip), self.rule.port);
        if let Some((why, verdict)) = self.verdict(self.rule.internal()) {
            let refused = format!("{} -j {verdict}", self.to(&at, why, port));
            self.tables.filter.add("KUBE-SERVICES", refused);
            return;
        }
        let (chain, to) = (self.internal_chain(), self.to(&at, " cluster IP", port));
        self.tables.nat.add("KUBE-SERVICES", format!("{to} -j {chain}"));
        self.tables.nat.add(&chain, format!("! -s {} {to} -j KUBE-MARK-MASQ", self.place.cluster_cidr));
    }

    fn external_addresses(&mut self) {
        let (rule, port) = (self.rule, self.rule.port);
        let (external, firewall) = (self.chain("KUBE-EXT-"), self.chain("KUBE-FW-"));
        let balanced = if self.has_firewall() { &firewall } else { &external };
        let externals = rule.external_ips.iter().map(|ip| (ip, " external IP", &external));
        let balancers = rule.load_balancer_ips.iter().map(|ip| (ip, " loadbalancer IP", balanced));
        for (ip, comment, chain) in externals.chain(balancers) {
            let at = format!("-d {ip}/32 ");
            if rule.usable.any {
                let to = format!("{} -j {chain}", self.to(&at, comment, port));
                self.tables.nat.add("KUBE-SERVICES", to);
            }
            if let Some((why, verdict)) = self.verdict(rule.external()) {
                let refused = format!("{} -j {verdict}", self.to(&at, why, port));
                self.tables.filter.add("KUBE-EXTERNAL-SERVICES", refused);
            }
        }
        if !self.has_firewall() {
            return;
        }
        for ip in &rule.load_balancer_ips {
            let why = format!(" traffic not accepted by {firewall}");
            let dropped = format!("{} -j DROP", self.to(&format!("-d {ip}/32 "), &why, port));
            self.tables.filter.add("KUBE-PROXY-FIREWALL", dropped);
        }
    }

    fn node_port(&mut self) {
        let (rule, Some(port)) = (self.rule, self.rule.node_port) else { return };
        if rule.usable.any {
            let to = format!("{} -j {}", self.to("", "", port), self.chain("KUBE-EXT-"));
            self.tables.nat.add("KUBE-NODEPORTS", to);
        }
        if let Some((why, verdict)) = self.verdict(rule.external()) {
            let Self { name, protocol, .. } = self;
            let refused = format!(
                "-p {protocol} -m comment --comment \"{name}{why}\" -m addrtype --dst-type LOCAL -m {protocol} \
                 --dport {port} -j {verdict}"
            );
            self.tables.filter.add("KUBE-EXTERNAL-SERVICES", refused);
        }
    }

    fn health_check(&mut self) {
        let (name, Some(port)) = (self.name, self.rule.health_check_node_port) else { return };
        let accepted =
            format!("-p tcp -m comment --comment \"{name} health check node port\" -m tcp --dport {port} -j ACCEPT");
        self.tables.filter.add("KUBE-NODEPORTS", accepted);
    }

    fn external_chain(&mut self) {
        let (name, pods) = (self.name, self.place.cluster_cidr);
        let (chain, cluster) = (self.chain("KUBE-EXT-"), self.chain("KUBE-SVC-"));
        if self.rule.external_local {
            for rule in [
                format!("-s {pods} -m comment --comment \"pod traffic for {name} external destinations\" -j {cluster}"),
                format!(
                    "-m comment --comment \"masquerade LOCAL traffic for {name} external destinations\" -m addrtype \
                     --src-type LOCAL -j KUBE-MARK-MASQ"
                ),
                format!(
                    "-m comment --comment \"route LOCAL traffic for {name} external destinations\" -m addrtype \
                     --src-type LOCAL -j {cluster}"
                ),
            ] {
                self.tables.nat.add(&chain, rule);
            }
        } else {
            let masquerade = format!(
                "-m comment --comment \"masquerade traffic for {name} external destinations\" -j KUBE-MARK-MASQ"
            );
            self.tables.nat.add(&chain, masquerade);
        }
        if !self.rule.external().is_empty() {
            let policy = if self.rule.external_local { self.chain("KUBE-SVL-") } else { cluster };
            self.tables.nat.add(&chain, format!("-j {policy}"));
        }
    }

    /// Only the source ranges go on; the node itself, whose connections may come from the balancer's address, as well if
    /// it is in one.
    fn firewall_chain(&mut self) {
        let (name, chain, external) = (self.name, self.chain("KUBE-FW-"), self.chain("KUBE-EXT-"));
        let comment = format!("-m comment --comment \"{name} loadbalancer IP\"");
        for range in &self.rule.source_ranges {
            self.tables.nat.add(&chain, format!("-s {range} {comment} -j {external}"));
        }
        if self.place.ip.is_some_and(|ip| self.rule.admits(ip)) {
            for ip in &self.rule.load_balancer_ips {
                self.tables.nat.add(&chain, format!("-s {ip}/32 {comment} -j {external}"));
            }
        }
        let rest = format!("-m comment --comment \"other traffic to {name} will be dropped by KUBE-PROXY-FIREWALL\"");
        self.tables.nat.add(&chain, rest);
    }

    /// Each endpoint is as likely as the others: the first with 1/n, the second with 1/(n-1) of the rest, and so on.
    fn choose(&mut self, chain: &str, endpoints: &[Endpoint]) {
        let name = self.name;
        if let Some(affinity) = self.rule.affinity {
            for endpoint in endpoints {
                let (target, address, seconds) = (self.chain_of(endpoint), endpoint.address, affinity.as_secs());
                let known = format!(
                    "-m comment --comment \"{name} -> {address}\" -m recent --rcheck --seconds {seconds} --reap \
                     --name {target} --mask 255.255.255.255 --rsource -j {target}"
                );
                self.tables.nat.add(chain, known);
            }
        }
        for (i, endpoint) in endpoints.iter().enumerate() {
            let (target, address, left) = (self.chain_of(endpoint), endpoint.address, endpoints.len() - i);
            let chance = if left > 1 {
                format!(" -m statistic --mode random --probability {:.11}", probability(left))
            } else {
                String::new()
            };
            self.tables.nat.add(chain, format!("-m comment --comment \"{name} -> {address}\"{chance} -j {target}"));
        }
    }

    fn endpoint_chain(&mut self, endpoint: &Endpoint) {
        let Self { name, protocol, rule, .. } = *self;
        let (chain, address, ip) = (self.chain_of(endpoint), endpoint.address, endpoint.address.ip());
        let recent = if rule.affinity.is_some() {
            format!(" -m recent --set --name {chain} --mask 255.255.255.255 --rsource")
        } else {
            String::new()
        };
        self.tables.nat.add(&chain, format!("-s {ip}/32 -m comment --comment \"{name}\" -j KUBE-MARK-MASQ"));
        let translate = format!(
            "-p {protocol} -m comment --comment \"{name}\"{recent} -m {protocol} -j DNAT --to-destination {address}"
        );
        self.tables.nat.add(&chain, translate);
    }
}

/// One in so many, as the kernel holds what kube-proxy wrote with ten digits: in steps of 2^-31.
fn probability(one_in: usize) -> f64 {
    const STEPS: f64 = 2_147_483_648.0;
    let written = (1e10 / one_in as f64).round() / 1e10;
    (written * STEPS).round() / STEPS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_read_as_the_kernel_gives_them_back() {
        // What iptables-save is known to print for two, three and five endpoints.
        let shown = [2, 3, 5].map(|count| format!("{:.11}", probability(count)));
        assert_eq!(shown, ["0.50000000000", "0.33333333349", "0.20000000019"]);
    }
}
