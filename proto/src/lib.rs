//! The gRPC contracts between kubelab's processes: generated code, no logic.
//!
//! | module | served by | called by |
//! | --- | --- | --- |
//! | [`objects`] | apiserver | every component |
//! | [`flow`] | apiserver | `kubelab why`, `kubelab status` |
//! | [`raft`] | apiserver (peer port) | its peers |
//! | [`node`]: `Node` | kubelet-sim | kube-proxy-sim, apiserver |
//! | [`node`]: `Proxy` | kube-proxy-sim | kubelet-sim |
//! | [`health`] | servers in containers | their probes |

#![allow(missing_docs, clippy::all, clippy::unwrap_used)]

/// The Kubernetes API as gRPC.
pub mod objects {
    tonic::include_proto!("kubelab.objects.v1");
}

/// What passes through an apiserver, and why.
pub mod flow {
    tonic::include_proto!("kubelab.flow.v1");
}

/// How the members of the store reach each other.
pub mod raft {
    tonic::include_proto!("kubelab.raft.v1");
}

/// What a node serves to the rest of the lab.
pub mod node {
    tonic::include_proto!("kubelab.node.v1");
}

/// How servers say that they are well.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
