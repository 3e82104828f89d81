//! Many nodes looked at by several threads, with the outcome that one thread would come to. Source of the chunks' size:
//! `framework/parallelize` upstream, where it depends on the threads which nodes are found first.

use std::{
    panic::resume_unwind,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

/// Upstream's default for `parallelism`.
pub const DEFAULT: usize = 16;
/// How many nodes make a thread worth its start, which takes some ten microseconds: filters take about as long for fifty.
const WORTH_A_THREAD: usize = 512;

/// How many threads look at nodes.
#[derive(Clone, Copy, Debug)]
pub struct Parallelism {
    threads: usize,
    /// How many nodes each must have to look at.
    least: usize,
}

impl Default for Parallelism {
    fn default() -> Self {
        Self::new(DEFAULT)
    }
}

impl Parallelism {
    /// So many threads, but no more than the machine runs at a time.
    pub fn new(threads: usize) -> Self {
        let cores = thread::available_parallelism().map_or(1, usize::from);
        Self { threads: threads.clamp(1, cores), least: WORTH_A_THREAD }
    }

    /// What `look` says of 0, 1, 2, … up to `count`.
    pub fn map<T: Send>(self, count: usize, look: impl Fn(usize) -> T + Sync) -> Vec<T> {
        let mut all = Vec::with_capacity(count);
        self.each(count, usize::MAX, look, |_| false, |_, said| all.push(said));
        all
    }

    /// Hands `take` what `look` says of 0, 1, 2, …, in this order, up to `count` or up to the `enough`th that `counts`.
    /// `look` may be asked about some that come later, too.
    pub fn each<T: Send>(
        self,
        count: usize,
        enough: usize,
        look: impl Fn(usize) -> T + Sync,
        counts: fn(&T) -> bool,
        mut take: impl FnMut(usize, T),
    ) {
        // Often the first nodes are enough, and then there is nothing to share.
        let mut alone = count.min(self.least);
        let threads = self.threads.min((count - alone) / self.least);
        if threads < 2 {
            alone = count;
        }
        let mut missing = enough;
        let mut hand = |missing: &mut usize, at: usize, said: T| {
            *missing -= usize::from(counts(&said));
            take(at, said);
        };
        for at in 0..alone {
            if missing == 0 {
                return;
            }
            hand(&mut missing, at, look(at));
        }
        let shared = Shared { begin: alone, end: count, threads, missing };
        for (at, said) in shared.look(look, counts).into_iter().flat_map(|(begin, said)| (begin..).zip(said)) {
            if missing == 0 {
                return;
            }
            hand(&mut missing, at, said);
        }
    }

    /// As many as that, wherever there are as many nodes for each.
    #[cfg(test)]
    pub(crate) fn exactly(threads: usize, least: usize) -> Self {
        Self { threads, least }
    }
}

/// What threads look at together.
struct Shared {
    begin: usize,
    end: usize,
    threads: usize,
    /// How many that count are enough.
    missing: usize,
}

impl Shared {
    /// What is said, in chunks with the place where each begins. They are given out in their order until those that were
    /// looked at hold enough, so there are no gaps.
    fn look<T: Send>(&self, look: impl Fn(usize) -> T + Sync, counts: fn(&T) -> bool) -> Vec<(usize, Vec<T>)> {
        if self.begin == self.end || self.missing == 0 {
            return Vec::new();
        }
        let size = self.chunk_size();
        let (next, found) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let work = || {
            let mut chunks = Vec::new();
            while found.load(Ordering::Relaxed) < self.missing {
                let begin = self.begin + size * next.fetch_add(1, Ordering::Relaxed);
                if begin >= self.end {
                    break;
                }
                let said: Vec<T> = (begin..self.end.min(begin + size)).map(&look).collect();
                found.fetch_add(said.iter().filter(|said| counts(said)).count(), Ordering::Relaxed);
                chunks.push((begin, said));
            }
            chunks
        };
        let mut chunks = thread::scope(|scope| {
            // A thread that cannot be started leaves its work to the others.
            let start = |_| thread::Builder::new().name("nodes".to_owned()).spawn_scoped(scope, work).ok();
            let helpers: Vec<_> = (1..self.threads).filter_map(start).collect();
            let mut chunks = work();
            for helper in helpers {
                chunks.extend(helper.join().unwrap_or_else(|panic| resume_unwind(panic)));
            }
            chunks
        });
        chunks.sort_unstable_by_key(|(begin, _)| *begin);
        chunks
    }

    /// Small enough that all threads end at about the same time. Source: `chunkSizeFor`.
    fn chunk_size(&self) -> usize {
        let count = self.end - self.begin;
        count.isqrt().min(count / self.threads.max(1) + 1).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn threads(threads: usize) -> Parallelism {
        Parallelism::exactly(threads, 8)
    }

    #[test]
    fn many_threads_find_what_one_finds() {
        let fits = |at: usize| (at * 7919) % 13 < 4;
        for count in [0, 1, 7, 8, 9, 100, 1000] {
            for enough in [1, 3, 20, 100, usize::MAX] {
                let found = |parallelism: Parallelism| {
                    let mut taken = Vec::new();
                    parallelism.each(
                        count,
                        enough,
                        |at| (at, fits(at)),
                        |(_, fits)| *fits,
                        |at, said| {
                            assert_eq!(at, said.0);
                            taken.push(said);
                        },
                    );
                    taken
                };
                let alone = found(threads(1));
                assert!(alone.iter().filter(|(_, fits)| *fits).count() <= enough);
                for several in [2, 4, 16] {
                    assert_eq!(found(threads(several)), alone, "{enough} of {count} by {several}");
                }
            }
        }
    }

    #[test]
    fn all_are_looked_at() {
        let squares: Vec<usize> = (0..1000).map(|at| at * at).collect();
        assert_eq!(threads(4).map(1000, |at| at * at), squares);
    }

    #[test]
    fn threads_start_where_they_are_worth_it() {
        let started = |count: usize, enough: usize| {
            let here = thread::current().id();
            let elsewhere = AtomicUsize::new(0);
            let look = |_: usize| {
                if thread::current().id() != here {
                    elsewhere.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                // So that the others have a chance.
                thread::yield_now();
            };
            threads(2).each(count, enough, look, |()| true, |_, ()| {});
            elsewhere.into_inner() > 0
        };
        assert!(!started(23, usize::MAX), "there is too little for two");
        assert!(!started(100_000, 8), "the first are enough");
        assert!(started(100_000, usize::MAX));
    }

    #[test]
    fn chunks_grow_with_the_root() {
        for (count, threads, expected) in [(0, 4, 1), (10, 4, 3), (100, 16, 7), (5000, 16, 70), (5000, 2, 70)] {
            assert_eq!(Shared { begin: 0, end: count, threads, missing: 1 }.chunk_size(), expected, "{count}");
        }
    }
}
