//! A watch as a stream of JSON lines, or of protobuf frames. Source: `k8s.io/apiserver/pkg/endpoints/handlers/watch.go`.

use std::time::Duration;

use bytes::Bytes;
use futures::{Stream, stream};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use rand::RngExt;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shape::Shape;
use crate::{
    corridor::ListOptions,
    doors::{Body, BoxError},
    metrics::Watching,
    registry::watch::{Watch, WatchBatch},
};

/// How often a watcher that allows bookmarks gets one. Source: `defaultBookmarkFrequency` in
/// `k8s.io/apiserver/pkg/storage/cacher`.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// And one so long before the watch ends, to resume from. Source: `nextBookmarkTime`.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// A watcher that was told something is told the next at the soonest after this, with all that came meanwhile. One that
/// waited long is told at once.
const PACE: Duration = Duration::from_millis(3);
/// The more watchers of a resource there are, the longer it is: a telling costs some 50 µs, however much is told, so all of
/// them together take a quarter of one processor at most.
const PACE_FOR_EACH: Duration = Duration::from_micros(200);
const LONGEST_PACE: Duration = Duration::from_millis(25);

/// A watch without a timeout of its own lasts this long, and up to twice as long, so that not all end at once.
/// Source: `--min-request-timeout`.
const MIN_LIFE: Duration = Duration::from_secs(1800);

struct Lines {
    watch: Watch,
    shape: Shape,
    bookmarks: bool,
    /// The caller waits for the bookmark that ends the initial state.
    awaits_initial: bool,
    first: bool,
    ends: Instant,
    /// Nothing is sent before.
    next_send: Instant,
    /// `None` once the last one is due no more.
    next_bookmark: Option<Instant>,
    shutdown: CancellationToken,
    over: bool,
    watching: Watching,
}

/// The body of a watch's answer. It ends after its time, and when the server shuts down.
pub fn body(
    watch: Watch,
    shape: Shape,
    options: &ListOptions,
    shutdown: CancellationToken,
    watching: Watching,
) -> Body {
    let now = Instant::now();
    let life = options
        .timeout_seconds
        .filter(|seconds| *seconds > 0)
        .map_or_else(|| MIN_LIFE.mul_f64(1.0 + rand::rng().random::<f64>()), Duration::from_secs);
    let lines = Lines {
        watch,
        shape,
        bookmarks: options.allow_bookmarks,
        awaits_initial: options.send_initial_events == Some(true),
        first: true,
        ends: now + life,
        next_send: now,
        next_bookmark: next_bookmark(now, now + life),
        shutdown,
        over: false,
        watching,
    };
    StreamBody::new(frames(lines)).boxed_unsync()
}

/// How soon one of so many watchers is told again.
fn pace(watchers: u32) -> Duration {
    PACE_FOR_EACH.saturating_mul(watchers).clamp(PACE, LONGEST_PACE)
}

/// In a minute, or shortly before the end.
fn next_bookmark(now: Instant, ends: Instant) -> Option<Instant> {
    let last = ends.checked_sub(BOOKMARK_BEFORE_END).filter(|last| *last > now)?;
    Some(last.min(now + BOOKMARK_EVERY))
}

fn frames(lines: Lines) -> impl Stream<Item = Result<Frame<Bytes>, BoxError>> + Send {
    stream::unfold(lines, |mut lines| async move {
        loop {
            if lines.over {
                return None;
            }
            let idle = lines.next_bookmark.map_or(BOOKMARK_EVERY, |at| at.saturating_duration_since(Instant::now()));
            let told = async {
                tokio::time::sleep_until(lines.next_send).await;
                lines.watch.next(idle).await
            };
            let next = tokio::select! {
                next = told => next?,
                () = tokio::time::sleep_until(lines.ends) => return None,
                () = lines.shutdown.cancelled() => return None,
            };
            let bytes = match next {
                Ok(batch) => {
                    // The initial state goes as fast as it can.
                    if batch.revision > 0 {
                        lines.next_send = Instant::now() + pace(lines.watching.crowd());
                    }
                    lines.write(&batch)
                }
                Err(error) => {
                    lines.over = true;
                    lines.shape.failure(&error)
                }
            };
            if !bytes.is_empty() {
                return Some((Ok(Frame::data(bytes.into())), lines));
            }
        }
    })
}

impl Lines {
    fn write(&mut self, batch: &WatchBatch) -> Vec<u8> {
        let size: usize = batch.events.iter().map(|event| event.json.len() + 64).sum();
        let mut out = Vec::with_capacity(size);
        for event in &batch.events {
            self.shape.write_event(event.event_type, &event.json, self.first, &mut out);
            self.first = false;
        }
        self.watching.sent(batch.events.len());
        let initial = self.awaits_initial && batch.synced;
        self.awaits_initial &= !batch.synced;
        let now = Instant::now();
        let due = self.next_bookmark.is_some_and(|at| now >= at);
        // Before the initial state is complete there is nothing to resume from.
        if self.bookmarks && batch.revision > 0 && (initial || due) {
            self.shape.write_bookmark(batch.revision, initial, self.first, &mut out);
        }
        if initial || due {
            self.next_bookmark = next_bookmark(now, self.ends);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crowd_is_told_less_often() {
        let paces = [1, 15, 100, 10_000].map(|watchers| pace(watchers).as_millis());
        assert_eq!(paces, [3, 3, 20, 25]);
    }

    #[test]
    fn bookmarks_come_each_minute_and_before_the_end() {
        let now = Instant::now();
        let after = |seconds| Duration::from_secs(seconds);
        for (life, wanted) in [(1_800, Some(60)), (30, Some(28)), (3, Some(1)), (2, None), (1, None)] {
            assert_eq!(next_bookmark(now, now + after(life)), wanted.map(|at| now + after(at)), "{life}");
        }
    }
}
