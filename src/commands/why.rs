//! `kubelab why`

use anyhow::{Context, bail};
use clap::Args;
use kubelab_api::resource;
use kubelab_proto::flow::{Hop, WhyRequest, flow_client::FlowClient};

use super::say;
use crate::{Which, front_door::Credentials, lab::pki::Pki};

/// Tell why an object is as it is, back to the command that began it
#[derive(Args)]
pub struct Why {
    /// The object, as kubectl names it: pod/web-7d4b9-x2x1
    object: String,
    /// The object's namespace
    #[arg(long, short, default_value = "default")]
    namespace: String,
    #[command(flatten)]
    which: Which,
}

impl Why {
    pub async fn run(self) -> anyhow::Result<()> {
        let (kind, name) = self.object.split_once('/').context("name the object as KIND/NAME, such as pod/web-1")?;
        let Some(resource) = resource::named(kind) else {
            bail!("there is no kind {kind:?}; `kubectl api-resources` lists them");
        };
        let layout = self.which.layout()?;
        let spec = layout.require()?;
        let pki = Pki::open(&layout.pki())?;
        let credentials = Credentials::read(&pki.authority(), &pki.certificate("admin"), &pki.key("admin"))?;
        let channel = credentials.channel(&format!("127.0.0.1:{}", spec.port))?;
        let namespace = if resource.namespaced { self.namespace } else { String::new() };
        let request = WhyRequest {
            group: resource.group.to_string(),
            resource: resource.plural.to_string(),
            namespace,
            name: name.to_owned(),
        };
        let reply = FlowClient::new(channel).why(request).await;
        let reply = reply.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner();
        if reply.hops.is_empty() {
            bail!("nothing is remembered of {}; is the name right, and the namespace (-n)?", self.object);
        }
        if reply.truncated {
            say("… (what came before is forgotten)")?;
        }
        Ok(say(tell(&reply.hops).trim_end_matches('\n'))?)
    }
}

/// The hops as a story: one line each, indented below what caused it, with the time since the first.
fn tell(hops: &[Hop]) -> String {
    let begin = hops.iter().map(|hop| hop.time_us).min().unwrap_or_default();
    let mut depths: Vec<(u64, usize)> = Vec::new();
    let mut story = String::new();
    for hop in hops {
        let cause = depths.iter().find(|(revision, _)| *revision == hop.cause);
        let depth = cause.map_or(0, |(_, depth)| depth + 1);
        depths.push((hop.revision, depth));
        let place = if hop.namespace.is_empty() { String::new() } else { format!("{}/", hop.namespace) };
        let agent = hop.agent.split(' ').next().unwrap_or_default();
        let note = if hop.note.is_empty() { String::new() } else { format!(": {}", hop.note) };
        let branch = if depth == 0 { String::new() } else { format!("{}└─ ", "   ".repeat(depth - 1)) };
        story.push_str(&format!(
            "{:>9.3} ms  r{:<6} {branch}{agent} {} {}/{place}{}{note}  ({})\n",
            (hop.time_us - begin) as f64 / 1000.0,
            hop.revision,
            hop.verb,
            hop.resource,
            hop.name,
            hop.user,
        ));
    }
    story
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_story_goes_from_the_command_to_the_node() {
        let hop = |revision, cause, agent: &str, verb: &str, resource: &str, name: &str, note: &str| Hop {
            revision,
            cause,
            agent: agent.into(),
            verb: verb.into(),
            resource: resource.into(),
            namespace: "default".into(),
            name: name.into(),
            note: note.into(),
            user: "u".into(),
            time_us: revision * 1000,
            ..Hop::default()
        };
        let story = tell(&[
            hop(10, 0, "kubectl/v1.33.0 (linux)", "create", "deployments", "web", ""),
            hop(11, 10, "kube-controller-manager", "create", "replicasets", "web-1", ""),
            hop(12, 11, "kube-controller-manager", "create", "pods", "web-1-x", ""),
            hop(13, 12, "kube-scheduler", "create/binding", "pods", "web-1-x", "bound to node-2"),
        ]);
        let lines: Vec<_> = story.lines().collect();
        assert_eq!(lines[0], "    0.000 ms  r10     kubectl/v1.33.0 create deployments/default/web  (u)");
        assert_eq!(
            lines[3],
            "    3.000 ms  r13           └─ kube-scheduler create/binding pods/default/web-1-x: bound to node-2  (u)"
        );
    }
}
