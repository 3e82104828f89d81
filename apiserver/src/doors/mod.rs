//! REST and gRPC: they translate, and decide nothing.
