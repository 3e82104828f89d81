//! From a lab's description to its processes: which, under which names, with which flags.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use super::{
    Layout, Spec,
    addresses::{Addresses, KUBE_PROXY_HEALTH_PORT, KUBELET_HEALTH_PORT, KUBELET_PORT},
    pki::{Identity, Pki},
};

/// What a process is; the subcommand that runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// The API over the store.
    Apiserver,
    /// Which node a pod goes to.
    Scheduler,
    /// The control loops.
    ControllerManager,
    /// One node.
    KubeletSim,
    /// One node's service proxy.
    KubeProxySim,
}

impl Kind {
    /// The hidden subcommand of `kubelab`, and the separate binary's name.
    pub fn command(self) -> &'static str {
        match self {
            Kind::Apiserver => "apiserver",
            Kind::Scheduler => "scheduler",
            Kind::ControllerManager => "controller-manager",
            Kind::KubeletSim => "kubelet-sim",
            Kind::KubeProxySim => "kube-proxy-sim",
        }
    }
}

/// One process of the lab.
#[derive(Clone, Debug, PartialEq)]
pub struct Component {
    /// `apiserver-1`, `kubelet-3`.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// Its flags.
    pub flags: Vec<String>,
    /// Where it answers /readyz, or for an apiserver the API.
    pub address: SocketAddr,
    /// The numbers of the nodes that it is, or serves.
    pub nodes: Vec<u16>,
}

/// The names under which any apiserver is reached.
const SERVICE_NAMES: [&str; 6] = [
    "localhost",
    "front-door",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
];

/// The name that all kube-proxies are served under, to the kubelets of their nodes.
const PROXY: &str = "kube-proxy";
/// Their certificate's file.
const PROXY_SERVER: &str = "kube-proxy-server";

/// Makes the certificates that the lab's processes need, and keeps those that are there.
pub fn issue_certificates(spec: &Spec, pki: &Pki) -> anyhow::Result<()> {
    let served_at = |id| spec.subnet.apiserver(id).to_vec();
    issue_control_plane_certificates(spec.apiservers, served_at, pki)?;
    let issue = |number: &u16| issue_node_certificate(pki, &format!("node-{number}"), spec.subnet.node(*number));
    spec.nodes.iter().try_for_each(issue)
}

/// Removes the certificates that name addresses the lab no longer has.
pub fn revoke_server_certificates(spec: &Spec, pki: &Pki) -> anyhow::Result<()> {
    let apiservers = (1..=spec.apiservers).map(|id| format!("apiserver-{id}"));
    let nodes = spec.nodes.iter().map(|number| format!("node-{number}"));
    apiservers.chain(nodes).try_for_each(|name| pki.remove(&name))
}

/// Out of which network each node has a /24 for its pods: one that gives 256 where that is enough, as most clusters have
/// it, else one that gives 4096.
fn cluster_cidr(spec: &Spec) -> &'static str {
    if spec.nodes.iter().all(|node| *node < 256) { "10.244.0.0/16" } else { "10.240.0.0/12" }
}

/// The same for all but the nodes. The apiservers are reached under their names, the service's, localhost, and at the
/// addresses that `served_at` gives for each.
pub fn issue_control_plane_certificates(
    apiservers: u16,
    served_at: impl Fn(u16) -> Vec<IpAddr>,
    pki: &Pki,
) -> anyhow::Result<()> {
    let client = |file: &str, user: &str, group: Option<&str>| {
        pki.issue(&Identity { file, user, group, names: &[], addresses: &[] })
    };
    client("admin", "kubernetes-admin", Some("system:masters"))?;
    client("scheduler", "system:kube-scheduler", None)?;
    client("controller-manager", "system:kube-controller-manager", None)?;
    client("kube-proxy", "system:kube-proxy", Some("system:node-proxier"))?;
    let served_as = [PROXY.to_owned()];
    let identity = Identity { file: PROXY_SERVER, user: PROXY, group: None, names: &served_as, addresses: &[] };
    pki.issue(&identity)?;
    pki.issue_front_proxy()?;
    for id in 1..=apiservers {
        let name = format!("apiserver-{id}");
        let mut names: Vec<String> = SERVICE_NAMES.map(String::from).to_vec();
        names.push(name.clone());
        let mut addresses = vec![Ipv4Addr::LOCALHOST.into(), Ipv4Addr::new(10, 96, 0, 1).into()];
        addresses.extend(served_at(id));
        pki.issue(&Identity {
            file: &name,
            user: "kube-apiserver",
            group: None,
            names: &names,
            addresses: &addresses,
        })?;
    }
    Ok(())
}

/// Makes a node's certificate, for its kubelet as a client and as a server.
pub fn issue_node_certificate(pki: &Pki, node: &str, address: IpAddr) -> anyhow::Result<()> {
    pki.issue(&Identity {
        file: node,
        user: &format!("system:node:{node}"),
        group: Some("system:nodes"),
        names: &[node.to_owned(), "localhost".into()],
        addresses: &[address],
    })
}

/// All processes of a lab, in the order in which they are shown.
pub fn components(spec: &Spec, layout: &Layout, pki: &Pki, addresses: &Addresses) -> anyhow::Result<Vec<Component>> {
    let mut all = Vec::new();
    for id in 1..=spec.apiservers {
        all.push(apiserver(spec, id, layout, pki, addresses)?);
    }
    for (kind, count) in [(Kind::Scheduler, spec.schedulers), (Kind::ControllerManager, spec.controller_managers)] {
        for id in 1..=count {
            let name = format!("{}-{id}", kind.command());
            let more = match kind {
                Kind::ControllerManager => vec![
                    ("--cluster-signing-cert-file", text(&pki.authority())?),
                    ("--cluster-signing-key-file", text(&pki.authority_key())?),
                    ("--load-balancer-pool", spec.subnet.load_balancers()),
                    ("--volumes-dir", text(&layout.volumes())?),
                    ("--cluster-cidr", cluster_cidr(spec).to_owned()),
                ],
                Kind::Scheduler if layout.scheduler_config().exists() => {
                    vec![("--config", text(&layout.scheduler_config())?)]
                }
                _ => Vec::new(),
            };
            let address = addresses.of_loop(kind, id)?;
            let mut process = component(kind, name, kind.command(), pki, addresses, address, more)?;
            process.flags.extend(spec.extra_flags(kind.command()));
            all.push(process);
        }
    }
    for number in spec.groups() {
        all.extend(group(spec, number, layout, pki, addresses)?);
    }
    Ok(all)
}

fn apiserver(spec: &Spec, id: u16, layout: &Layout, pki: &Pki, addresses: &Addresses) -> anyhow::Result<Component> {
    let name = format!("apiserver-{id}");
    let index = usize::from(id) - 1;
    let peers: Vec<_> = addresses.peers.iter().enumerate().map(|(i, peer)| format!("{}={peer}", i + 1)).collect();
    let mut flags = flags([
        ("--name", name.clone()),
        ("--id", id.to_string()),
        ("--listen", addresses.apiservers[index].to_string()),
        ("--handoff", text(&layout.handoff_of(&name))?),
        ("--peer-listen", addresses.peers[index].to_string()),
        ("--peers", peers.join(",")),
        ("--data-dir", text(&layout.state_of(&name))?),
        ("--certificate-authority", text(&pki.authority())?),
        ("--tls-certificate", text(&pki.certificate(&name))?),
        ("--tls-key", text(&pki.key(&name))?),
        ("--service-account-key", text(&pki.service_account_key())?),
        ("--proxy-client-certificate", text(&pki.certificate("front-proxy-client"))?),
        ("--proxy-client-key", text(&pki.key("front-proxy-client"))?),
        ("--requestheader-client-ca", text(&pki.certificate("front-proxy-ca"))?),
        ("--cluster-info-server", format!("https://127.0.0.1:{}", spec.port)),
    ]);
    if layout.audit_policy().exists() {
        flags.push(format!("--audit-policy-file={}", text(&layout.audit_policy())?));
        flags.push(format!("--audit-log-path={}", text(&layout.audit_log_of(&name))?));
    }
    flags.extend(spec.extra_flags(Kind::Apiserver.command()));
    Ok(Component { name, kind: Kind::Apiserver, flags, address: addresses.apiservers[index], nodes: Vec::new() })
}

/// The two processes of a group of nodes; none if it has no nodes.
pub fn group(
    spec: &Spec,
    number: u16,
    layout: &Layout,
    pki: &Pki,
    addresses: &Addresses,
) -> anyhow::Result<Vec<Component>> {
    let nodes = spec.members(number);
    let Some(first) = nodes.first() else { return Ok(Vec::new()) };
    let mut places = Vec::new();
    for number in &nodes {
        let (node, ip) = (format!("node-{number}"), spec.subnet.node(*number));
        issue_node_certificate(pki, &node, ip)?;
        places.push(("--node", format!("{node}={ip}")));
    }
    let mut kubelet = places.clone();
    kubelet.push(("--port", KUBELET_PORT.to_string()));
    kubelet.push(("--data-dir", text(&layout.state_of("{node}"))?));
    kubelet.push(("--pod-manifest-path", text(&layout.state_of("{node}").join("manifests"))?));
    if layout.behaviors().exists() {
        kubelet.push(("--behaviors", text(&layout.behaviors())?));
    }
    kubelet.push(("--volumes-dir", text(&layout.volumes())?));
    let mut proxy = places;
    proxy.push(("--cluster-cidr", cluster_cidr(spec).to_owned()));
    proxy.push(("--tls-certificate", text(&pki.certificate(PROXY_SERVER))?));
    proxy.push(("--tls-key", text(&pki.key(PROXY_SERVER))?));
    let at = |port| SocketAddr::new(spec.subnet.node(*first), port);
    let [kubelet_name, proxy_name] = node_processes(spec, number);
    let mut processes = [
        component(Kind::KubeletSim, kubelet_name, "{node}", pki, addresses, at(KUBELET_HEALTH_PORT), kubelet)?,
        component(Kind::KubeProxySim, proxy_name, "kube-proxy", pki, addresses, at(KUBE_PROXY_HEALTH_PORT), proxy)?,
    ];
    processes[1].flags.extend(spec.extra_flags("kube-proxy"));
    Ok(processes.map(|process| Component { nodes: nodes.clone(), ..process }).into())
}

/// What the processes of a group of nodes are called.
pub fn node_processes(spec: &Spec, group: u16) -> [String; 2] {
    let number = group + 1;
    match spec.nodes_per_process {
        1 => [format!("kubelet-{number}"), format!("kube-proxy-{number}")],
        _ => [format!("kubelets-{number}"), format!("kube-proxies-{number}")],
    }
}

fn component(
    kind: Kind,
    name: String,
    certificate: &str,
    pki: &Pki,
    addresses: &Addresses,
    address: SocketAddr,
    more: Vec<(&str, String)>,
) -> anyhow::Result<Component> {
    let mut flags = flags([
        ("--name", name.clone()),
        ("--metrics-listen", address.to_string()),
        ("--apiservers", addresses.apiserver_urls()),
        ("--certificate-authority", text(&pki.authority())?),
        ("--client-certificate", text(&pki.certificate(certificate))?),
        ("--client-key", text(&pki.key(certificate))?),
    ]);
    flags.extend(more.into_iter().map(|(flag, value)| format!("{flag}={value}")));
    Ok(Component { name, kind, flags, address, nodes: Vec::new() })
}

fn flags<const N: usize>(flags: [(&str, String); N]) -> Vec<String> {
    flags.into_iter().map(|(flag, value)| format!("{flag}={value}")).collect()
}

fn text(path: &Path) -> anyhow::Result<String> {
    Ok(path.to_str().with_context(|| format!("the path {} is not UTF-8", path.display()))?.to_owned())
}

/// The apiservers by name, for those who talk to one of them in particular.
pub fn apiservers_by_name(addresses: &Addresses) -> BTreeMap<String, SocketAddr> {
    addresses.apiservers.iter().enumerate().map(|(i, address)| (format!("apiserver-{}", i + 1), *address)).collect()
}
