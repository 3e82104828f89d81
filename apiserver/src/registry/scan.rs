//! Finds places in JSON text without building values: more of [`kubelab_api::json`], under the same conditions.

use std::{borrow::Cow, collections::HashSet};

pub use kubelab_api::json::{at, member, members, text, without};
use kubelab_api::json::{string_end, unescape};

/// Lists and objects nest at most this deep. Source: `maxNestingDepth` of `sigs.k8s.io/json`.
pub const MAX_DEPTH: usize = 10_000;

/// Where the digits of `metadata.resourceVersion` go: between its quotes.
pub fn stamp_place(json: &[u8]) -> Option<u32> {
    let metadata = member(json, 0, "metadata")?;
    let version = member(json, metadata.start, "resourceVersion")?;
    u32::try_from(version.start + 1).ok()
}

/// An object with more keys than this is looked up by hash.
const LOOK_THROUGH: usize = 32;

/// A step from a value to one inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<'a> {
    /// A member of an object.
    Member(Cow<'a, str>),
    /// An element of a list.
    Element(usize),
}

/// A path as upstream writes it: `spec.containers[0].name`.
pub fn path_text(steps: &[Step]) -> String {
    let mut text = String::new();
    for step in steps {
        match step {
            Step::Member(name) => {
                if !text.is_empty() {
                    text.push('.');
                }
                text.push_str(name);
            }
            Step::Element(index) => text.push_str(&format!("[{index}]")),
        }
    }
    text
}

/// Lists or objects nest deeper than [`MAX_DEPTH`].
#[derive(Debug, PartialEq, Eq)]
pub struct TooDeep;

/// So many members that stand twice are looked at: most may be the same one.
const LOOKED_AT: usize = 10_000;

/// The paths of the members that stand twice, at most `limit` of them.
pub fn duplicates(json: &[u8], limit: usize) -> Result<Vec<String>, TooDeep> {
    let mut found = Vec::new();
    let mut looked_at = 0;
    Walk::new(json).run(&mut |walk| {
        looked_at += 1;
        if found.len() < limit && looked_at <= LOOKED_AT {
            let path = path_text(&walk.path());
            if !found.contains(&path) {
                found.push(path);
            }
        }
    })?;
    Ok(found)
}

/// The path of the value that stands at or around `offset`.
pub fn path_at(json: &[u8], offset: usize) -> Vec<Step<'_>> {
    let mut walk = Walk::new(json);
    walk.stop = offset;
    // A document too deep to walk has no path worth telling.
    let _ = walk.run(&mut |_| ());
    walk.path()
}

enum Frame<'a> {
    Object {
        /// Where its keys begin in the list of keys.
        first: usize,
        present: &'a [u8],
        /// All keys so far, once they are too many to look through.
        seen: Option<HashSet<Cow<'a, str>>>,
    },
    List(usize),
}

struct Walk<'a> {
    json: &'a [u8],
    frames: Vec<Frame<'a>>,
    keys: Vec<&'a [u8]>,
    stop: usize,
}

impl<'a> Walk<'a> {
    fn new(json: &'a [u8]) -> Self {
        Self { json, frames: Vec::new(), keys: Vec::new(), stop: json.len() }
    }

    /// Goes through the document until [`Walk::stop`], and tells of each key that its object already has.
    fn run(&mut self, on_duplicate: &mut dyn FnMut(&Self)) -> Result<(), TooDeep> {
        let mut at = 0;
        let mut expects_key = false;
        while at < self.stop {
            match self.json[at] {
                b'{' | b'[' if self.frames.len() == MAX_DEPTH => return Err(TooDeep),
                b'{' => {
                    self.frames.push(Frame::Object { first: self.keys.len(), present: b"", seen: None });
                    expects_key = true;
                    at += 1;
                }
                b'[' => {
                    self.frames.push(Frame::List(0));
                    expects_key = false;
                    at += 1;
                }
                b'}' | b']' => {
                    if let Some(Frame::Object { first, .. }) = self.frames.pop() {
                        self.keys.truncate(first);
                    }
                    expects_key = false;
                    at += 1;
                }
                b',' => {
                    expects_key = match self.frames.last_mut() {
                        Some(Frame::List(index)) => {
                            *index += 1;
                            false
                        }
                        frame => frame.is_some(),
                    };
                    at += 1;
                }
                b'"' => {
                    let Some(end) = string_end(self.json, at) else { return Ok(()) };
                    if expects_key {
                        if self.enter(&self.json[at + 1..end - 1]) {
                            on_duplicate(self);
                        }
                        expects_key = false;
                    } else if self.stop <= end {
                        return Ok(());
                    }
                    at = end;
                }
                _ => at += 1,
            }
        }
        Ok(())
    }

    /// Notes the key, and whether its object already has it.
    fn enter(&mut self, key: &'a [u8]) -> bool {
        let Some(Frame::Object { first, present, seen }) = self.frames.last_mut() else { return false };
        *present = key;
        if let Some(seen) = seen {
            return unescape(key).is_some_and(|key| !seen.insert(key));
        }
        let keys = &self.keys[*first..];
        let escaped = |key: &[u8]| key.contains(&b'\\');
        let same =
            |other: &&[u8]| *other == key || ((escaped(other) || escaped(key)) && unescape(other) == unescape(key));
        let twice = keys.iter().any(same);
        if keys.len() == LOOK_THROUGH {
            *seen = Some(keys.iter().copied().chain([key]).filter_map(unescape).collect());
        }
        self.keys.push(key);
        twice
    }

    fn path(&self) -> Vec<Step<'a>> {
        let step = |frame: &Frame<'a>| match frame {
            Frame::Object { present: b"", .. } => None,
            Frame::Object { present, .. } => unescape(present).map(Step::Member),
            Frame::List(index) => Some(Step::Element(*index)),
        };
        self.frames.iter().filter_map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_stamp_goes_into_the_top_level_metadata() {
        let cases = [
            (r#"{"metadata":{"resourceVersion":""}}"#, Some(32)),
            (
                r#"{"data":{"metadata":"{\"resourceVersion\":\"\"}"},"metadata":{"name":"a","resourceVersion":""}}"#,
                Some(92),
            ),
            (r#"{"data":{"metadata":{"resourceVersion":""}},"metadata":{"labels":{"resourceVersion":"x"}}}"#, None),
            (
                r#"{"data":{"a":"\\\"},\"metadata\""},"metadata":{"annotations":{"resourceVersion":""},"resourceVersion":""},"z":1}"#,
                Some(103),
            ),
            ("[]", None),
            ("", None),
            (r#"{"metadata"#, None),
        ];
        for (json, place) in cases {
            assert_eq!(stamp_place(json.as_bytes()), place, "{json}");
            if let Some(place) = place {
                assert_eq!(&json[place as usize - 1..][..2], "\"\"", "{json}");
            }
        }
    }

    #[test]
    fn members_that_stand_twice_are_found_where_they_stand() {
        let cases: [(&str, &[&str]); 6] = [
            (r#"{"a":1,"b":{"a":2}}"#, &[]),
            (r#"{"a":1,"a":2,"a":3}"#, &["a"]),
            (r#"{"spec":{"c":[{"x":1},{"x":1,"y":{},"x":2}]}}"#, &["spec.c[1].x"]),
            (r#"{"a":1,"\u0061":2}"#, &["a"]),
            (r#"{"a":"a","b":["b","b"],"c":{"c":"c"}}"#, &[]),
            (r#"{"a":{"x":1},"b":{"x":1},"x":2}"#, &[]),
        ];
        for (json, paths) in cases {
            assert_eq!(duplicates(json.as_bytes(), 10).unwrap(), paths, "{json}");
        }
    }

    #[test]
    fn a_large_object_is_walked_in_linear_time() {
        let members: Vec<_> = (0..100_000).map(|n| format!("\"k{n}\":0")).collect();
        let json = format!("{{{},\"k7\":1}}", members.join(","));
        assert_eq!(duplicates(json.as_bytes(), 10).unwrap(), ["k7"]);
    }

    #[test]
    fn depth_is_bounded() {
        let deep = "[".repeat(MAX_DEPTH + 1);
        assert_eq!(duplicates(deep.as_bytes(), 1), Err(TooDeep));
        assert_eq!(duplicates("[".repeat(MAX_DEPTH).as_bytes(), 1), Ok(vec![]));
    }

    #[test]
    fn the_path_of_an_offset() {
        let json = r#"{"spec":{"replicas":"x","list":[{"a":1},{"b":true}]}}"#;
        for (needle, path) in [("\"x\"", "spec.replicas"), ("true", "spec.list[1].b"), ("1}", "spec.list[0].a")] {
            let offset = json.find(needle).unwrap();
            assert_eq!(path_text(&path_at(json.as_bytes(), offset + 1)), path, "{needle}");
        }
    }
}
