//! Probes that connect.

use std::time::Duration;

use super::{Answer, Target};
use crate::network::{Dialer, Failure, Protocol, connect};

/// Connects; whoever answers is well.
pub async fn probe(target: &Target, network: &dyn Dialer, timeout: Duration) -> Answer {
    let address = match target.address() {
        Ok(address) => address,
        Err(why) => return Answer::Failure(why),
    };
    match connect(network, address, Protocol::Tcp, Some(timeout)).await {
        Ok(_) => Answer::Success,
        Err(failure) => Answer::Failure(format!("dial tcp {target}: {}", why(failure))),
    }
}

/// Why a connection failed, as Go's net package says it.
pub fn why(failure: Failure) -> &'static str {
    match failure {
        Failure::Refused => "connect: connection refused",
        Failure::NoRoute => "connect: no route to host",
        Failure::Unreachable => "connect: network is unreachable",
        Failure::Dropped => "i/o timeout",
    }
}
