//! A watcher that goes from host to host and must miss nothing.

use std::sync::Arc;

use super::{Mutant, checker::Checker, host::Host, rng::Rng, world::Tally};
use crate::{Cursor, Error, Revision, Scope};

/// One watcher.
pub(super) struct Watcher {
    scope: Scope,
    /// Everything up to here it has seen.
    pub(super) after: Revision,
    /// Its place on a host, and which start of the host.
    at: Option<(u64, u64, Cursor)>,
    /// How much too late its watches begin: a mutant's doing.
    late: Revision,
}

impl Watcher {
    pub(super) fn new(id: usize, mutant: Option<Mutant>) -> Self {
        let late = u64::from(mutant == Some(Mutant::WatchLate));
        let (topic, prefix, index) = match id {
            0 => ("pods", "", None),
            1 => ("pods", "1/", None),
            2 => ("pods", "", Some("node-1".into())),
            _ => ("nodes", "", None),
        };
        Self { scope: Scope { topic: topic.into(), prefix: prefix.into(), index }, after: 0, at: None, late }
    }

    pub(super) fn poll(&mut self, hosts: &[Host], checker: &Checker, rng: &mut Rng, tally: &mut Tally) {
        let Self { scope, after, at, late } = self;
        // Its connection ends with the host, or now and then.
        at.take_if(|(id, start, _)| hosts[*id as usize - 1].starts != *start || rng.percent(8));
        if at.is_none() {
            let host = &hosts[rng.range(0, hosts.len() as u64) as usize];
            let Some(process) = &host.process else { return };
            let floor = process.view.history(|history| history.floor());
            match Cursor::new(Arc::clone(&process.view), scope.clone(), *after + *late) {
                Ok(cursor) => {
                    tally.resumed += 1;
                    *at = Some((host.id, host.starts, cursor));
                }
                Err(Error::Future { .. }) => return,
                Err(Error::Compacted { asked, oldest }) => {
                    assert_eq!((asked, oldest), (*after + *late, floor));
                    assert!(*after < floor);
                    tally.compacted += 1;
                    *after = process.view.state().revision();
                    return;
                }
                Err(error) => panic!("{error}"),
            }
        }
        let Some((id, _, cursor)) = at else { return };
        match cursor.poll() {
            Ok(batch) => {
                checker.watched(scope, *after, batch.revision, &batch.events);
                *after = batch.revision;
            }
            Err(Error::Compacted { oldest, .. }) => {
                assert!(*after < oldest);
                tally.compacted += 1;
                if let Some(process) = &hosts[*id as usize - 1].process {
                    *after = process.view.state().revision();
                }
                *at = None;
            }
            Err(error) => panic!("{error}"),
        }
    }
}
