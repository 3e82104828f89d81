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
//! | [`custom`] | custom resources: their definitions, kubectl, an operator |
//! | [`daemon_sets`] | a pod on every node, and how these are updated |
//! | [`deletion`] | cascades, finalizers, namespaces that end; quotas and security standards |
//! | [`deployments`] | the states of a rollout, scaling amid it, deadlines, history |
//! | [`life`] | `kubelab`'s own commands, and its errors |
//! | [`policies`] | admission policies and webhooks, as kubectl meets them |
//! | [`python`] | the Python client, and an operator that is written with kopf |
//! | [`reading`] | pages and watches, as raw requests see them |
//! | [`served`] | what the apiservers tell of themselves, to kubectl, old and new |
//! | [`stateful_sets`] | pods in order, partitions, claims, history |
//! | [`streams`] | logs, exec, attach, port-forward, proxy |
//! | [`survival`] | processes are killed under load and nothing that was acknowledged is lost |

#![allow(clippy::disallowed_methods)] // see clippy.toml
#![allow(clippy::unwrap_used, missing_docs)]

mod access;
mod application;
mod apply;
mod bad_input;
mod clients;
mod commands;
mod custom;
mod daemon_sets;
mod deletion;
mod deployments;
mod harness;
mod life;
mod policies;
mod python;
mod reading;
mod served;
mod stateful_sets;
mod story;
mod streams;
mod survival;
