//! `kubelab explain`

use anyhow::{Context, bail};
use clap::Args;
use comfy_table::{Table, presets};
use kubelab_client::{Client, process::Connection};
use kubelab_scheduler::{
    config::Configuration,
    explain::{self, Explanation, NodeExplanation},
};

use super::say;
use crate::{Which, lab::pki::Pki};

/// Tell why a pod goes to its node or to none: each node's verdicts and scores, as the scheduler would give them now
#[derive(Args)]
pub struct Explain {
    /// The pod, as kubectl names it: pod/web-7d4b9-x2x1
    object: String,
    /// The pod's namespace
    #[arg(long, short, default_value = "default")]
    namespace: String,
    /// Print JSON
    #[arg(long, short, value_parser = ["json"])]
    output: Option<String>,
    #[command(flatten)]
    which: Which,
}

impl Explain {
    pub async fn run(self) -> anyhow::Result<()> {
        let (kind, name) = self.object.split_once('/').context("name the pod as pod/NAME, such as pod/web-1")?;
        if !matches!(kind, "pod" | "pods" | "po") {
            bail!("only pods are scheduled: name one as pod/NAME");
        }
        let layout = self.which.layout()?;
        let spec = layout.require()?;
        let config = match layout.scheduler_config() {
            path if path.exists() => Configuration::read(&path)?,
            _ => Configuration::default(),
        };
        let pki = Pki::open(&layout.pki())?;
        let client = Client::new(&Connection {
            apiservers: vec![format!("https://127.0.0.1:{}", spec.port)],
            certificate_authority: pki.authority(),
            client_certificate: pki.certificate("admin"),
            client_key: pki.key("admin"),
        })?;
        let explanation = explain::explain_live(&client.with_agent("kubelab"), &config, &self.namespace, name).await?;
        match self.output {
            Some(_) => say(serde_json::to_string_pretty(&explanation)?)?,
            None => say(tell(&explanation))?,
        }
        Ok(())
    }
}

/// What holds for the pod, a table of the nodes with their scores, and why the others are out.
fn tell(explanation: &Explanation) -> String {
    let Explanation { pod, scheduler, bound_to, nominated, gated, message, nodes } = explanation;
    let state = match (bound_to, gated, nominated) {
        (Some(node), ..) => format!("runs on {node}; if it were scheduled again now:"),
        (None, Some(gated), _) => format!("is not looked at: {gated}; without that:"),
        (None, None, Some(node)) => format!("waits for room on {node}:"),
        (None, None, None) => "waits; as things are now:".to_owned(),
    };
    let mut story = format!("{pod} ({scheduler}) {state}\n\n");
    let fitting: Vec<&NodeExplanation> = nodes.iter().filter(|node| node.fits).collect();
    if !fitting.is_empty() {
        story += &scores(&fitting);
        story += "\n";
    }
    let out: Vec<&NodeExplanation> = nodes.iter().filter(|node| !node.fits).collect();
    if !out.is_empty() {
        story += &refusals(&out);
        story += "\n";
    }
    if let Some(message) = message {
        story += &format!("\n{message}\n");
    }
    story.trim_end().to_owned()
}

/// A row for each node that fits: `score×weight` by plugin, and the total.
fn scores(nodes: &[&NodeExplanation]) -> String {
    let plugins: Vec<&str> = nodes[0].scores.iter().map(|score| score.plugin).collect();
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    let header = ["NODE", "TOTAL"].into_iter().chain(plugins).map(str::to_owned);
    table.set_header(header);
    for node in nodes {
        let total = node.total.unwrap_or_default().to_string();
        let parts = node.scores.iter().map(|score| format!("{}×{}", score.score, score.weight));
        table.add_row([node.node.clone(), total].into_iter().chain(parts));
    }
    lines(&table)
}

/// A row for each reason that keeps the pod from a node.
fn refusals(nodes: &[&NodeExplanation]) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(["NODE", "PLUGIN", "WHY NOT"]);
    for node in nodes {
        let mut name = node.node.as_str();
        for (plugin, reason) in node.reasons() {
            table.add_row([name, plugin, reason]);
            name = "";
        }
    }
    lines(&table)
}

fn lines(table: &Table) -> String {
    table.lines().map(|line| line.trim_end().to_owned() + "\n").collect()
}

#[cfg(test)]
mod tests {
    use kubelab_scheduler::explain::{FilterVerdict, PluginScore};

    use super::*;

    #[test]
    fn a_table_shows_scores_and_another_why_not() {
        let verdict = |plugin, reason: Option<&str>| FilterVerdict {
            plugin,
            reason: reason.map(str::to_owned),
            resolvable: false,
        };
        let node = |node: &str, filters: Vec<FilterVerdict>, score: Option<i64>| NodeExplanation {
            node: node.into(),
            fits: score.is_some(),
            filters,
            scores: score
                .iter()
                .map(|score| PluginScore { plugin: "ImageLocality", score: *score, weight: 2 })
                .collect(),
            total: score.map(|score| 2 * score),
        };
        let told = tell(&Explanation {
            pod: "shop/web".into(),
            scheduler: "default-scheduler".into(),
            bound_to: None,
            nominated: None,
            gated: None,
            message: None,
            nodes: vec![
                node("a", vec![verdict("NodeName", None)], Some(40)),
                node("b", vec![verdict("NodeName", Some("no")), verdict("NodePorts", Some("taken"))], None),
            ],
        });
        let rows: Vec<Vec<&str>> = told.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(rows[0].join(" "), "shop/web (default-scheduler) waits; as things are now:");
        assert_eq!(rows[2], ["NODE", "TOTAL", "ImageLocality"]);
        assert_eq!(rows[3], ["a", "80", "40×2"]);
        assert_eq!(rows[5], ["NODE", "PLUGIN", "WHY", "NOT"]);
        assert_eq!(rows[6], ["b", "NodeName", "no"]);
        assert_eq!(rows[7], ["NodePorts", "taken"]);
    }
}
