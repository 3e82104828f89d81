//! What a lab consists of.

use std::collections::BTreeSet;

use anyhow::bail;
use serde::{Deserialize, Serialize};

use super::{add_ons::AddOn, addresses::Subnet};
use crate::component::check_flags;

/// The most nodes of a lab, so that their addresses and those of their pods do not run out.
const NODES: usize = 4000;
/// The most groups of nodes, a kubelet's and a kube-proxy's process each.
const GROUPS: usize = 250;

/// The processes that take more flags.
const CONFIGURABLE: [&str; 4] = ["apiserver", "scheduler", "controller-manager", "kube-proxy"];

/// A lab's description, kept in its folder so that `up` resumes the same cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The lab's name; the cluster's and the context's name in its kubeconfig.
    pub name: String,
    /// Where the front door listens on 127.0.0.1.
    pub port: u16,
    /// How many apiservers, and so members of the store.
    pub apiservers: u16,
    /// How many schedulers; one leads.
    pub schedulers: u16,
    /// How many controller-managers; one leads.
    pub controller_managers: u16,
    /// The numbers of the nodes: 1 is `node-1`.
    pub nodes: Vec<u16>,
    /// How many nodes share a kubelet's process, and a kube-proxy's.
    #[serde(default = "one")]
    pub nodes_per_process: u16,
    /// Where its processes listen.
    pub subnet: Subnet,
    /// More flags for the processes of the control plane and the kube-proxies, each `KIND.FLAG=VALUE`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub extra_config: Vec<String>,
    /// What the cluster is still to be given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add_ons_to_install: Vec<AddOn>,
}

/// What the user asked for; `None` where the flag was left out.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wish {
    /// `--port`
    pub port: Option<u16>,
    /// `--apiservers`
    pub apiservers: Option<u16>,
    /// `--schedulers`
    pub schedulers: Option<u16>,
    /// `--controller-managers`
    pub controller_managers: Option<u16>,
    /// `--nodes`
    pub nodes: Option<u16>,
    /// `--nodes-per-process`
    pub nodes_per_process: Option<u16>,
}

fn one() -> u16 {
    1
}

impl Wish {
    /// A new lab.
    pub fn create(self, name: &str) -> anyhow::Result<Spec> {
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-') {
            bail!("{name:?} cannot name a lab; use lower-case letters, digits and '-'");
        }
        let spec = Spec {
            name: name.to_owned(),
            port: self.port.unwrap_or(6443),
            apiservers: self.apiservers.unwrap_or(3),
            schedulers: self.schedulers.unwrap_or(1),
            controller_managers: self.controller_managers.unwrap_or(1),
            nodes: (1..=self.nodes.unwrap_or(3)).collect(),
            nodes_per_process: self.nodes_per_process.unwrap_or(1),
            subnet: Subnet::random(),
            extra_config: Vec::new(),
            add_ons_to_install: vec![AddOn::Dns, AddOn::Ingress, AddOn::Metrics],
        };
        spec.check()?;
        Ok(spec)
    }

    /// The lab that is there, changed where that can be done: its port, its loops, more nodes.
    pub fn resume(self, mut spec: Spec) -> anyhow::Result<Spec> {
        if let Some(apiservers) = self.apiservers.filter(|wanted| *wanted != spec.apiservers) {
            bail!(
                "this lab has {} apiservers, not {apiservers}, and its store cannot change that while it is down; \
                 leave the flag out, choose another --name, or remove the lab with `kubelab down --delete`",
                spec.apiservers
            );
        }
        spec.port = self.port.unwrap_or(spec.port);
        spec.schedulers = self.schedulers.unwrap_or(spec.schedulers);
        spec.controller_managers = self.controller_managers.unwrap_or(spec.controller_managers);
        spec.nodes_per_process = self.nodes_per_process.unwrap_or(spec.nodes_per_process);
        match self.nodes.map(usize::from) {
            Some(wanted) if wanted < spec.nodes.len() => bail!(
                "this lab has {} nodes; take some away with `kubelab remove node` once it is up",
                spec.nodes.len()
            ),
            Some(wanted) => {
                while spec.nodes.len() < wanted {
                    spec.add_node()?;
                }
            }
            None => {}
        }
        spec.check()?;
        Ok(spec)
    }
}

impl Spec {
    fn check(&self) -> anyhow::Result<()> {
        if ![1, 3, 5, 7].contains(&self.apiservers) {
            bail!("--apiservers must be 1, 3, 5 or 7, so that a majority is always clear; not {}", self.apiservers);
        }
        if self.schedulers == 0 || self.schedulers > 9 || self.controller_managers == 0 || self.controller_managers > 9
        {
            bail!("--schedulers and --controller-managers must each be between 1 and 9");
        }
        if self.nodes.len() > NODES {
            bail!("--nodes must be at most {NODES}; not {}", self.nodes.len());
        }
        if self.nodes_per_process == 0 {
            bail!("--nodes-per-process must be at least 1");
        }
        let groups = self.groups().count();
        if groups > GROUPS {
            bail!(
                "{} nodes would be {groups} processes of kubelets and as many of kube-proxies, and {GROUPS} is the most: \
                 let some share one with --nodes-per-process, such as {}",
                self.nodes.len(),
                self.nodes.len().div_ceil(4).clamp(2, 250)
            );
        }
        Ok(())
    }

    /// Takes more flags for the processes of the control plane, instead of those that were given before.
    pub fn configure(&mut self, extra: &[String]) -> anyhow::Result<()> {
        for setting in extra {
            let (kind, flag) = setting.split_once('.').unwrap_or_default();
            if !CONFIGURABLE.contains(&kind) || !flag.contains('=') {
                bail!(
                    "--extra-config {setting:?} must be COMPONENT.FLAG=VALUE, such as \
                     controller-manager.node-monitor-grace-period=10s, of one of: {}",
                    CONFIGURABLE.join(", ")
                );
            }
        }
        let wanted = Self { extra_config: extra.to_vec(), ..self.clone() };
        for kind in CONFIGURABLE {
            if let Err(why) = check_flags(kind, wanted.extra_flags(kind)) {
                bail!("--extra-config for the {kind}: {why}");
            }
        }
        *self = wanted;
        Ok(())
    }

    /// The flags that a process of this kind gets besides its usual ones.
    pub fn extra_flags(&self, kind: &str) -> impl Iterator<Item = String> {
        let own = self.extra_config.iter().filter_map(move |setting| setting.strip_prefix(kind)?.strip_prefix('.'));
        own.map(|flag| format!("--{flag}"))
    }

    /// The group of a node: those in one share their processes.
    pub fn group(&self, node: u16) -> u16 {
        node.saturating_sub(1) / self.nodes_per_process.max(1)
    }

    /// The groups that have nodes.
    pub fn groups(&self) -> impl Iterator<Item = u16> {
        self.nodes.iter().map(|node| self.group(*node)).collect::<BTreeSet<_>>().into_iter()
    }

    /// The nodes of a group.
    pub fn members(&self, group: u16) -> Vec<u16> {
        self.nodes.iter().copied().filter(|node| self.group(*node) == group).collect()
    }

    /// Takes in one more node, under a number that was not used by the present ones, and says which.
    pub fn add_node(&mut self) -> anyhow::Result<u16> {
        let number = self.nodes.iter().max().map_or(1, |last| last + 1);
        self.nodes.push(number);
        self.check()?;
        Ok(number)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_reach_the_processes_that_they_are_for() {
        let mut spec = Wish::default().create("lab").unwrap();
        let given = ["controller-manager.node-monitor-period=1s", "scheduler.name=a.b=c", "kube-proxy.proxy-mode=ipvs"]
            .map(str::to_owned);
        spec.configure(&given).unwrap();
        let flags = |kind: &str| spec.extra_flags(kind).collect::<Vec<_>>();
        assert_eq!(flags("controller-manager"), ["--node-monitor-period=1s"]);
        assert_eq!(flags("kube-proxy"), ["--proxy-mode=ipvs"]);
        assert_eq!((flags("scheduler"), flags("apiserver")), (vec!["--name=a.b=c".to_owned()], vec![]));
        for (wrong, word) in [
            ("kubelet.x=y", "must be COMPONENT.FLAG=VALUE"),
            ("scheduler.x", "must be COMPONENT.FLAG=VALUE"),
            ("x=y", "must be COMPONENT.FLAG=VALUE"),
            ("", "must be COMPONENT.FLAG=VALUE"),
            ("scheduler.x=y", "unexpected argument '--x' found"),
            ("kube-proxy.proxy-mode=userspace", "[possible values: iptables, nftables, ipvs]"),
        ] {
            let error = spec.configure(&[wrong.to_owned()]).unwrap_err().to_string();
            assert!(error.contains(word), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_lab_is_resumed_as_it_was_but_for_what_may_change() {
        let spec = Wish::default().create("lab").unwrap();
        assert_eq!((spec.apiservers, spec.nodes.len(), spec.port), (3, 3, 6443));
        let more = Wish { nodes: Some(5), port: Some(7443), ..Wish::default() };
        let resumed = more.resume(spec.clone()).unwrap();
        assert_eq!((resumed.nodes, resumed.port), (vec![1, 2, 3, 4, 5], 7443));
        for wish in [Wish { apiservers: Some(5), ..Wish::default() }, Wish { nodes: Some(1), ..Wish::default() }] {
            assert!(wish.resume(spec.clone()).is_err(), "{wish:?}");
        }
    }

    #[test]
    fn nodes_share_processes() {
        let wish = Wish { nodes: Some(5), nodes_per_process: Some(2), ..Wish::default() };
        let mut spec = wish.create("lab").unwrap();
        let groups = |spec: &Spec| spec.groups().map(|group| spec.members(group)).collect::<Vec<_>>();
        assert_eq!(groups(&spec), [vec![1, 2], vec![3, 4], vec![5]]);
        spec.add_node().unwrap();
        spec.nodes.retain(|node| ![3, 4].contains(node));
        assert_eq!(groups(&spec), [[1, 2], [5, 6]]);
        assert_eq!(groups(&Wish::default().create("lab").unwrap()), [[1], [2], [3]]);
    }

    #[test]
    fn what_cannot_be_is_refused_with_words() {
        for (wish, word) in [
            (Wish { apiservers: Some(2), ..Wish::default() }, "1, 3, 5 or 7"),
            (Wish { nodes: Some(5000), ..Wish::default() }, "at most 4000"),
            (Wish { nodes: Some(1000), ..Wish::default() }, "--nodes-per-process, such as 250"),
            (Wish { nodes_per_process: Some(0), ..Wish::default() }, "at least 1"),
            (Wish { schedulers: Some(0), ..Wish::default() }, "between 1 and 9"),
        ] {
            let error = wish.create("lab").unwrap_err().to_string();
            assert!(error.contains(word), "{error}");
        }
        assert!(Wish::default().create("Ünfit").is_err());
    }
}
