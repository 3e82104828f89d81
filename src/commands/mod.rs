//! The commands of `kubelab`, one a file.

pub mod act;
pub mod certificates;
pub mod down;
pub mod front_door;
pub mod healthy;
pub mod kubeconfig;
pub mod logs;
pub mod status;
pub mod up;
pub mod why;
