//! `kubelab down`

use std::fs;

use anyhow::Context;
use clap::Args;

use super::say;
use crate::{
    Which,
    supervisor::control::{Command, act},
};

/// Stop a lab; its data stays
#[derive(Args)]
pub struct Down {
    #[command(flatten)]
    which: Which,
    /// Remove the lab's data too
    #[arg(long)]
    delete: bool,
}

impl Down {
    pub async fn run(self) -> anyhow::Result<()> {
        let layout = self.which.layout()?;
        let running = layout.control_socket().exists();
        if !self.delete {
            layout.require()?;
        }
        match act(&layout, &Command::Down).await {
            Ok(words) => {
                layout.until_free().await?;
                say(words)?;
            }
            // A supervisor that was killed leaves its socket, and took its processes with it.
            Err(_) if self.delete || !running => {
                say(format_args!("the lab in {} is not running", layout.root().display()))?;
            }
            Err(error) => return Err(error),
        }
        if self.delete && layout.spec().exists() {
            fs::remove_dir_all(layout.root()).with_context(|| format!("cannot remove {}", layout.root().display()))?;
            say(format_args!("{} removed", layout.root().display()))?;
        }
        Ok(())
    }
}
