//! Generates the gRPC code from `proto/*.proto`. protox compiles them, so no `protoc` is needed.

use std::path::Path;

const CONTRACTS: [&str; 5] = ["objects.proto", "flow.proto", "raft.proto", "node.proto", "health.proto"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = Path::new("proto");
    println!("cargo:rerun-if-changed=proto");
    let contracts = protox::compile(CONTRACTS.map(|name| folder.join(name)), [folder])?;
    tonic_prost_build::configure().bytes(".").compile_fds(contracts)?;
    Ok(())
}
