//! How many seats a request takes, and whether it keeps them for a while after its answer: a list of much takes more than
//! one of little, and a write to what many watch is followed by the work of telling them.
//! Source: `{list,mutating}_work_estimator.go` in `k8s.io/apiserver/pkg/util/flowcontrol/request`.

use std::{collections::HashMap, time::Duration};

use kubelab_store::State;

/// So many bytes a list may hold in memory for each of its seats. Source: `bytesPerSeat`.
const BYTES_PER_SEAT: u64 = 100_000;
/// A list that is sent piece by piece holds no more at once. Source: `cacheWithStreamingMaxMemoryUsage`.
const STREAMED_BYTES: u64 = 1_000_000;
/// So many watchers are told with one seat. Source: `watchesPerSeat`.
const WATCHERS_PER_SEAT: usize = 10;
/// So long it takes to tell them. Source: `eventAdditionalDuration`.
const TELLING: Duration = Duration::from_millis(5);
/// No write takes more seats. Source: `MaximumMutatingSeatsLimit`.
const MOST_OF_WRITE: usize = 10;

/// What a request takes of its level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Width {
    /// So many seats.
    pub seats: usize,
    /// It keeps them so long after its end.
    pub after: Duration,
}

impl Width {
    /// One seat, to the end.
    pub const ONE: Self = Self { seats: 1, after: Duration::ZERO };
}

/// What is stored of a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stored {
    /// So many objects.
    pub objects: u64,
    /// So many bytes together.
    pub bytes: u64,
}

/// What is stored of each resource, by topic.
pub fn stored(state: &State) -> HashMap<String, Stored> {
    let mut all: HashMap<String, Stored> = HashMap::new();
    for (key, entry) in state.iter() {
        let known = match all.get_mut(&*key.topic) {
            Some(known) => known,
            None => all.entry(key.topic.to_string()).or_default(),
        };
        known.objects += 1;
        known.bytes += entry.value.len() as u64;
    }
    all
}

/// A list, or a watch that begins with one: of no more than `limit` objects, where that is not 0.
pub fn of_list(stored: Stored, limit: u64, most: usize) -> Width {
    let shown = if limit == 0 { stored.objects } else { limit.min(stored.objects) };
    let average = stored.bytes.checked_div(stored.objects).unwrap_or_default();
    let held = shown.saturating_mul(average).min(STREAMED_BYTES);
    let seats = usize::try_from(held.div_ceil(BYTES_PER_SEAT)).unwrap_or(most);
    Width { seats: seats.clamp(1, most.max(1)), after: Duration::ZERO }
}

/// A write of which so many watchers are told.
pub fn of_write(watchers: usize, most: usize) -> Width {
    if watchers < WATCHERS_PER_SEAT {
        return Width::ONE;
    }
    let wanted = watchers.div_ceil(WATCHERS_PER_SEAT);
    let seats = wanted.min(MOST_OF_WRITE).min(most).max(1);
    // Fewer seats are kept for longer: the work is the same.
    Width { seats, after: TELLING.mul_f64(wanted as f64 / seats as f64) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_take_seats_by_what_they_hold() {
        let thousand = Stored { objects: 1000, bytes: 1_000_000 };
        for (stored, limit, most, seats) in [
            (Stored::default(), 0, 37, 1),
            (Stored { objects: 10, bytes: 10_000 }, 0, 37, 1),
            (thousand, 0, 37, 10),
            (thousand, 500, 37, 5),
            (thousand, 1, 37, 1),
            (thousand, 5000, 37, 10),
            (thousand, 0, 2, 2),
            // More is sent, but not held at once.
            (Stored { objects: 100_000, bytes: 100_000_000 }, 0, 37, 10),
        ] {
            assert_eq!(
                of_list(stored, limit, most),
                Width { seats, after: Duration::ZERO },
                "{stored:?} {limit} {most}"
            );
        }
    }

    #[test]
    fn writes_that_many_watch_keep_their_seats() {
        for (watchers, most, seats, millis) in
            [(0, 37, 1, 0), (9, 37, 1, 0), (10, 37, 1, 5), (25, 37, 3, 5), (1000, 37, 10, 50), (1000, 2, 2, 250)]
        {
            let after = Duration::from_millis(millis);
            assert_eq!(of_write(watchers, most), Width { seats, after }, "{watchers} {most}");
        }
    }
}
