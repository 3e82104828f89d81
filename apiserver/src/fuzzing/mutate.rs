//! Changes to an input that leave much of it as it was, so that it gets past the first check more often than noise does.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::{Value, json};

/// What has a meaning somewhere.
const WORDS: [&[u8]; 28] = [
    b"\0",
    b"\n",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"null",
    b"true",
    b"-1",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"1e400",
    b"0.1",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"&a *a",
    b"!!binary ",
    b"$patch",
    b"$setElementOrder/",
    b"k:{\"name\":\"a\"}",
    b"\xff",
    b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    "é".as_bytes(),
    b"..",
    b"~1",
];

/// A run of a byte that opens something is at most so long.
const RUN: usize = 2_000;
/// An input grows to at most so many bytes.
const LARGEST: usize = 64 * 1024;

/// Changes the input a little. The same seed makes the same change; `other` is an input to take pieces from.
pub fn mutate(input: &mut Vec<u8>, other: &[u8], seed: u64) {
    let mut random = StdRng::seed_from_u64(seed);
    for _ in 0..random.random_range(1..=3) {
        if !(random.random_bool(0.6) && change_json(input, &mut random)) {
            change_bytes(input, other, &mut random);
        }
    }
    input.truncate(LARGEST);
}

fn change_bytes(input: &mut Vec<u8>, other: &[u8], random: &mut StdRng) {
    let at = random.random_range(0..=input.len());
    let end = (at + random.random_range(0..16)).min(input.len());
    match random.random_range(0..7) {
        0 => drop(input.drain(at..end)),
        1 => drop(input.splice(at..end, WORDS[random.random_range(0..WORDS.len())].iter().copied())),
        2 => input.truncate(at),
        3 => {
            let opening = b"[{(!-.\x0a&<"[random.random_range(0..9)];
            drop(input.splice(at..at, vec![opening; random.random_range(1..RUN)]));
        }
        4 => {
            let piece = input[at..end].repeat(random.random_range(1..64));
            drop(input.splice(at..at, piece));
        }
        5 if !other.is_empty() => {
            let from = random.random_range(0..other.len());
            let piece = &other[from..(from + 64).min(other.len())];
            drop(input.splice(at..end, piece.iter().copied()));
        }
        _ => {
            for byte in &mut input[at..end] {
                *byte ^= 1 << random.random_range(0..8);
            }
        }
    }
}

/// Puts something else in the place of a value in a line that is JSON; `false` where there is none.
fn change_json(input: &mut Vec<u8>, random: &mut StdRng) -> bool {
    let lines: Vec<&[u8]> = input.split(|byte| *byte == b'\n').collect();
    let parsed =
        |line: &[u8]| line.first().is_some_and(|byte| b"{[".contains(byte)).then(|| serde_json::from_slice(line));
    let mut found: Vec<(usize, Value)> = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        found.extend(parsed(line).and_then(Result::ok).map(|value| (at, value)));
    }
    if found.is_empty() {
        return false;
    }
    let (at, mut value) = found.swap_remove(random.random_range(0..found.len()));
    let chosen = random.random_range(0..count(&value));
    let new = interesting(random);
    replace(&mut value, chosen, &mut 0, new);
    let changed = value.to_string().into_bytes();
    let mut lines: Vec<Vec<u8>> = lines.into_iter().map(<[u8]>::to_vec).collect();
    lines[at] = changed;
    *input = lines.join(&b'\n');
    true
}

fn interesting(random: &mut StdRng) -> Value {
    match random.random_range(0..20) {
        0 => Value::Null,
        1 => json!(true),
        2 => json!(0),
        3 => json!(-1),
        4 => json!(i64::MAX),
        5 => json!(i64::MIN),
        6 => json!(u64::MAX),
        7 => json!(1e308),
        8 => json!(0.1),
        9 => json!(""),
        10 => json!("a".repeat(300)),
        11 => json!("é/..\u{0}%"),
        12 => json!("2026-02-30T25:61:61Z"),
        13 => json!("-9223372036854775809e99Ki"),
        14 => json!("(a{1000}){1000}"),
        15 => json!([]),
        16 => json!({}),
        17 => json!([null, {}, [], ""]),
        18 => (0..100).fold(json!(1), |inner, _| json!([inner])),
        _ => (0..100).fold(json!(1), |inner, _| json!({"a": inner})),
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(elements) => elements.iter().map(count).sum(),
        Value::Object(fields) => fields.values().map(count).sum(),
        _ => 0,
    }
}

fn replace(value: &mut Value, chosen: usize, at: &mut usize, new: Value) -> Option<Value> {
    if *at == chosen {
        *value = new;
        return None;
    }
    *at += 1;
    let within: &mut dyn Iterator<Item = &mut Value> = match value {
        Value::Array(elements) => &mut elements.iter_mut(),
        Value::Object(fields) => &mut fields.values_mut(),
        _ => return Some(new),
    };
    within.try_fold(new, |new, value| replace(value, chosen, at, new))
}

/// Changes the first `size` bytes of `data`, and says how many there are then: as libFuzzer asks for it. Every other time
/// `native`, which knows what led further, makes the change.
pub fn in_place(
    data: &mut [u8],
    size: usize,
    max_size: usize,
    seed: u32,
    native: fn(&mut [u8], usize, usize) -> usize,
) -> usize {
    if seed.is_multiple_of(2) {
        return native(data, size, max_size);
    }
    let mut input = data[..size].to_vec();
    mutate(&mut input, b"", seed.into());
    input.truncate(max_size);
    data[..input.len()].copy_from_slice(&input);
    input.len()
}
