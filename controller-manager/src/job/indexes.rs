//! Sets of completion indexes, as a job's status writes them: `0,3-5,7`.
//! Source: `indexed_job_utils.go` in Kubernetes, whose text form clients see.

use std::{collections::BTreeSet, fmt};

/// A set of indexes: ordered intervals (first and last index, both in the set) with gaps between them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indexes(Vec<(i32, i32)>);

impl Indexes {
    /// Reads what a status or a policy says. Indexes that are not below `completions` are left out, and so is what is no
    /// index at all.
    pub fn parse(text: &str, completions: i32) -> Self {
        let interval = |part: &str| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (i32, i32) = (first.parse().ok()?, last.parse().ok()?);
            (0 <= first && first <= last && first < completions).then(|| (first, last.min(completions - 1)))
        };
        Self::of(text.split(',').filter_map(interval))
    }

    fn of(intervals: impl IntoIterator<Item = (i32, i32)>) -> Self {
        let mut intervals: Vec<_> = intervals.into_iter().collect();
        intervals.sort_unstable();
        let mut merged: Vec<(i32, i32)> = Vec::with_capacity(intervals.len());
        for (first, last) in intervals {
            match merged.last_mut() {
                Some((_, end)) if first <= end.saturating_add(1) => *end = (*end).max(last),
                _ => merged.push((first, last)),
            }
        }
        Self(merged)
    }

    /// This set and these indexes.
    #[must_use]
    pub fn with(&self, indexes: impl IntoIterator<Item = i32>) -> Self {
        Self::of(self.0.iter().copied().chain(indexes.into_iter().map(|index| (index, index))))
    }

    /// This set and another.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        Self::of(self.0.iter().chain(&other.0).copied())
    }

    /// It holds no index.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// It holds this index.
    pub fn has(&self, index: i32) -> bool {
        let at = self.0.partition_point(|(_, last)| *last < index);
        self.0.get(at).is_some_and(|(first, _)| *first <= index)
    }

    /// How many indexes it holds.
    pub fn total(&self) -> i32 {
        self.0.iter().map(|(first, last)| last - first + 1).sum()
    }

    /// How many indexes it shares with another.
    pub fn shared(&self, other: &Self) -> i32 {
        let (mut mine, mut theirs) = (self.0.iter().peekable(), other.0.iter().peekable());
        let mut shared = 0;
        while let (Some((first, last)), Some((other_first, other_last))) = (mine.peek(), theirs.peek()) {
            shared += (last.min(other_last) - first.max(other_first) + 1).max(0);
            if last <= other_last {
                mine.next();
            } else {
                theirs.next();
            }
        }
        shared
    }

    /// The `count` lowest indexes below `completions` that it does not hold; fewer where there are none.
    pub fn first_missing(&self, count: usize, completions: i32) -> Vec<i32> {
        let mut missing = Vec::new();
        let mut candidate = 0;
        for (first, last) in self.0.iter().copied().chain([(completions, completions)]) {
            let room = count - missing.len();
            missing.extend((candidate..first.min(completions)).take(room));
            candidate = candidate.max(last.saturating_add(1));
        }
        missing
    }
}

impl FromIterator<i32> for Indexes {
    fn from_iter<T: IntoIterator<Item = i32>>(indexes: T) -> Self {
        let indexes: BTreeSet<i32> = indexes.into_iter().collect();
        Self::of(indexes.into_iter().map(|index| (index, index)))
    }
}

/// Two neighbours are written apart (`3,4`), three or more as a range (`3-5`).
impl fmt::Display for Indexes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.0.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            match last - first {
                0 => write!(f, "{comma}{first}")?,
                1 => write!(f, "{comma}{first},{last}")?,
                _ => write!(f, "{comma}{first}-{last}")?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_is_read_and_written() {
        for (text, completions, written, total) in [
            ("", 10, "", 0),
            ("0", 10, "0", 1),
            ("0,1", 10, "0,1", 2),
            ("0-2", 10, "0-2", 3),
            ("0-1,2", 10, "0-2", 3),
            ("1,3-5,7", 10, "1,3-5,7", 5),
            ("1,3-5,7", 5, "1,3,4", 3),
            ("1,x,4", 10, "1,4", 2),
            ("8-3", 10, "", 0),
        ] {
            let indexes = Indexes::parse(text, completions);
            assert_eq!((indexes.to_string().as_str(), indexes.total()), (written, total), "{text} of {completions}");
        }
    }

    #[test]
    fn indexes_join_their_neighbours() {
        let indexes = Indexes::parse("1,3-5", 20);
        assert_eq!(indexes.with([2]).to_string(), "1-5");
        assert_eq!(indexes.with([6, 0, 9]).to_string(), "0,1,3-6,9");
        assert_eq!(indexes.and(&Indexes::parse("4-8,10", 20)).to_string(), "1,3-8,10");
        assert_eq!(indexes.with([]), indexes);
        for (index, expected) in [(0, false), (1, true), (2, false), (3, true), (5, true), (6, false)] {
            assert_eq!(indexes.has(index), expected, "{index}");
        }
    }

    #[test]
    fn shared_indexes_are_counted() {
        for (one, other, shared) in
            [("0-9", "3-5,8", 4), ("0,2,4", "1,3,5", 0), ("", "1", 0), ("0-2,4-6", "2-4", 2), ("1-3", "1-3", 3)]
        {
            let (one, other) = (Indexes::parse(one, 20), Indexes::parse(other, 20));
            assert_eq!((one.shared(&other), other.shared(&one)), (shared, shared), "{one} and {other}");
        }
    }

    #[test]
    fn what_is_missing_is_found_in_order() {
        for (text, count, completions, expected) in [
            ("", 2, 5, vec![0, 1]),
            ("0,2", 2, 5, vec![1, 3]),
            ("0-3", 2, 5, vec![4]),
            ("0-4", 2, 5, vec![]),
            ("3-4", 10, 5, vec![0, 1, 2]),
            ("1", 0, 5, vec![]),
        ] {
            let missing = Indexes::parse(text, completions).first_missing(count, completions);
            assert_eq!(missing, expected, "{count} beside {text}");
        }
    }
}
