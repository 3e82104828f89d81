//! `kubelab status`

use clap::Args;
use comfy_table::{Table, presets};

use super::say;
use crate::{
    Which,
    supervisor::{
        control::{self, Command, Reply},
        status,
    },
};

/// Show a lab's processes and their roles
#[derive(Args)]
pub struct Status {
    #[command(flatten)]
    which: Which,
    /// Print JSON
    #[arg(long, short, value_parser = ["json"])]
    output: Option<String>,
}

impl Status {
    pub async fn run(self) -> anyhow::Result<()> {
        let layout = self.which.layout()?;
        layout.require()?;
        match control::call(&layout, &Command::Status).await? {
            Reply::Status(status) if self.output.is_some() => say(serde_json::to_string_pretty(&status)?)?,
            Reply::Status(status) => say(format_args!("{}\n{}", status.server, table(&status)))?,
            Reply::Done(words) | Reply::Refused(words) => anyhow::bail!(words),
        }
        Ok(())
    }
}

/// The processes as a table.
pub fn table(status: &status::Status) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["COMPONENT", "PID", "STATE", "ROLE", "RESTARTS"]);
    for component in &status.components {
        table.add_row([
            component.name.clone(),
            component.pid.map_or_else(|| "-".into(), |pid| pid.to_string()),
            component.state.to_string(),
            component.role.clone(),
            component.restarts.to_string(),
        ]);
    }
    table.lines().map(|line| line.trim_end().to_owned()).collect::<Vec<_>>().join("\n")
}
