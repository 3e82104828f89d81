//! Whether this apiserver can serve. Source: `k8s.io/apiserver/pkg/server/healthz`.

use std::{
    fmt::Write,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use http::{Response, StatusCode};
use kubelab_store::Member;
use tokio::sync::watch;

use super::{
    Body,
    rest::{answer, query::Query},
};

/// What a check asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// The process answers.
    Alive,
    /// The store has a leader.
    Leader,
    /// What every cluster has is there, and what keeps it there runs.
    Bootstrapped,
    /// It is not about to go away.
    Staying,
}

/// Where a check is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Place {
    Everywhere,
    /// Only for `/readyz`.
    Ready,
}

/// Upstream's checks, in its order. What upstream starts one by one begins here with the bootstrap, all at once.
const CHECKS: &[(&str, Asked, Place)] = &[
    ("ping", Asked::Alive, Place::Everywhere),
    ("log", Asked::Alive, Place::Everywhere),
    ("etcd", Asked::Leader, Place::Everywhere),
    ("etcd-readiness", Asked::Leader, Place::Ready),
    ("informer-sync", Asked::Bootstrapped, Place::Ready),
    ("poststarthook/start-apiserver-admission-initializer", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/generic-apiserver-start-informers", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/priority-and-fairness-config-consumer", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/priority-and-fairness-filter", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/storage-object-count-tracker-hook", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/start-apiextensions-informers", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/start-apiextensions-controllers", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/crd-informer-synced", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/start-system-namespaces-controller", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/start-cluster-authentication-info-controller", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/rbac/bootstrap-roles", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/scheduling/bootstrap-system-priority-classes", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/priority-and-fairness-config-producer", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/bootstrap-controller", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/start-kube-aggregator-informers", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/apiservice-status-local-available-controller", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/apiservice-status-remote-available-controller", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/apiservice-registration-controller", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/apiservice-discovery-controller", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/kube-apiserver-autoregistration", Asked::Bootstrapped, Place::Everywhere),
    ("autoregister-completion", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/apiservice-openapi-controller", Asked::Bootstrapped, Place::Everywhere),
    ("poststarthook/apiservice-openapiv3-controller", Asked::Bootstrapped, Place::Everywhere),
    ("shutdown", Asked::Staying, Place::Ready),
];

/// The names of a root's checks, and what they ask.
fn checks(root: &str) -> impl Iterator<Item = (&'static str, Asked)> {
    let ready = root == "readyz";
    CHECKS
        .iter()
        .filter(move |(_, _, place)| ready || *place == Place::Everywhere)
        .map(|(name, asked, _)| (*name, *asked))
}

/// What health is told from.
pub struct Health {
    member: watch::Receiver<Member>,
    bootstrapped: AtomicBool,
    leaving: AtomicBool,
}

impl Health {
    /// The health of the apiserver over this member of the store.
    pub fn new(member: watch::Receiver<Member>) -> Self {
        Self { member, bootstrapped: AtomicBool::new(false), leaving: AtomicBool::new(false) }
    }

    /// What every cluster has is there.
    pub fn set_bootstrapped(&self) {
        self.bootstrapped.store(true, Relaxed);
    }

    /// It is about to go away.
    pub fn set_leaving(&self) {
        self.leaving.store(true, Relaxed);
    }

    /// It can serve.
    pub fn ready(&self) -> bool {
        checks("readyz").all(|(_, asked)| self.passes(asked))
    }

    /// Each check with its root, and whether it passes: for `/metrics/slis`.
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &'static str, bool)> {
        ["healthz", "livez", "readyz"]
            .into_iter()
            .flat_map(move |root| checks(root).map(move |(name, asked)| (name, root, self.passes(asked))))
    }

    fn passes(&self, asked: Asked) -> bool {
        match asked {
            Asked::Alive => true,
            Asked::Leader => self.member.borrow().leader != 0,
            Asked::Bootstrapped => self.bootstrapped.load(Relaxed),
            Asked::Staying => !self.leaving.load(Relaxed),
        }
    }

    /// Answers `/livez`, `/readyz`, `/healthz` and the checks below them; `None` for every other path.
    pub fn answer(&self, path: &str, query: &Query) -> Option<Response<Body>> {
        let path = path.trim_start_matches('/');
        let (root, rest) = path.split_once('/').unwrap_or((path, ""));
        if !["healthz", "livez", "readyz"].contains(&root) {
            return None;
        }
        if rest.is_empty() {
            return Some(self.root(root, query));
        }
        let (_, asked) = checks(root).find(|(name, _)| *name == rest)?;
        if self.passes(asked) {
            return Some(answer::text(StatusCode::OK, "ok"));
        }
        let why = match asked {
            Asked::Leader => "etcd failed: the store has no leader",
            Asked::Staying => "process is shutting down",
            Asked::Alive | Asked::Bootstrapped => "not finished",
        };
        Some(answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {why}\n")))
    }

    fn root(&self, root: &str, query: &Query) -> Response<Body> {
        let mut excluded = query.all("exclude");
        excluded.sort_unstable();
        excluded.dedup();
        let mut unknown = excluded.clone();
        let mut lines = String::new();
        let mut passed = true;
        for (name, asked) in checks(root) {
            // Writing to a String cannot fail.
            let _ = if excluded.contains(&name) {
                unknown.retain(|other| *other != name);
                writeln!(lines, "[+]{name} excluded: ok")
            } else if self.passes(asked) {
                writeln!(lines, "[+]{name} ok")
            } else {
                passed = false;
                writeln!(lines, "[-]{name} failed: reason withheld")
            };
        }
        if !unknown.is_empty() {
            let names: Vec<String> = unknown.iter().map(|name| format!("{name:?}")).collect();
            let _ = writeln!(lines, "warn: some health checks cannot be excluded: no matches for {}", names.join(", "));
        }
        match passed {
            false => answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{root} check failed\n")),
            true if query.get("verbose").is_some() => {
                answer::text(StatusCode::OK, format!("{lines}{root} check passed\n"))
            }
            true => answer::text(StatusCode::OK, "ok"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use http_body_util::BodyExt;
    use kubelab_store::Role;

    use super::*;

    async fn ask(health: &Health, path: &str, query: &str) -> (u16, String) {
        let response = health.answer(path, &Query::parse(Some(query))).unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_needs_a_leader_and_the_bootstrap() {
        let member = Member {
            id: 1,
            role: Role::Candidate,
            leader: 0,
            term: 1,
            revision: 0,
            voters: vec![1],
            learners: vec![],
            disk_full: false,
        };
        let (sender, receiver) = watch::channel(member);
        let health = Health::new(receiver);
        assert_eq!(ask(&health, "/livez/ping", "").await, (200, "ok".into()));
        assert_eq!(ask(&health, "/livez", "").await.0, 500, "upstream's liveness asks the store too");
        let (status, text) = ask(&health, "/readyz", "").await;
        assert_eq!(status, 500);
        assert!(text.contains("[-]etcd failed: reason withheld\n"), "{text}");
        assert!(text.ends_with("readyz check failed\n"), "{text}");

        sender.send_modify(|member| member.leader = 1);
        assert_eq!(ask(&health, "/readyz/etcd", "").await, (200, "ok".into()));
        let unfinished = ask(&health, "/readyz/poststarthook/rbac/bootstrap-roles", "").await;
        assert_eq!(unfinished, (500, "internal server error: not finished\n".into()));
        health.set_bootstrapped();
        assert_eq!(ask(&health, "/readyz", "").await, (200, "ok".into()));
        let (_, text) = ask(&health, "/readyz", "verbose").await;
        assert!(
            text.starts_with("[+]ping ok\n[+]log ok\n[+]etcd ok\n[+]etcd-readiness ok\n")
                && text.ends_with("readyz check passed\n"),
            "{text}"
        );

        health.set_leaving();
        assert_eq!(ask(&health, "/readyz", "").await.0, 500);
        assert_eq!(ask(&health, "/healthz", "").await.0, 200);
        assert_eq!(ask(&health, "/readyz", "exclude=shutdown").await.0, 200);
        let (_, text) = ask(&health, "/livez", "verbose&exclude=etcd&exclude=none").await;
        assert!(text.contains("[+]etcd excluded: ok\n"), "{text}");
        let warning = "warn: some health checks cannot be excluded: no matches for \"none\"\nlivez check passed\n";
        assert!(text.ends_with(warning), "{text}");
        assert!(health.answer("/livez/shutdown", &Query::default()).is_none(), "only readiness asks that");
        assert!(health.answer("/version", &Query::default()).is_none());
    }
}
