//! Structural schemas: what a CustomResourceDefinition says about its objects, and what follows for an object.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`schema`] | the schema as a tree that is ready to be used |
//! | [`definition`] | what may be wrong with the schema itself |
//! | [`value`] | what may be wrong with a value |
//! | [`prune`], [`default`] | what a value loses and gains |
//! | [`lists`] | lists that are sets or maps |
//! | [`embedded`] | objects within objects |
//! | [`pattern`] | Go's regular expressions |
//!
//! Source: `apiextensions-apiserver/pkg/apiserver/schema` and
//! <https://kubernetes.io/docs/tasks/extend-kubernetes/custom-resources/custom-resource-definitions/>.
//!
//! Invariants: pruning and defaulting twice is the same as once. A schema nests no deeper than the parser lets it, and no
//! function here recurs deeper than a schema and a value do.

pub mod default;
pub mod definition;
pub mod embedded;
pub mod lists;
pub mod pattern;
pub mod prune;
pub mod schema;
pub mod value;

pub use schema::{Additional, ListType, Schema};

/// What a field of the metadata is called at the root of every object.
pub const META_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];
