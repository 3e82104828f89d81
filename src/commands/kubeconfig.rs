//! `kubelab kubeconfig`

use anyhow::Context;
use clap::Args;

use super::say;
use crate::Which;

/// Print a lab's kubeconfig
#[derive(Args)]
pub struct Kubeconfig {
    #[command(flatten)]
    which: Which,
    /// Print only where the file is
    #[arg(long)]
    path: bool,
}

impl Kubeconfig {
    pub fn run(self) -> anyhow::Result<()> {
        let layout = self.which.layout()?;
        layout.require()?;
        let path = layout.kubeconfig();
        if self.path {
            say(path.display())?;
        } else {
            let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
            say(text.trim_end())?;
        }
        Ok(())
    }
}
