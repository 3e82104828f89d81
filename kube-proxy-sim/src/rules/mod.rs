//! What Services and EndpointSlices mean on a node. Source of the rules: `pkg/proxy` of Kubernetes (`serviceport.go`,
//! `endpointslicecache.go`, `topology.go`).
//!
//! ```text
//!  Services, EndpointSlices ──► tracker: per Service, only what changed ──► Services (shared by all nodes of a process)
//!                                                                              │ place: a node's name and zone
//!                                                                              ▼
//!                                                                            Table: what differs on this node
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`service`] | what a Service asks for at each of its ports |
//! | [`endpoint`] | what EndpointSlices say of a port |
//! | [`topology`] | which endpoints a node uses |
//! | [`tracker`] | the Services of the cluster, kept up to date |
//! | [`table`] | the rules of one node |
//! | [`iptables`] | the table as `iptables-save` would print it |
//! | [`nftables`] | the table as `nft list ruleset` would print it |
//! | [`ipvs`], [`ipset`] | the table as `ipvsadm -Ln` and `ipset list` would print it |

pub mod endpoint;
pub mod ipset;
pub mod iptables;
pub mod ipvs;
pub mod nftables;
pub mod service;
pub mod table;
pub mod topology;
pub mod tracker;

pub use self::{
    endpoint::Endpoint,
    service::{PortName, Protocol, ServicePort},
    table::{Place, Rule, Table, Target, Via},
    tracker::{Services, Tracker},
};

#[cfg(test)]
mod tests;
