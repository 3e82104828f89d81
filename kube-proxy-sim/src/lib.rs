//!
/// Placeholder until the component lands.
#[derive(clap::Args)]
pub struct Options {}
/// Placeholder until the component lands.
pub async fn run(_: Options) -> anyhow::Result<()> {
    unimplemented!()
}
