//! What a stranger may send, given to the functions that read it first. Whatever the bytes are, none of them may panic,
//! recur deeper than a thread's stack, or take longer or more memory than the input explains.
//!
//! | function | the input |
//! | --- | --- |
//! | [`rest`] | a request: `METHOD path?query`, headers, an empty line, a body |
//! | [`json`], [`yaml`] | an object |
//! | [`protobuf`] | the same as protobuf, with or without the magic before it |
//! | [`patch`] | a media type, a line with an object, a line with the patch |
//! | [`selector`] | a label selector and a field selector, a line each |
//! | [`continue_token`] | a continue token, or the JSON within |
//! | [`cel`] | an expression, and behind an empty line the object that it is about |
//! | [`custom`] | a line with a definition, a line with an object of its kind |
//!
//! `fuzz/` runs them under libFuzzer, and `cargo test` replays `fuzz/seeds` with some mutations; they are compiled for
//! nothing else.
//!
//! What an accepted object must keep is asserted on the way: what was encoded decodes again, and to the same.

mod body;
mod expression;
mod ground;
mod kind;
pub mod mutate;
mod reading;
mod request;
#[cfg(test)]
mod tests;
mod writing;

pub use body::{json, protobuf, yaml};
pub use expression::cel;
pub use kind::custom;
pub use reading::{continue_token, selector};
pub use request::rest;
pub use writing::patch;

/// Every function, by the name of its target.
pub const TARGETS: [(&str, fn(&[u8])); 9] = [
    ("rest", rest),
    ("json", json),
    ("yaml", yaml),
    ("protobuf", protobuf),
    ("patch", patch),
    ("selector", selector),
    ("continue_token", continue_token),
    ("cel", cel),
    ("custom", custom),
];

/// The input up to a line's end, and what follows.
fn line(input: &[u8]) -> (&[u8], &[u8]) {
    match input.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&input[..end], &input[end + 1..]),
        None => (input, b""),
    }
}
