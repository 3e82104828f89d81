//! Programs that use the network. Sources of what they print: busybox 1.36; curl 8; `bind-utils` for `dig`.
//!
//! | module | programs |
//! | --- | --- |
//! | [`wget`], [`curl`] | requests |
//! | [`lookup`] | `nslookup`, `dig`, `getent` |
//! | [`netcat`] | `nc` |
//! | [`ping`] | `ping` |

mod curl;
mod lookup;
mod netcat;
mod ping;
mod wget;

use std::time::Duration;

use super::{Call, Ran};
use crate::network::{
    Dialer,
    resolver::{Error, Resolver},
};

/// The programs here.
pub const NAMES: [&str; 7] = ["curl", "dig", "getent", "nc", "nslookup", "ping", "wget"];

/// Runs one of them.
pub async fn run(call: &mut Call<'_>) -> Ran {
    match call.name {
        "curl" => Box::pin(curl::run(call)).await,
        "wget" => Box::pin(wget::run(call)).await,
        "nc" => Box::pin(netcat::run(call)).await,
        "ping" => Box::pin(ping::run(call)).await,
        "getent" => Box::pin(lookup::getent(call)).await,
        "dig" => Box::pin(lookup::dig(call)).await,
        _ => Box::pin(lookup::nslookup(call)).await,
    }
}

impl Call<'_> {
    fn network(&self) -> &dyn Dialer {
        &*self.shell.world.network
    }

    /// Who resolves names, as the container's files say.
    fn resolver(&self) -> Resolver<'_> {
        let read = |path| {
            let bytes = self.shell.world.files.read(path).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        Resolver::new(self.network(), read("/etc/hosts"), &read("/etc/resolv.conf"))
    }

    /// Writes to standard error.
    async fn warn(&self, text: impl AsRef<str>) -> Result<(), super::super::streams::Broken> {
        self.streams.stderr.print(text).await
    }
}

/// Seconds, perhaps with a fraction.
fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// busybox's and glibc's words for a name without an address.
fn bad_address(name: &str, _: Error) -> String {
    format!("bad address '{name}'")
}

#[cfg(test)]
mod tests;
