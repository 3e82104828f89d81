//! How members reach each other: one gRPC stream per direction. Raft tolerates loss, so every queue is bounded and what
//! does not fit is dropped; it does not tolerate repetition (see [`arrivals`]).
//!
//! | module | what it is |
//! | --- | --- |
//! | [`peers`] | all connections of a member |
//! | [`sender`] | the task that connects to one peer and keeps sending |
//! | [`server`] | the service that receives |
//! | [`arrivals`] | which frames have arrived |
//! | [`tls`] | certificates for both sides |

mod arrivals;
mod peers;
mod sender;
mod server;
#[cfg(test)]
mod tests;
mod tls;

#[cfg(test)]
pub(crate) use arrivals::Arrivals;
pub(crate) use peers::Peers;
pub(crate) use sender::{Parcel, Route, Sender};
pub(crate) use server::serve;
pub use tls::PeerTls;
pub(crate) use tls::Tls;
