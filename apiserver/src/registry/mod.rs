//! The kinds, and the verbs over the store.
//!
//! `<group>/<kind>.rs` is one kind's room: see [`kind::Kind`].

pub mod kind;
pub mod watch;
