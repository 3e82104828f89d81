//! How objects look.
