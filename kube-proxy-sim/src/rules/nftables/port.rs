//! What one Service's port adds. Source: `syncProxyRules` in `pkg/proxy/nftables/proxier.go`.

use std::time::Duration;

use super::{
    hashed,
    ruleset::{Ruleset, Set},
};
use crate::rules::{Endpoint, Place, PortName, Rule};

/// Adds what a port needs.
pub fn add(ruleset: &mut Ruleset, place: &Place, name: &PortName, rule: &Rule) {
    let protocol = rule.protocol.lower();
    let base = format!("{}/{}/{protocol}/{}", name.namespace, name.service, name.port);
    Port { ruleset, place, name, rule, protocol, base }.add();
}

struct Port<'a> {
    ruleset: &'a mut Ruleset,
    place: &'a Place,
    name: &'a PortName,
    rule: &'a Rule,
    protocol: &'static str,
    base: String,
}

impl Port<'_> {
    fn add(mut self) {
        let usable = self.rule.usable.clone();
        self.addresses();
        if self.rule.affinity.is_some() {
            self.reachable(&usable).iter().for_each(|endpoint| self.affinity_set(endpoint));
        }
        // Chains stand in the order in which upstream makes them: the endpoints', then the Service's own.
        for endpoint in self.reachable(&usable) {
            let chain = self.of_endpoint("endpoint", &endpoint);
            self.ruleset.chain(&chain);
        }
        if !usable.cluster.is_empty() {
            self.masquerade(!self.rule.internal_local, "service");
        }
        if !usable.local.is_empty() {
            self.masquerade(self.rule.internal_local, "local");
        }
        if usable.any && self.rule.externally_accessible() {
            self.external_chain();
        }
        if self.has_firewall() {
            self.firewall_chain();
        }
        if !usable.cluster.is_empty() {
            self.choose("service", &usable.cluster);
        }
        if !usable.local.is_empty() {
            self.choose("local", &usable.local);
        }
        self.reachable(&usable).iter().for_each(|endpoint| self.endpoint_chain(endpoint));
    }

    /// All endpoints that this node may use.
    fn reachable(&self, usable: &crate::rules::topology::Usable) -> Vec<Endpoint> {
        let only_local = usable.local.iter().filter(|endpoint| !usable.cluster.contains(endpoint));
        usable.cluster.iter().chain(only_local).cloned().collect()
    }

    fn chain(&self, prefix: &str) -> String {
        format!("{prefix}-{}", hashed(&self.base))
    }

    fn of_endpoint(&self, prefix: &str, endpoint: &Endpoint) -> String {
        let address = endpoint.address.to_string().replace(':', "/");
        format!("{prefix}-{}", hashed(&format!("{}__{address}", self.base)))
    }

    fn has_firewall(&self) -> bool {
        !self.rule.load_balancer_ips.is_empty() && !self.rule.source_ranges.is_empty()
    }

    /// What becomes of connections that no endpoint is there for; nothing where one is.
    fn verdict(&self, endpoints: &[Endpoint]) -> Option<&'static str> {
        match (self.rule.usable.any, endpoints.is_empty()) {
            (false, _) => Some("goto reject-chain"),
            (true, true) => Some("drop"),
            (true, false) => None,
        }
    }

    /// The sets and maps that lead here.
    fn addresses(&mut self) {
        let (rule, protocol, name) = (self.rule, self.protocol, self.name.to_string());
        self.ruleset.element("cluster-ips", rule.cluster_ip.to_string());
        let internal = self.chain(if rule.internal_local { "local" } else { "service" });
        let at = format!("{} . {protocol} . {}", rule.cluster_ip, rule.port);
        match self.verdict(rule.internal()) {
            None => self.ruleset.element("service-ips", format!("{at} : goto {internal}")),
            Some(verdict) => {
                self.ruleset.element("no-endpoint-services", format!("{at} comment \"{name}\" : {verdict}"))
            }
        }
        let (external, firewall) = (self.chain("external"), self.chain("firewall"));
        let refused = self.verdict(rule.external());
        for ip in rule.external_ips.iter().chain(&rule.load_balancer_ips) {
            let at = format!("{ip} . {protocol} . {}", rule.port);
            if rule.usable.any {
                self.ruleset.element("service-ips", format!("{at} : goto {external}"));
            }
            if let Some(verdict) = refused {
                self.ruleset.element("no-endpoint-services", format!("{at} comment \"{name}\" : {verdict}"));
            }
            if self.has_firewall() && rule.load_balancer_ips.contains(ip) {
                self.ruleset.element("firewall-ips", format!("{at} : goto {firewall}"));
            }
        }
        let Some(port) = rule.node_port else { return };
        if rule.usable.any {
            self.ruleset.element("service-nodeports", format!("{protocol} . {port} : goto {external}"));
        }
        if let Some(verdict) = refused {
            self.ruleset
                .element("no-endpoint-nodeports", format!("{protocol} . {port} comment \"{name}\" : {verdict}"));
        }
    }

    /// What comes to the virtual address from outside of the pods' network is masqueraded.
    fn masquerade(&mut self, is_internal: bool, prefix: &str) {
        let (chain, rule, pods) = (self.chain(prefix), self.rule, self.place.cluster_cidr);
        let masquerade = format!(
            "ip daddr {} {} dport {} ip saddr != {pods} jump mark-for-masquerade",
            rule.cluster_ip, self.protocol, rule.port
        );
        self.ruleset.chain(&chain).extend(is_internal.then_some(masquerade));
    }

    fn external_chain(&mut self) {
        let (pods, cluster) = (self.place.cluster_cidr, self.chain("service"));
        let mut rules = if self.rule.external_local {
            vec![
                format!("ip saddr {pods} goto {cluster} comment \"short-circuit pod traffic\""),
                "fib saddr type local jump mark-for-masquerade comment \"masquerade local traffic\"".to_owned(),
                format!("fib saddr type local goto {cluster} comment \"short-circuit local traffic\""),
            ]
        } else {
            vec!["jump mark-for-masquerade".to_owned()]
        };
        if !self.rule.external().is_empty() {
            rules.push(format!("goto {}", if self.rule.external_local { self.chain("local") } else { cluster }));
        }
        let chain = self.chain("external");
        self.ruleset.chain(&chain).extend(rules);
    }

    /// Only the source ranges go on; the node itself, whose connections may come from the balancer's address, as well if it is
    /// in one.
    fn firewall_chain(&mut self) {
        let rule = self.rule;
        let mut sources: Vec<String> = rule.source_ranges.iter().map(ToString::to_string).collect();
        if self.place.ip.is_some_and(|ip| rule.admits(ip)) {
            sources.extend(rule.load_balancer_ips.iter().map(ToString::to_string));
        }
        let chain = self.chain("firewall");
        self.ruleset.chain(&chain).push(format!("ip saddr != {{ {} }} drop", sources.join(", ")));
    }

    fn affinity_set(&mut self, endpoint: &Endpoint) {
        let head = format!("set {}", self.of_endpoint("affinity", endpoint));
        let time = spelled(self.rule.affinity.unwrap_or_default());
        let about = ["type ipv4_addr", "size 65535", "flags dynamic,timeout"].map(str::to_owned).into_iter();
        let about = about.chain([format!("timeout {time}")]).collect();
        self.ruleset.sets.push(Set { head, about, elements: Vec::new() });
    }

    /// Each endpoint is as likely as the others, unless one knows the client.
    fn choose(&mut self, prefix: &str, endpoints: &[Endpoint]) {
        let mut rules = Vec::new();
        if self.rule.affinity.is_some() {
            rules.extend(endpoints.iter().map(|endpoint| {
                let (set, chain) = (self.of_endpoint("affinity", endpoint), self.of_endpoint("endpoint", endpoint));
                format!("ip saddr @{set} goto {chain}")
            }));
        }
        let places = endpoints.iter().enumerate();
        let places: Vec<String> =
            places.map(|(i, endpoint)| format!("{i} : goto {}", self.of_endpoint("endpoint", endpoint))).collect();
        rules.push(format!("numgen random mod {} vmap {{ {} }}", endpoints.len(), places.join(", ")));
        let chain = self.chain(prefix);
        self.ruleset.chain(&chain).extend(rules);
    }

    fn endpoint_chain(&mut self, endpoint: &Endpoint) {
        let mut rules = vec![format!("ip saddr {} jump mark-for-masquerade", endpoint.address.ip())];
        if self.rule.affinity.is_some() {
            rules.push(format!("update @{} {{ ip saddr }}", self.of_endpoint("affinity", endpoint)));
        }
        rules.push(format!("meta l4proto {} dnat to {}", self.protocol, endpoint.address));
        let chain = self.of_endpoint("endpoint", endpoint);
        self.ruleset.chain(&chain).extend(rules);
    }
}

/// `3h`, `1m30s`: a time as nft spells it.
fn spelled(time: Duration) -> String {
    let seconds = time.as_secs();
    let parts = [(seconds / 3600, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let said: String =
        parts.iter().filter(|(count, _)| *count > 0).map(|(count, unit)| format!("{count}{unit}")).collect();
    if said.is_empty() { "0s".to_owned() } else { said }
}
