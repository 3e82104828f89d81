//! What clients and watchers do in the world, and what they are told.

use super::world::{Happening, Operation, World};
use crate::{Outcome, consensus::Refusal};

impl World {
    pub(super) fn client(&mut self, client: usize) {
        let busy = self.clients[client].token.is_some_and(|token| self.operations.contains_key(&token));
        if !busy && self.clients[client].token.take().is_some() {
            self.tally.unknown += 1;
        }
        if !busy && !self.clients[client].is_done(self.calm_at) {
            let host = self.rng.range(1, self.hosts.len() as u64 + 1);
            if self.host(host).process.is_some() {
                self.count += 1;
                let token = self.count;
                let known = self.checker.known();
                let start = self.host(host).starts;
                self.operations.insert(token, Operation { client, host, start, known });
                let input = self.clients[client].next(token, known, self.now, &mut self.rng, &mut self.checker);
                let input = Some(Box::new(input));
                self.after(1, Happening::Request { host, start, input });
            }
        }
        let delay = self.rng.range(1, 40);
        self.after(delay, Happening::Client(client));
    }

    fn finish(&mut self, id: u64, token: u64) -> Option<Operation> {
        let start = self.host(id).starts;
        let operation = self.operations.remove(&token).filter(|operation| operation.start == start)?;
        self.clients[operation.client].token = None;
        Some(operation)
    }

    pub(super) fn answered(&mut self, id: u64, token: u64, result: Result<Outcome, Refusal>) {
        let Some(operation) = self.finish(id, token) else { return };
        // What is acknowledged must be visible here first.
        self.observe(id);
        match result {
            Ok(outcome) => {
                match outcome {
                    Outcome::Committed(_) => self.tally.writes += 1,
                    Outcome::Conflict(..) => self.tally.conflicts += 1,
                }
                self.checker.wrote(token, &outcome, operation.known);
                self.clients[operation.client].learn(self.checker.known());
            }
            Err(_) => self.tally.unknown += 1,
        }
    }

    pub(super) fn readable(&mut self, id: u64, token: u64, result: Result<(), Refusal>) {
        let Some(operation) = self.finish(id, token) else { return };
        self.observe(id);
        match result {
            Ok(()) => {
                self.tally.reads += 1;
                let state = self.host(id).process.as_ref().unwrap().view.state();
                self.checker.read(&state, operation.known);
            }
            Err(_) => self.tally.unknown += 1,
        }
    }

    pub(super) fn watcher(&mut self, watcher: usize) {
        let Self { watchers, hosts, checker, rng, tally, .. } = self;
        watchers[watcher].poll(hosts, checker, rng, tally);
        let delay = if self.rng.percent(3) { self.rng.range(1000, 6000) } else { self.rng.range(5, 400) };
        self.after(delay, Happening::Watcher(watcher));
    }
}
