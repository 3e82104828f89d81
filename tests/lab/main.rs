//! Whole-lab tests: real processes, real clients.
//!
//! Every test starts a lab of its own on free ports, so they run side by side. They need `kubectl` on PATH, with
//! `kubectl.1.27` and `kubectl.1.33` beside the file it links to, and fail loudly where it is missing.
//!
//! | module | what it shows |
//! | --- | --- |
//! | [`access`] | who may do what: tokens, certificates, roles, impersonation, the audit log |
//! | [`application`] | a real multi-object application, applied by kubectl, comes up and tells its story |
//! | [`apply`] | server-side apply: managers, conflicts, force, and the way from client-side apply |
//! | [`bad_input`] | what is wrong is refused in upstream's words, and nothing is stored |
//! | [`clients`] | the `kube` crate's client and watcher |
//! | [`commands`] | kubectl's commands, old and new |
//! | [`containers`] | what containers do and what becomes of their pods: scripts, probes, hooks, memory |
//! | [`crashes`] | the controller-manager dies after each of its writes |
//! | [`cron_jobs`] | CronJobs: jobs by the clock, and by hand |
//! | [`custom`] | custom resources: their definitions, kubectl, an operator |
//! | [`daemon_sets`] | a pod on every node, and how these are updated |
//! | [`deletion`] | cascades, finalizers, namespaces that end; quotas and security standards |
//! | [`deployments`] | the states of a rollout, scaling amid it, deadlines, history |
//! | [`disruption`] | budgets that a drain waits for; autoscalers |
//! | [`ingress`] | the ingress controller: hosts, paths, TLS |
//! | [`jobs`] | Jobs from their first pod to their end |
//! | [`life`] | `kubelab`'s own commands, and its errors |
//! | [`many_nodes`] | many nodes in a process |
//! | [`metrics`] | what containers use: `kubectl top`, autoscalers |
//! | [`metrics_server`] | a server of the metrics API outside the lab |
//! | [`mounted`] | volumes, as the programs in containers see them |
//! | [`load_balancers`] | services of type LoadBalancer get addresses |
//! | [`network`] | the network of pods: Services, names, policies |
//! | [`node_failure`] | a node falls silent, and its pods go elsewhere |
//! | [`policies`] | admission policies and webhooks, as kubectl meets them |
//! | [`probes`] | what probes and hooks ask over the network, and what comes of the answers |
//! | [`python`] | the Python client, and an operator that is written with kopf |
//! | [`reading`] | pages and watches, as raw requests see them |
//! | [`restarts`] | what a container's restart keeps, and containers of which nothing is left |
//! | [`scheduling`] | where pods go, and why; preemption; configuration |
//! | [`seeds`] | examples of the texts that kubelab is made after |
//! | [`served`] | what the apiservers tell of themselves, to kubectl, old and new |
//! | [`services`] | node ports, load balancers, policies, affinity and IPVS, as clients outside meet them |
//! | [`stateful_sets`] | pods in order, partitions, claims, history |
//! | [`streams`] | logs, exec, attach, port-forward, proxy |
//! | [`survival`] | processes are killed under load and nothing that was acknowledged is lost |
//! | [`volume_kinds`] | images, drivers' own volumes and block devices as volumes of pods |
//! | [`volumes`] | claims and volumes, and how they come together and part |

#![allow(clippy::disallowed_methods)] // see clippy.toml
#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod application;
mod apply;
mod bad_input;
mod clients;
mod commands;
mod containers;
mod crashes;
mod cron_jobs;
mod custom;
mod daemon_sets;
mod deletion;
mod deployments;
mod disruption;
mod harness;
mod ingress;
mod jobs;
mod life;
mod load_balancers;
mod many_nodes;
mod metrics;
mod metrics_server;
mod mounted;
mod network;
mod node_failure;
mod policies;
mod probes;
mod python;
mod reading;
mod restarts;
mod scheduling;
mod seeds;
mod served;
mod services;
mod stateful_sets;
mod story;
mod streams;
mod survival;
mod volume_kinds;
mod volumes;
