//! The group `events.k8s.io`: the core group's events under newer names.

pub mod event;
