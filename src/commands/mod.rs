//! The commands of `kubelab`, one a file.

pub mod act;
pub mod down;
pub mod kubeconfig;
pub mod logs;
pub mod status;
pub mod up;
pub mod why;
