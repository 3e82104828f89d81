//! Sets, maps and chains, and how nft prints them.

use std::{collections::HashMap, fmt::Write};

/// A set or a map.
#[derive(Debug, Default)]
pub struct Set {
    /// `set NAME` or `map NAME`.
    pub head: String,
    /// Its type, and what else is said of it, a line each.
    pub about: Vec<String>,
    /// Its elements.
    pub elements: Vec<String>,
}

impl Set {
    /// A set without elements.
    pub fn new(head: &str, kind: &str, comment: &str) -> Self {
        let about = vec![format!("type {kind}"), format!("comment \"{comment}\"")];
        Self { head: head.to_owned(), about, elements: Vec::new() }
    }

    fn name(&self) -> &str {
        self.head.split_once(' ').map_or("", |(_, name)| name)
    }
}

#[derive(Debug, Default)]
struct Chain {
    name: String,
    rules: Vec<String>,
}

/// kube-proxy's whole table.
#[derive(Debug, Default)]
pub struct Ruleset {
    /// Sets and maps, in the order in which they were made.
    pub sets: Vec<Set>,
    /// Chains, in the order in which they were made.
    chains: Vec<Chain>,
    /// Where each chain stands, by its name.
    places: HashMap<String, usize>,
}

impl Ruleset {
    /// Adds an element to a set or a map. The ports of a Service, which come one after the other, share its address.
    pub fn element(&mut self, set: &str, element: String) {
        if let Some(set) = self.sets.iter_mut().find(|own| own.name() == set)
            && set.elements.last() != Some(&element)
        {
            set.elements.push(element);
        }
    }

    /// The rules of a chain, which is made if it is not there.
    pub fn chain(&mut self, name: &str) -> &mut Vec<String> {
        let at = *self.places.entry(name.to_owned()).or_insert(self.chains.len());
        if at == self.chains.len() {
            self.chains.push(Chain { name: name.to_owned(), rules: Vec::new() });
        }
        &mut self.chains[at].rules
    }

    /// As `nft list ruleset` prints it.
    pub fn print(&self) -> String {
        let mut text = String::from("table ip kube-proxy {\n\tcomment \"rules for kube-proxy\"\n");
        // Writing to a String cannot fail.
        for set in &self.sets {
            let _ = writeln!(text, "\n\t{} {{", set.head);
            for line in &set.about {
                let _ = writeln!(text, "\t\t{line}");
            }
            if !set.elements.is_empty() {
                let _ = writeln!(text, "\t\telements = {{ {} }}", elements(&set.elements));
            }
            text.push_str("\t}\n");
        }
        for chain in &self.chains {
            let _ = writeln!(text, "\n\tchain {} {{", chain.name);
            for rule in &chain.rules {
                let _ = writeln!(text, "\t\t{rule}");
            }
            text.push_str("\t}\n");
        }
        text + "}\n"
    }
}

/// Plain addresses stand two in a line, all else alone. Source: `calculate_delim` in nft.
fn elements(elements: &[String]) -> String {
    let mut text = String::new();
    for (i, element) in elements.iter().enumerate() {
        if i > 0 {
            let same_line = !element.contains(' ') && i % 2 == 1;
            text.push_str(if same_line { ", " } else { ",\n\t\t\t     " });
        }
        text.push_str(element);
    }
    text
}
