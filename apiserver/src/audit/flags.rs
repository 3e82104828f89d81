//! The flags of the audit log, under upstream's names.

use std::{fs, path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::Args;

use super::{
    Audit,
    log::{Log, Place},
    policy::Policy,
};

/// What is recorded, and where.
#[derive(Args, Clone, Debug)]
pub struct Flags {
    /// What is recorded in the audit log: a Policy of audit.k8s.io/v1 (YAML)
    #[arg(long, requires = "audit_log_path")]
    pub audit_policy_file: Option<PathBuf>,
    /// The audit log, a JSON object a line; - for standard output
    #[arg(long, requires = "audit_policy_file")]
    pub audit_log_path: Option<PathBuf>,
    /// How many megabytes an audit log may have before it is put aside
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=100_000))]
    pub audit_log_maxsize: u64,
    /// How many old audit logs to keep; 0 for all
    #[arg(long, default_value_t = 10)]
    pub audit_log_maxbackup: usize,
    /// How many days old audit logs are kept; 0 for ever
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub audit_log_maxage: u32,
}

impl Flags {
    /// The audit log that the flags ask for, if they do.
    pub fn open(&self) -> anyhow::Result<Option<Arc<Audit>>> {
        let (Some(policy), Some(path)) = (&self.audit_policy_file, &self.audit_log_path) else { return Ok(None) };
        let yaml = fs::read_to_string(policy);
        let yaml = yaml.with_context(|| format!("cannot read --audit-policy-file {}", policy.display()))?;
        let policy = Policy::parse(&yaml).with_context(|| format!("--audit-policy-file {}", policy.display()))?;
        let max_bytes = self.audit_log_maxsize * 1024 * 1024;
        let (max_backups, max_days) = (self.audit_log_maxbackup, self.audit_log_maxage);
        let log = Log::open(Place { path: path.clone(), max_bytes, max_backups, max_days })?;
        Ok(Some(Arc::new(Audit::new(policy, log))))
    }
}
