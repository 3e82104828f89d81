//! What every request passes, whichever door it came through.

pub mod request;

pub use request::{Answer, Body, List, ListOptions, Options, Request, Response, User, Verb};
