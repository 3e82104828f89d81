//! The commands of `kubelab`, one a file.

pub mod act;
pub mod certificates;
pub mod down;
pub mod explain;
pub mod front_door;
pub mod healthy;
pub mod kubeconfig;
pub mod logs;
pub mod rules;
pub mod status;
pub mod up;
pub mod why;

use std::{
    fmt::Display,
    io::{self, Write},
};

/// Prints a line. Whoever reads it may have read enough (`kubelab status | head -1`); then the error ends the command,
/// quietly.
pub fn say(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
