//! Volumes: real files on the node, which the programs in containers see.
//!
//! ```text
//!  pod starts ──► node::mount ──► place: where is it?     claims, host paths; nothing is written yet
//!                     │                payload: is all there?
//!                     ▼
//!  a program looks ──► node::mount::refresh ──► payload ──► writer     ConfigMaps, Secrets, tokens, the pod's own fields
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`payload`] | the files that a volume made of API objects shows (pure) |
//! | [`writer`] | writes them so that a reader sees all old or all new ones |
//! | [`token`] | when a service account's token is renewed (pure) |
//! | [`place`] | where volumes are on disk (pure) |
//! | [`host`] | what a node's own file system has |
//! | [`claim`] | which volume a claim stands for (pure) |
//! | [`image`] | what an image shows as a volume |
//! | [`mounts`] | what of them a container sees (pure) |
//! | [`limits`] | how much may be in them |
//!
//! Invariants: files made of API objects are written when a program looks, and only then, so a pod that never reads its
//! token costs no request; whatever was written before stays while a new version cannot be had.

pub mod claim;
pub mod host;
pub mod image;
pub mod limits;
pub mod mounts;
pub mod payload;
pub mod place;
pub mod token;
pub mod writer;
