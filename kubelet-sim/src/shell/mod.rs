//! What runs inside a simulated container: a small shell with the common programs, on files of the pod's own.
//!
//! ```text
//! "date >> /log; sleep 5" ─► brush-parser ─► evaluate ─► programs ─► files   a folder per pod
//!                                              │  ▲                  streams  a client, a log, a file, another program
//!                                            expand: $NAME, $(…), *
//! ```
//!
//! | module | what it is |
//! | --- | --- |
//! | [`streams`] | where programs read from and write to |
//! | [`files`] | a container's files, and their bounds |
//! | [`world`] | what programs can find out about where they run |
//! | [`evaluate`], [`expand`] | commands, and the words they are made of |
//! | [`script`] | what the parser makes of a text |
//! | [`simple`] | commands without parts |
//! | [`loops`] | `for`, `while`, `until` |
//! | [`jobs`], [`traps`] | `&` and `wait`; signals and `trap` |
//! | [`redirect`], [`arithmetic`], [`arrays`], [`pattern`] | `>`, `$((…))`, `${items[1]}`, `*` |
//! | [`programs`] | the programs that are known |
//! | [`terminal`] | what a kernel's terminal does: echo, line editing, ^C |
//! | [`session`] | one run of a program, from `exec` or as a container's own |
//!
//! Invariants: no process is started and no file outside the pod's folder is touched. A program waits by the lab's clock
//! alone, and one that never waits is slowed down. Dropped, a run has ended.

mod arithmetic;
mod arrays;
pub mod evaluate;
mod expand;
pub mod files;
pub mod jobs;
mod loops;
pub mod pattern;
pub mod programs;
mod redirect;
pub mod script;
pub mod session;
mod simple;
pub mod streams;
pub mod terminal;
pub mod traps;
pub mod world;

#[cfg(test)]
mod examples;
#[cfg(test)]
pub(crate) mod tests;
