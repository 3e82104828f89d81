//! Choosing objects by their labels and by their fields, and nodes by both.

pub mod field;
pub mod label;
pub mod node;

/// Why a text is not a selector, in upstream's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub(crate) String);
