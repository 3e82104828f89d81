//! iptables, nftables or IPVS.

use std::fmt;

use clap::ValueEnum;

use super::Scheduler;

/// `--proxy-mode`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ProxyMode {
    /// Each connection goes to an endpoint at random.
    #[default]
    Iptables,
    /// The same, with rules that are nftables'.
    Nftables,
    /// Each connection goes where the scheduler says.
    Ipvs,
}

/// How a proxy chooses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// At random, as iptables' rules do.
    #[default]
    Iptables,
    /// At random, as nftables' rules do.
    Nftables,
    /// As a scheduler of IPVS does.
    Ipvs(Scheduler),
}

impl Mode {
    /// What the flags say.
    pub fn of(mode: ProxyMode, scheduler: Scheduler) -> Self {
        match mode {
            ProxyMode::Iptables => Self::Iptables,
            ProxyMode::Nftables => Self::Nftables,
            ProxyMode::Ipvs => Self::Ipvs(scheduler),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
            Self::Ipvs(_) => "ipvs",
        })
    }
}
