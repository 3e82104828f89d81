//! How IPVS chooses. Source: `net/netfilter/ipvs/ip_vs_{rr,wrr,lc,wlc,sh,dh,sed,nq}.c` of Linux; kube-proxy gives every
//! endpoint the weight 1, so that weighted schedulers choose as those without weights.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
};

use clap::ValueEnum;

/// The buckets of `sh` and `dh`: 2 to the power of this.
const BUCKET_BITS: u32 = 8;
/// Source: `GOLDEN_RATIO_32` in Linux.
const GOLDEN_RATIO: u32 = 0x61C8_8647;

/// `--ipvs-scheduler`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Scheduler {
    /// One after the other.
    #[default]
    Rr,
    /// One after the other, by weight.
    Wrr,
    /// The one with the fewest connections.
    Lc,
    /// The one with the fewest connections for its weight.
    Wlc,
    /// By the client's address.
    Sh,
    /// By the address that was dialed.
    Dh,
    /// The one that is expected to answer soonest.
    Sed,
    /// An idle one; if there is none, as `sed`.
    Nq,
}

impl fmt::Display for Scheduler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rr => "rr",
            Self::Wrr => "wrr",
            Self::Lc => "lc",
            Self::Wlc => "wlc",
            Self::Sh => "sh",
            Self::Dh => "dh",
            Self::Sed => "sed",
            Self::Nq => "nq",
        })
    }
}

/// How busy an endpoint is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Connections that are open.
    pub active: usize,
    /// Those that ended a short while ago.
    pub inactive: usize,
}

/// What a scheduler knows.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// The endpoints' addresses, in order.
    pub endpoints: &'a [SocketAddr],
    /// Each endpoint's load.
    pub loads: &'a [Load],
    /// The endpoint that was chosen before.
    pub last: Option<SocketAddr>,
    /// Who calls.
    pub client: IpAddr,
    /// The address that was dialed.
    pub to: IpAddr,
}

impl Scheduler {
    /// The chosen endpoint's place in the list; none of none.
    pub fn choose(self, question: &Question<'_>) -> Option<usize> {
        let Question { endpoints, loads, last, client, to } = *question;
        let least = |busy: &dyn Fn(&Load) -> usize| {
            loads.iter().enumerate().min_by_key(|(i, load)| (busy(load), *i)).map(|(i, _)| i)
        };
        let count = endpoints.len();
        let expected_delay = |load: &Load| load.active + 1;
        match self {
            _ if count == 0 => None,
            Self::Rr | Self::Wrr => {
                Some(last.and_then(|last| endpoints.iter().position(|endpoint| *endpoint > last)).unwrap_or(0))
            }
            Self::Lc | Self::Wlc => least(&|load| (load.active << 8) + load.inactive),
            Self::Sh => Some(bucket(client) % count),
            Self::Dh => Some(bucket(to) % count),
            Self::Sed => least(&expected_delay),
            Self::Nq => loads.iter().position(|load| load.active == 0).or_else(|| least(&expected_delay)),
        }
    }
}

/// The bucket of an address. Endpoints stand in the buckets one after the other.
fn bucket(ip: IpAddr) -> usize {
    let folded = match ip {
        IpAddr::V4(ip) => ip.to_bits(),
        IpAddr::V6(ip) => {
            let bits = ip.to_bits();
            (0..4).fold(0, |folded, part| folded ^ (bits >> (32 * part)) as u32)
        }
    };
    (folded.wrapping_mul(GOLDEN_RATIO) >> (32 - BUCKET_BITS)) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoints(count: u8) -> Vec<SocketAddr> {
        (0..count).map(|i| SocketAddr::from(([10, 244, 1, i + 2], 80))).collect()
    }

    fn loads(active: &[usize], inactive: &[usize]) -> Vec<Load> {
        active.iter().zip(inactive).map(|(active, inactive)| Load { active: *active, inactive: *inactive }).collect()
    }

    #[test]
    fn each_scheduler_keeps_its_word() {
        use Scheduler::{Dh, Lc, Nq, Rr, Sed, Sh, Wlc, Wrr};
        let three = endpoints(3);
        for (scheduler, last, active, inactive, expected) in [
            (Rr, None, [0, 0, 0], [0, 0, 0], 0),
            (Rr, Some(0), [9, 9, 9], [0, 0, 0], 1),
            (Rr, Some(2), [0, 0, 0], [0, 0, 0], 0),
            (Wrr, Some(1), [0, 0, 0], [0, 0, 0], 2),
            (Lc, None, [2, 1, 3], [0, 0, 0], 1),
            // What is open weighs 256 times what has ended.
            (Lc, None, [1, 0, 0], [0, 255, 3], 2),
            (Wlc, None, [1, 0, 1], [0, 257, 0], 0),
            // What has ended does not delay anybody.
            (Sed, None, [1, 0, 0], [0, 90, 0], 1),
            (Nq, None, [0, 0, 0], [9, 9, 9], 0),
            (Nq, None, [4, 2, 3], [0, 0, 0], 1),
        ] {
            let question = Question {
                endpoints: &three,
                loads: &loads(&active, &inactive),
                last: last.map(|i: usize| three[i]),
                client: [192, 168, 0, 1].into(),
                to: [10, 96, 0, 10].into(),
            };
            assert_eq!(scheduler.choose(&question), Some(expected), "{scheduler} {last:?} {active:?} {inactive:?}");
        }
        for scheduler in [Rr, Wrr, Lc, Wlc, Sh, Dh, Sed, Nq] {
            let (client, to) = ([127, 0, 0, 1].into(), [10, 96, 0, 10].into());
            assert_eq!(scheduler.choose(&Question { endpoints: &[], loads: &[], last: None, client, to }), None);
        }
    }

    #[test]
    fn hashing_keeps_an_address_where_it_is_and_spreads_many() {
        let three = endpoints(3);
        let ask = |scheduler: Scheduler, client: u8, to: u8| {
            let (client, to) = (IpAddr::from([10, 244, 0, client]), IpAddr::from([10, 96, 0, to]));
            let loads = [Load::default(); 3];
            scheduler.choose(&Question { endpoints: &three, loads: &loads, last: None, client, to })
        };
        assert_eq!(ask(Scheduler::Sh, 7, 1), ask(Scheduler::Sh, 7, 2));
        assert_eq!(ask(Scheduler::Dh, 7, 1), ask(Scheduler::Dh, 8, 1));
        let mut counts = [0; 3];
        (0..=255).for_each(|client| counts[ask(Scheduler::Sh, client, 1).unwrap_or(0)] += 1);
        assert!(counts.iter().all(|count| (60..=110).contains(count)), "{counts:?}");
    }
}
