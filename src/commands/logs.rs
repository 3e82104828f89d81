//! `kubelab logs`

use std::{
    io::{ErrorKind, SeekFrom},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use tokio::{
    fs::File,
    io::{AsyncReadExt, AsyncSeekExt, AsyncWriteExt, stdout},
};

use crate::Which;

/// Show what a component says
#[derive(Args)]
pub struct Logs {
    /// The component: apiserver-1, scheduler-1, kubelet-2, supervisor, …
    component: String,
    /// Go on with what it says next
    #[arg(long, short)]
    follow: bool,
    #[command(flatten)]
    which: Which,
}

impl Logs {
    pub async fn run(self) -> anyhow::Result<()> {
        let layout = self.which.layout()?;
        layout.require()?;
        let path = layout.log_of(&self.component);
        let mut file = match File::open(&path).await {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let folder = path.parent().context("a log lies in a folder")?;
                let mut known: Vec<_> = std::fs::read_dir(folder)?
                    .filter_map(|entry| Some(entry.ok()?.path().file_stem()?.to_str()?.to_owned()))
                    .collect();
                known.sort();
                bail!("there is no component {:?} in this lab; there are: {}", self.component, known.join(", "));
            }
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        let mut buffer = vec![0; 64 * 1024];
        loop {
            let read = file.read(&mut buffer).await?;
            if read > 0 {
                stdout().write_all(&buffer[..read]).await?;
                continue;
            }
            stdout().flush().await?;
            if !self.follow {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
            let position = file.stream_position().await?;
            if file.metadata().await?.len() < position {
                file.seek(SeekFrom::Start(0)).await?;
            }
        }
    }
}
