//! The ends of connections that several components have alike.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`datagram`] | datagrams on a stream |
//! | [`pipe`] | a dialled connection as a stream of bytes |
//! | [`trust`] | TLS with whoever is there |

pub mod datagram;
pub mod pipe;
pub mod trust;
