//! The kinds, and the verbs over the store.
//!
//! `<group>/<kind>.rs` is one kind's room: see [`kind::Kind`].

pub mod apps;
pub mod cells;
pub mod coordination;
pub mod core;
pub mod defaults;
pub mod discovery;
pub mod kind;
pub mod kinds;
pub mod validation;
pub mod watch;
