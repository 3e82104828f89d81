//! Custom resources: kinds that definitions bring while the server runs. They take the same shape as built-in ones, so
//! that the verbs, the doors, discovery and access control need not tell them apart.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`definition`] | a CustomResourceDefinition, ready to be used: a pure function of what is stored |
//! | [`tables`] | the table of kinds, kept in step with the definitions in the store |
//! | [`object`], [`decode`] | an object known by its schema; from a client's bytes |
//! | [`conversion`], [`conversion_review`] | one version of another, by a webhook |
//! | [`rules`], [`validation`] | what a definition decides for its objects |
//! | [`expressions`], [`declared`] | rules in CEL, and the types that they see |
//! | [`columns`], [`scale`] | how they are printed and scaled |
//! | [`openapi`] | how they look to clients |
//!
//! ```text
//! stored bytes ─► read: prune and default by the schema of the version they were stored in ─► the version asked for
//! sent bytes ─► decode: prune and default by the schema of the version they were sent in ─► validate ─► the stored version
//! ```
//!
//! Invariant: a write of a custom object fails, and is planned again, if its definition was written since it was read.

pub mod columns;
pub mod conversion;
pub mod conversion_answers;
pub mod conversion_review;
pub mod conversion_webhook;
pub mod declared;
pub mod decode;
pub mod definition;
pub mod expressions;
pub mod object;
pub mod openapi;
pub mod rules;
pub mod scale;
pub mod tables;
pub mod validation;
