//! One replica, without clock, disk, network or randomness: what comes in is an [`Input`], what must be done is an
//! [`Output`], and the same inputs lead to the same outputs.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`node`] | raft, the state machine and what waits for them |
//! | `apply`, `requests`, `office` | what it does with entries, with requests, and in its group |
//! | [`io`] | inputs and outputs |
//! | [`log`] | raft's view of the log: the tail of it, in memory |
//! | [`proposals`] | writes that wait to be applied, and their repetition |
//! | [`reads`] | reads that wait for a ReadIndex round |

mod apply;
mod io;
mod log;
mod node;
mod office;
mod proposals;
mod reads;
mod requests;
#[cfg(test)]
mod tests;

#[cfg(test)]
pub(crate) use io::Refusal;
pub(crate) use io::{Input, LogWrite, Output, Persist};
pub(crate) use node::{Config, FOUNDED, Node, Recovered};
