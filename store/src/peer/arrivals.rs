//! Which frames have arrived. A repeated acknowledgement of a read round has the same effect as a reused context: a
//! stale read. So every connection numbers its frames, and a number seen twice is dropped.

use std::collections::VecDeque;

/// Connections remembered per peer.
const CONNECTIONS: usize = 16;

/// The newest frame of each of a peer's recent connections, by epoch.
#[derive(Default)]
pub(crate) struct Arrivals(VecDeque<(u64, u64)>);

impl Arrivals {
    /// Whether a frame is new.
    pub(crate) fn is_new(&mut self, epoch: u64, sequence: u64) -> bool {
        match self.0.iter_mut().find(|(known, _)| *known == epoch) {
            Some((_, newest)) if sequence <= *newest => false,
            Some((_, newest)) => {
                *newest = sequence;
                true
            }
            None => {
                if self.0.len() >= CONNECTIONS {
                    self.0.pop_front();
                }
                self.0.push_back((epoch, sequence));
                true
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_frames_are_dropped_by_epoch_and_sequence() {
        let mut arrivals = Arrivals::default();
        assert!(arrivals.is_new(1, 1));
        assert!(arrivals.is_new(1, 2));
        assert!(!arrivals.is_new(1, 2));
        assert!(!arrivals.is_new(1, 1));
        assert!(arrivals.is_new(2, 1), "a new connection counts anew");
        assert!(!arrivals.is_new(1, 2), "the old one is still known");
        assert!(arrivals.is_new(1, 4), "a lost frame is no reason to refuse");
    }
}
