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

/// What can be asked after.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    /// The process answers.
    Ping,
    /// The store has a leader. Named as upstream names its store.
    Etcd,
    /// The roles and namespaces that every cluster has are there.
    Bootstrap,
    /// It is not about to go away.
    Shutdown,
}

impl Check {
    const LIVE: &[Check] = &[Check::Ping];
    const HEALTHY: &[Check] = &[Check::Ping, Check::Etcd, Check::Bootstrap];
    const READY: &[Check] = &[Check::Ping, Check::Etcd, Check::Bootstrap, Check::Shutdown];

    fn name(self) -> &'static str {
        match self {
            Check::Ping => "ping",
            Check::Etcd => "etcd",
            Check::Bootstrap => "poststarthook/rbac/bootstrap-roles",
            Check::Shutdown => "shutdown",
        }
    }
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
        Check::READY.iter().all(|check| self.passes(*check))
    }

    fn passes(&self, check: Check) -> bool {
        match check {
            Check::Ping => true,
            Check::Etcd => self.member.borrow().leader != 0,
            Check::Bootstrap => self.bootstrapped.load(Relaxed),
            Check::Shutdown => !self.leaving.load(Relaxed),
        }
    }

    /// Answers `/livez`, `/readyz`, `/healthz` and the checks below them; `None` for every other path.
    pub fn answer(&self, path: &str, query: &Query) -> Option<Response<Body>> {
        let (name, rest) = path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
        let checks = match name {
            "livez" => Check::LIVE,
            "healthz" => Check::HEALTHY,
            "readyz" => Check::READY,
            _ => return None,
        };
        if rest.is_empty() {
            return Some(self.root(name, checks, query));
        }
        let check = checks.iter().find(|check| check.name() == rest)?;
        Some(if self.passes(*check) {
            answer::text(StatusCode::OK, "ok")
        } else {
            answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {rest} is not ready\n"))
        })
    }

    fn root(&self, name: &str, checks: &[Check], query: &Query) -> Response<Body> {
        let excluded = query.all("exclude");
        let mut lines = String::new();
        let mut passed = true;
        for check in checks {
            let check_name = check.name();
            // Writing to a String cannot fail.
            let _ = if excluded.contains(&check_name) {
                writeln!(lines, "[+]{check_name} excluded: ok")
            } else if self.passes(*check) {
                writeln!(lines, "[+]{check_name} ok")
            } else {
                passed = false;
                writeln!(lines, "[-]{check_name} failed: reason withheld")
            };
        }
        match passed {
            false => answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("{lines}{name} check failed\n")),
            true if query.get("verbose").is_some() => {
                answer::text(StatusCode::OK, format!("{lines}{name} check passed\n"))
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
        assert_eq!(ask(&health, "/livez", "").await, (200, "ok".into()));
        let (status, text) = ask(&health, "/readyz", "").await;
        assert_eq!(status, 500);
        assert!(text.contains("[-]etcd failed: reason withheld\n"), "{text}");
        assert!(text.ends_with("readyz check failed\n"), "{text}");

        sender.send_modify(|member| member.leader = 1);
        assert_eq!(ask(&health, "/readyz/etcd", "").await, (200, "ok".into()));
        assert_eq!(ask(&health, "/readyz/poststarthook/rbac/bootstrap-roles", "").await.0, 500);
        health.set_bootstrapped();
        assert_eq!(ask(&health, "/readyz", "").await, (200, "ok".into()));
        let (_, text) = ask(&health, "/readyz", "verbose").await;
        assert!(text.starts_with("[+]ping ok\n[+]etcd ok\n") && text.ends_with("readyz check passed\n"), "{text}");

        health.set_leaving();
        assert_eq!(ask(&health, "/readyz", "").await.0, 500);
        assert_eq!(ask(&health, "/healthz", "").await.0, 200);
        assert_eq!(ask(&health, "/readyz", "exclude=shutdown").await.0, 200);
        assert!(health.answer("/version", &Query::default()).is_none());
    }
}
