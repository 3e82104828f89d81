//! The ends of connections that several components have alike.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`pipe`] | a dialled connection as a stream of bytes |
//! | [`trust`] | TLS with whoever is there |

pub mod pipe;
pub mod trust;
