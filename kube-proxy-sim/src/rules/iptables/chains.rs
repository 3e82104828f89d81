//! A table of chains, in the order in which `iptables-save` prints it: the kernel's chains, then the others by name.

use std::{collections::BTreeMap, fmt::Write};

/// A table of iptables.
pub struct Chains {
    builtin: Vec<(&'static str, Vec<String>)>,
    others: BTreeMap<String, Vec<String>>,
}

impl Chains {
    /// A table whose chains of the kernel are these.
    pub fn new(builtin: &[&'static str]) -> Self {
        Self { builtin: builtin.iter().map(|name| (*name, Vec::new())).collect(), others: BTreeMap::new() }
    }

    /// A chain that is there, even if it is empty.
    pub fn touch(&mut self, chain: &str) {
        self.others.entry(chain.to_owned()).or_default();
    }

    /// A rule at the end of a chain.
    pub fn add(&mut self, chain: &str, rule: impl Into<String>) {
        match self.builtin.iter_mut().find(|(name, _)| *name == chain) {
            Some((_, rules)) => rules.push(rule.into()),
            None => self.others.entry(chain.to_owned()).or_default().push(rule.into()),
        }
    }

    /// How many rules there are.
    pub fn len(&self) -> usize {
        let builtin: usize = self.builtin.iter().map(|(_, rules)| rules.len()).sum();
        builtin + self.others.values().map(Vec::len).sum::<usize>()
    }

    /// The table under its name.
    pub fn print(&self, name: &str) -> String {
        let mut text = format!("*{name}\n");
        // Writing to a String cannot fail.
        for (chain, _) in &self.builtin {
            let _ = writeln!(text, ":{chain} ACCEPT [0:0]");
        }
        for chain in self.others.keys() {
            let _ = writeln!(text, ":{chain} - [0:0]");
        }
        let others = self.others.iter().map(|(chain, rules)| (chain.as_str(), rules));
        for (chain, rules) in self.builtin.iter().map(|(chain, rules)| (*chain, rules)).chain(others) {
            for rule in rules {
                let _ = writeln!(text, "-A {chain} {rule}");
            }
        }
        text.push_str("COMMIT\n");
        text
    }
}
