//! What goes wrong, and how it is mended.

use super::world::{Happening, World};
use crate::{consensus::Input, members};

impl World {
    /// Something goes wrong, or is mended.
    pub(super) fn misfortune(&mut self) {
        let members = self.hosts.len() as u64;
        let host = self.rng.range(1, members + 1);
        match self.rng.range(0, 18) {
            0 => {
                // One host is cut off.
                for other in 1..=members {
                    self.network.cut(host, other);
                    self.network.cut(other, host);
                }
            }
            1 => {
                // One link fails, in one direction.
                let other = self.rng.range(1, members + 1);
                self.network.cut(host, other);
            }
            2 => {
                // One host hears nothing, but is heard.
                (1..=members).for_each(|other| self.network.cut(other, host));
            }
            3 | 4 => self.network.heal(),
            5 => (self.network.loss, self.network.repetition) = (self.rng.range(0, 30), self.rng.range(0, 30)),
            6 => self.network.slow = !self.network.slow,
            7 => self.network.reconnect(host),
            8 => self.pause(host),
            9 => {
                if self.host(host).process.is_some() {
                    self.crash(host);
                }
            }
            10 => {
                // The power fails for everyone.
                if self.rng.percent(30) {
                    for host in 1..=members {
                        if self.host(host).process.is_some() {
                            self.crash(host);
                        }
                    }
                }
            }
            11 => {
                let syncs = self.rng.range(1, 10);
                self.host(host).disk.fail_in(syncs);
            }
            12 => {
                let full = self.rng.percent(40);
                self.host(host).disk.set_full(full);
            }
            13 => self.restart(),
            14 | 15 => self.change_members(),
            _ => self.network.heal(),
        }
        if self.rng.percent(40) {
            self.restart();
        }
    }

    fn restart(&mut self) {
        for id in 1..=self.hosts.len() as u64 {
            let host = self.host(id);
            if host.process.is_none() && host.starts > 0 {
                let disk = &self.host(id).disk;
                disk.set_full(false);
                disk.fail_in(u64::MAX);
                self.start(id);
            }
        }
    }

    /// Everything is mended.
    pub(super) fn calm(&mut self) {
        self.network.heal();
        for host in &mut self.hosts {
            host.paused = false;
            host.disk.set_full(false);
            host.disk.fail_in(u64::MAX);
        }
        self.restart();
        // The one that may have been removed is switched off then.
        if !self.members().contains(&1) {
            self.crash(1);
        }
        self.calm_at = self.now;
    }

    /// The members are to change, as one of them is told.
    fn change_members(&mut self) {
        let spare = self.hosts.len() as u64;
        let change = match self.rng.range(0, 3) {
            0 => {
                if self.host(spare).starts == 0 {
                    self.start(spare);
                }
                members::Change::Add { id: spare, address: String::new() }
            }
            1 => members::Change::Promote { id: spare },
            // Only ever this one goes, so that a quorum of the rest is left.
            _ if self.members().len() > 3 => members::Change::Remove { id: 1 },
            _ => return,
        };
        self.tally.changes += 1;
        for _ in 0..3 {
            let host = self.rng.range(1, spare + 1);
            let start = self.host(host).starts;
            let input = Some(Box::new(Input::Change(change.clone())));
            self.after(1, Happening::Request { host, start, input });
        }
    }
}
