//! Links `kubelab` so that little of it is resident. A lab is a dozen processes of this one file, and each counts what it
//! has mapped: at a fixed address nothing needs to be relocated at start (a private copy of every table of pointers), and
//! functions that came out identical (serde makes many) stand there once.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let target = |key: &str| env::var(format!("CARGO_CFG_TARGET_{key}")).unwrap_or_default();
    // There, rustc brings the linker that knows both.
    if target("ARCH") == "x86_64" && target("OS") == "linux" && target("ENV") == "gnu" {
        println!("cargo:rustc-link-arg-bins=-no-pie");
        println!("cargo:rustc-link-arg-bins=-Wl,--icf=all");
    }
}
